/**
 * Standard output and error of a command.
 *
 * Text of commands is written at once. Streams go through `ByteSink`, which never blocks the event
 * loop: a reader that is slow holds up what is written, not signals and input.
 */
import { fstatSync, write, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, EngineError } from "../lib/errors.ts";

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

const retryMs = 2;

/** Loaded when it is asked for: with the network modules behind it, it costs 2 ms of every start. */
function isatty(fd: number): boolean {
  return process.getBuiltinModule("node:tty").isatty(fd);
}

/** The process's own output. */
export function processOutput(): Output {
  return {
    out: (text) => {
      writeAll(1, Buffer.from(text));
    },
    err: (text) => {
      try {
        writeAll(2, Buffer.from(text));
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
      }
    },
    get isTerminal() {
      return isatty(1);
    },
    get isErrTerminal() {
      return isatty(2);
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

function writeAll(fd: number, bytes: Buffer): void {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw writeFailure(error);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
    }
  }
}

/** How much may wait to be written before the source is to be paused. */
export const sinkHighWaterBytes: number = 1024 * 1024;

/** Writes bytes to file descriptors in order, without blocking. */
export class ByteSink {
  readonly #queue: { readonly fd: number; readonly bytes: Uint8Array }[] = [];
  #waitingBytes = 0;
  #pump: Promise<void> | undefined;
  #failure: unknown;

  /** Bytes that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Takes bytes, which must not change after. @returns false when the source is to be paused */
  push(fd: number, bytes: Uint8Array): boolean {
    if (this.#failure !== undefined || bytes.length === 0) return true;
    this.#queue.push({ fd, bytes });
    this.#waitingBytes += bytes.length;
    this.#pump ??= this.#run();
    return this.#waitingBytes < sinkHighWaterBytes;
  }

  /** Waits until all is written. @throws canceled when nobody reads */
  async drained(): Promise<void> {
    while (this.#pump !== undefined) await this.#pump;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #run(): Promise<void> {
    try {
      for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
        await writeBytes(item.fd, item.bytes);
        this.#waitingBytes -= item.bytes.length;
      }
    } catch (error) {
      this.#failure = error;
      this.#queue.length = 0;
      this.#waitingBytes = 0;
    } finally {
      this.#pump = undefined;
    }
  }
}

/** Writes all bytes to a descriptor; waits where it is slow. */
export async function writeBytes(fd: number, bytes: Uint8Array): Promise<void> {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += await writeOnce(fd, bytes.subarray(at));
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw writeFailure(error);
      await sleep(retryMs);
    }
  }
}

/** Files never make a writer wait, so they are written on the spot. */
function writeOnce(fd: number, bytes: Uint8Array): Promise<number> {
  if (isFile(fd)) return Promise.resolve(writeSync(fd, bytes));
  return new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, null, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

const fileFds = new Map<number, boolean>();

function isFile(fd: number): boolean {
  let known = fileFds.get(fd);
  if (known === undefined) {
    const stat = fstatSync(fd);
    known = stat.isFile() || stat.isBlockDevice();
    fileFds.set(fd, known);
  }
  return known;
}

function writeFailure(error: unknown): EngineError {
  const code = codeOf(error) ?? "";
  const kind = code === "EPIPE" ? "canceled" : "internal";
  return new EngineError(kind, `write output: ${code}`, { cause: error, details: { code } });
}
