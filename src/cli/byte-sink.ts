/**
 * Streams of bytes to file descriptors, without blocking the event loop: a reader that is slow holds
 * up what is written, not signals and input.
 */
import { fstatSync, write, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf } from "../lib/errors.ts";
import { writeFailure } from "./output.ts";

const retryMs = 2;

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
