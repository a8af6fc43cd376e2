/** Why steps of a build hit or missed, and by which names they can be run: tables for people. */
import { escapeControls } from "../../lib/terminal-text.ts";
import type { BuildTrace } from "./build-trace.ts";

/** ID under which the engine explains a step. */
const explainId = "tug.explain";
const stepWidthMax = 50;

/** Formats what the engine has explained; a sentence when that is nothing. */
export function formatExplanations(trace: Pick<BuildTrace, "steps">): string {
  const rows = trace.steps.flatMap((step): (readonly string[])[] => {
    const text = step.notes.get(explainId);
    if (text === undefined) return [];
    const [, outcome = "", reason = ""] = /^(\w+): (.*)$/s.exec(text) ?? [];
    return [[clip(clean(step.name)), outcome.toUpperCase(), clean(reason)]];
  });
  if (rows.length === 0) return "\nno step was explained: none makes a layer\n";
  const all = [["STEP", "CACHE", "WHY"], ...rows];
  const widths = [0, 1].map((column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const lines = all.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("   "),
  );
  return `\n${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

/** Begins the IDs under which the engine names what instructions came to. */
const stepId = "tug.step ";

/** Formats the names of what instructions came to. */
export function formatSteps(trace: Pick<BuildTrace, "steps">): string {
  const rows = trace.steps.flatMap(({ notes }) =>
    [...notes.keys()].flatMap((id): (readonly string[])[] => {
      if (!id.startsWith(stepId)) return [];
      const [name = "", ...words] = id.slice(stepId.length).split(" ");
      return [[name, clean(words.join(" ").split("\n")[0] ?? "")]];
    }),
  );
  if (rows.length === 0) return "\nno instruction has come to a result\n";
  const width = Math.max(...rows.map(([name = ""]) => name.length));
  const lines = [["IMAGE", "INSTRUCTION"], ...rows].map(
    ([name = "", text = ""]) => `${name.padEnd(width)}   ${text}`,
  );
  return `\n${lines.join("\n")}\n`;
}

function clip(text: string): string {
  return text.length > stepWidthMax ? `${text.slice(0, stepWidthMax - 1)}…` : text;
}

function clean(text: string): string {
  return escapeControls(text).replaceAll("\t", " ");
}
