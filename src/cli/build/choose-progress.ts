/** Which progress of a build is shown, and where. */
import { EngineError } from "../../lib/errors.ts";
import type { Invocation } from "../command.ts";
import type { BuildProgress } from "./build-progress.ts";
import { BuildTrace } from "./build-trace.ts";
import { openPlainProgress } from "./plain-progress.ts";
import { openTerminalProgress } from "./terminal-progress.ts";

const rowsDefault = 24;

/** Opens the progress that `--progress`, BUILDKIT_PROGRESS or the terminal ask for. */
export function choosePlace({ flags, output, environment }: Invocation): BuildProgress {
  const { variables } = environment;
  const given = flags.isGiven("progress") ? flags.text("progress") : variables["BUILDKIT_PROGRESS"];
  const wanted = flags.isOn("quiet") || flags.isOn("check") ? "quiet" : (given ?? "auto");
  switch (wanted) {
    case "quiet":
    case "none":
      return openSilentProgress();
    case "plain":
      return openPlainProgress((text) => output.err(text));
    case "rawjson":
      return openRawProgress((text) => output.err(text));
    case "tty":
    case "auto":
    case "":
      return output.isErrTerminal || wanted === "tty"
        ? openTerminalProgress({
            output,
            rows: () => rowsOf(process.stderr.rows as number | undefined),
            isColored: (variables["NO_COLOR"] ?? "") === "",
            builder: "tug:default",
          })
        : openPlainProgress((text) => output.err(text));
    default:
      throw new EngineError("invalid-argument", `invalid progress mode ${wanted}`);
  }
}

function rowsOf(rows: number | undefined): number {
  return rows === undefined || rows <= 0 ? rowsDefault : rows;
}

function openSilentProgress(): BuildProgress {
  const trace = new BuildTrace();
  return {
    trace,
    update: (progress) => void trace.apply(progress),
    close: () => undefined,
  };
}

/** Each piece of progress as a line of JSON. */
function openRawProgress(write: (text: string) => void): BuildProgress {
  const trace = new BuildTrace();
  return {
    trace,
    update(progress) {
      trace.apply(progress);
      write(`${JSON.stringify(progress, replaceValue)}\n`);
    },
    close: () => undefined,
  };
}

function replaceValue(key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (key === "msg" && value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return value;
}
