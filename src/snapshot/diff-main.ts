import { readSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import { systemFailure } from "../sys/libc.ts";
import { setParentDeathSignal } from "../sys/process.ts";
import {
  decodeDiffMessage,
  type DiffMessage,
  encodeChange,
  encodeDiffFailure,
  encodeHashed,
} from "./_diff-protocol.ts";
import { type DiffRequest, hashDiff, listDiff, writeDiff } from "./diff.ts";
import * as tree from "./_tree-syscalls.ts";

/** Largest request; paths of all parents of a layer fit many times. */
const requestSizeMaxBytes = 4 * 1024 * 1024;
const readBytes = 64 * 1024;
const listChunkBytes = 64 * 1024;

/**
 * Runs the diff helper: reads requests from standard input, one line each, and answers on standard
 * output; ends with its input, after `tar` or `list`, and with its parent.
 *
 * @returns the exit code
 */
export async function diffMain(_argv: readonly string[]): Promise<number> {
  setParentDeathSignal("SIGKILL");
  await Promise.resolve();
  for (const line of requestLines()) {
    const exitCode = answer(line);
    if (exitCode !== undefined) return exitCode;
  }
  return 0;
}

function answer(line: string): number | undefined {
  let message: DiffMessage;
  try {
    message = decodeDiffMessage(line);
  } catch (error) {
    write(2, encodeDiffFailure(error));
    return 1;
  }
  if (message.operation === "hash") {
    write(1, hash(message.request));
    return undefined;
  }
  try {
    if (message.operation === "list") list(message.request);
    else writeDiff(message.request, (bytes) => writeBytes(1, bytes));
    return 0;
  } catch (error) {
    write(2, encodeDiffFailure(error));
    return 1;
  }
}

function hash(request: DiffRequest): string {
  try {
    return encodeHashed(hashDiff(request));
  } catch (error) {
    return encodeDiffFailure(error);
  }
}

function list(request: DiffRequest): void {
  let text = "";
  listDiff(request, (change) => {
    text += encodeChange(change);
    if (text.length < listChunkBytes) return;
    write(1, text);
    text = "";
  });
  write(1, text);
}

function write(fd: number, text: string): void {
  writeBytes(fd, Buffer.from(text));
}

function writeBytes(fd: number, bytes: Uint8Array): void {
  const done = tree.writeAll(fd, bytes);
  if (done < 0) throw systemFailure(-done, "read layer: answer");
}

function* requestLines(): Generator<string, void, undefined> {
  const chunk = Buffer.alloc(readBytes);
  let kept = Buffer.alloc(0);
  for (;;) {
    const count = readSync(0, chunk, 0, chunk.length, null);
    if (count === 0) return;
    kept = Buffer.concat([kept, chunk.subarray(0, count)]);
    for (let end = kept.indexOf(0x0a); end >= 0; end = kept.indexOf(0x0a)) {
      yield kept.toString("utf8", 0, end);
      kept = kept.subarray(end + 1);
    }
    if (kept.length > requestSizeMaxBytes) {
      throw new EngineError("invalid-argument", "read layer: the request is too large");
    }
  }
}
