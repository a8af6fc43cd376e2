/**
 * Text to standard output and error, at once, and whether they are terminals.
 *
 * The descriptors belong to other programs too: their mode is left as it is. So Bun's own writers will
 * not do, which make a pipe non-blocking for everybody, and write twice what such a pipe has taken in
 * part. node:fs would do, but takes longer to load than all else a short command is made of.
 */
import { errno, errnoName, lazyLibc, SystemError } from "../libc.ts";

/** Descriptors that text goes to. */
export type StandardFd = 1 | 2;

const retryMs = 2;

const writing = lazyLibc({ write: { args: ["i32", "ptr", "u64"], returns: "i64" } });
const terminals = lazyLibc({ isatty: { args: ["i32"], returns: "i32" } });

/**
 * Writes text; waits for a reader that is slow.
 *
 * @throws SystemError, with EPIPE when nobody reads
 */
export function writeStandardText(fd: StandardFd, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  let knowsErrno = false;
  while (rest.length > 0) {
    const sentBytes = Number(writing().write(fd, rest, BigInt(rest.length)));
    if (sentBytes >= 0) {
      rest = rest.subarray(sentBytes);
      continue;
    }
    const number = errno();
    // To bind `errno` is work that may change it: what has failed first is tried again.
    if (knowsErrno) waitOrThrow(number);
    knowsErrno = true;
  }
}

/** Whether a descriptor is a terminal. */
export function isTerminal(fd: number): boolean {
  return terminals().isatty(fd) === 1;
}

function waitOrThrow(number: number): void {
  const name = errnoName(number);
  if (name === "EINTR") return;
  if (name !== "EAGAIN") throw new SystemError(number);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
}
