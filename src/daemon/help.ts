import type { FlagDefinition } from "../lib/flags.ts";

/** The help of `tug daemon`. */
export function daemonHelp(flags: readonly FlagDefinition[]): string {
  const rows = flags
    .filter((flag) => flag.isHidden !== true)
    .toSorted((left, right) => left.name.localeCompare(right.name))
    .map(row);
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`);
  return [
    "Usage:  tug daemon [OPTIONS]",
    "",
    "Run the engine: it serves the Engine API and keeps containers.",
    "",
    "Options:",
    ...lines,
    "",
  ].join("\n");
}

const words = { switch: "", text: "string", list: "list", number: "int" } as const;

function row(flag: FlagDefinition): readonly [string, string] {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const word = words[flag.kind];
  const left = `${short}--${flag.name}${word === "" ? "" : ` ${word}`}`;
  const fallback = flag.fallback === undefined ? "" : ` (default ${JSON.stringify(flag.fallback)})`;
  return [left, `${flag.help}${fallback}`];
}
