import { containerNotRunning } from "../../lib/docker-messages.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { ContainerTopResponse } from "../../api/container.ts";
import { cgroupPids } from "../../sys/cgroup.ts";
import { run } from "../../sys/process/process.ts";
import { type Context, publish } from "../context.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { cgroupPathOf } from "../bundle/spec-plan.ts";

const psTimeoutMs = 10_000;
const psArgsMaxLength = 4096;
/** More PIDs than that would make too long a command line. */
const quickPidCountMax = 2000;

/**
 * The processes of a container as the host's `ps` tells them.
 *
 * @param options.psArgs as given to `ps`; `-ef` when empty
 * @throws conflict when it does not run; internal, with what `ps` says, for arguments it refuses
 */
export async function listProcesses(
  context: Context,
  container: LiveContainer,
  options: { readonly psArgs: string },
): Promise<ContainerTopResponse> {
  const { record } = container;
  if (!container.isRunning) throw containerNotRunning(container.id);
  const args = splitPsArgs(options.psArgs);
  const pids = cgroupPids(cgroupPathOf(context, record));
  const output = await runPs(args, pids);
  const table = parsePsOutput(output, pids);
  publish(context, container, { action: "top" });
  return table;
}

/** Cuts arguments at spaces. @throws invalid-argument for those that would hide the PID column */
export function splitPsArgs(text: string): readonly string[] {
  if (text.length > psArgsMaxLength) {
    throw new EngineError("invalid-argument", `ps arguments: more than ${psArgsMaxLength} bytes`);
  }
  const hiding = /\s+([^\s]*)=\s*(PID[^\s]*)/.exec(text);
  if (hiding !== null && hiding[1]?.toLowerCase() !== "pid") {
    throw new EngineError(
      "invalid-argument",
      `specifying ${JSON.stringify(`${hiding[1]}=${hiding[2]}`)} is not allowed`,
    );
  }
  const words = text.split(/[\t\n\v\f\r ]+/).filter((word) => word !== "");
  return words.length === 0 ? ["-ef"] : words;
}

async function runPs(args: readonly string[], pids: readonly number[]): Promise<string> {
  if (pids.length <= quickPidCountMax) {
    // Some options (forest, sorting by user) do not go with a list: then all are asked for.
    const quick = await ps([...args, `-q${pids.join(",")}`]);
    if (quick.exitCode === 0) return quick.stdout;
  }
  const all = await ps(args);
  if (all.exitCode === 0) return all.stdout;
  const [firstLine = ""] = all.stderr.split("\n");
  throw new EngineError("internal", `ps: ${firstLine}`);
}

async function ps(args: readonly string[]): ReturnType<typeof run> {
  try {
    return await run({ argv: ["ps", ...args], timeoutMs: psTimeoutMs });
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    throw new EngineError("unavailable", "top needs the program ps on the host: install procps");
  }
}

/**
 * Reads a table of `ps` and keeps the rows of `pids`. The last column takes the rest of a line.
 *
 * @throws internal in Docker's words when there is no PID column, or no number in it
 */
export function parsePsOutput(output: string, pids: readonly number[]): ContainerTopResponse {
  const [head = "", ...lines] = output.split("\n");
  const titles = fieldsOf(head);
  const pidIndex = titles.indexOf("PID");
  if (pidIndex < 0) throw new EngineError("internal", "Couldn't find PID field in ps output");
  const wanted = new Set(pids);
  const rows: string[][] = [];
  // A thread's row may have "-" for its PID: it belongs to the process above.
  let isWantedAbove = false;
  for (const line of lines) {
    const fields = fieldsOf(line);
    const text = fields[pidIndex];
    if (text === undefined) continue;
    if (text === "-") {
      if (isWantedAbove) rows.push(rowOf(fields, titles.length));
      continue;
    }
    if (!/^\d+$/.test(text)) {
      throw new EngineError("internal", `Unexpected pid '${text}': not a number`);
    }
    isWantedAbove = wanted.has(Number(text));
    if (isWantedAbove) rows.push(rowOf(fields, titles.length));
  }
  return { Titles: titles, Processes: rows };
}

function rowOf(fields: readonly string[], count: number): string[] {
  return [...fields.slice(0, count - 1), fields.slice(count - 1).join(" ")];
}

function fieldsOf(line: string): string[] {
  return line.split(/[\t\n\v\f\r ]+/).filter((field) => field !== "");
}
