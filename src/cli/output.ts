/**
 * Standard output and error of a command.
 *
 * Text of commands is written at once. Streams go through `ByteSink` (byte-sink.ts), which never
 * blocks the event loop.
 */
import { codeOf, EngineError } from "../lib/errors.ts";
import { isTerminal, type StandardFd, writeStandardText } from "../sys/process/standard-text.ts";

/** Standard output and error as commands see them. */
export interface Output {
  /** Writes text to standard output. @throws canceled when nobody reads it */
  out(text: string): void;
  /** Writes text to standard error; does not mind when nobody reads it. */
  err(text: string): void;
  readonly isTerminal: boolean;
  readonly isErrTerminal: boolean;
  /** Columns of the terminal; 80 when there is none. */
  readonly columns: number;
}

/** The process's own output. */
export function processOutput(): Output {
  return {
    out: (text) => {
      writeText(1, text);
    },
    err: (text) => {
      try {
        writeText(2, text);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
      }
    },
    get isTerminal() {
      return isTerminal(1);
    },
    get isErrTerminal() {
      return isTerminal(2);
    },
    get columns() {
      const columns = process.stdout.columns as number | undefined;
      return columns === undefined || columns <= 0 ? 80 : columns;
    },
  };
}

/** Tells whether a failure says that nobody reads the output. */
export function isBrokenPipe(error: unknown): boolean {
  return error instanceof EngineError && error.details["code"] === "EPIPE";
}

function writeText(fd: StandardFd, text: string): void {
  try {
    writeStandardText(fd, text);
  } catch (error) {
    throw writeFailure(error);
  }
}

/** The failure to write output: canceled when nobody reads it. */
export function writeFailure(error: unknown): EngineError {
  const code = codeOf(error) ?? "";
  const kind = code === "EPIPE" ? "canceled" : "internal";
  return new EngineError(kind, `write output: ${code}`, { cause: error, details: { code } });
}
