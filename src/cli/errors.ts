/** Failures as exit codes and text: the border between EngineError and the shell. */
import { isDaemonRefusal } from "../client/errors.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { escapeControls } from "../lib/terminal-text.ts";

/** Exit code of a failure of the command itself. */
export const failureCode = 1;
/** Exit code of flags that do not parse, and of `run` when the engine refuses. */
export const refusalCode = 125;
/** Exit code of `run` when the container's command may not be executed. */
export const notExecutableCode = 126;
/** Exit code of `run` when the container's command is not there. */
export const notFoundCode = 127;
/** What a shell sees of a program that SIGPIPE has ended. */
export const brokenPipeCode = 141;

/** The sentence for a failure, safe to print. */
export function describeFailure(error: unknown): string {
  const prefix = isDaemonRefusal(error) ? "Error response from daemon: " : "";
  if (!(error instanceof EngineError) && codeOf(error) === undefined) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `internal error, please report it: ${detail}`;
  }
  return escapeControls(`${prefix}${messageOf(error)}`, { keep: "\n\t" });
}

/** The exit code that a failure asks for. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof EngineError) {
    const { exitCode, isUsage } = error.details;
    if (typeof exitCode === "number") return exitCode;
    if (isUsage === true) return refusalCode;
  }
  return failureCode;
}

/** The same failure with an exit code, and the hint to the command's help. */
export function withExitCode(error: unknown, exitCode: number): unknown {
  if (!(error instanceof EngineError)) return error;
  return new EngineError(error.kind, error.message, {
    cause: error,
    details: { ...error.details, exitCode, hintsAtHelp: true },
  });
}

/** Exit code of `run`, `start` and `exec` for an engine's refusal to start a command. */
export function startFailureCode(error: unknown): number {
  const message = messageOf(error);
  if (
    message.includes("executable file not found") ||
    message.includes("no such file or directory")
  ) {
    return notFoundCode;
  }
  if (message.includes("permission denied") || message.includes("is a directory")) {
    return notExecutableCode;
  }
  return refusalCode;
}

/** Prints a failure for each operand that fails and goes on; the code is 1 when one has failed. */
export async function forEachOperand(
  operands: readonly string[],
  options: {
    readonly output: { err(text: string): void };
    readonly act: (operand: string) => Promise<void>;
  },
): Promise<number> {
  let exitCode = 0;
  for (const operand of operands) {
    try {
      await options.act(operand);
    } catch (error) {
      if (!(error instanceof EngineError) || error.details["isConnect"] === true) throw error;
      if (error.details["code"] === "EPIPE") throw error;
      options.output.err(`${describeFailure(error)}\n`);
      exitCode = failureCode;
    }
  }
  return exitCode;
}
