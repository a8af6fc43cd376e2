import { systemFailure } from "../../sys/libc.ts";
import { releaseMemory } from "../../sys/memory.ts";
import { setParentDeathSignal } from "../../sys/process/process.ts";
import {
  decodeDiffMessage,
  type DiffMessage,
  encodeChange,
  encodeDiffFailure,
  encodeHashed,
} from "./_diff-protocol.ts";
import { type DiffRequest, hashDiff, listDiff, writeDiff } from "./diff.ts";
import { type ArchiveSink, passingSink } from "./_tar-output.ts";
import { requestLines } from "../request-lines.ts";
import * as tree from "../tree/tree-syscalls.ts";

const listChunkBytes = 64 * 1024;
/** What a smaller layer leaves behind is not worth the time of clearing it away. */
const manyEntries = 1000;

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
    const { text, entryCount } = hash(message.request);
    write(1, text);
    // Who asked goes on meanwhile; the next layer mostly is a while off.
    if (entryCount >= manyEntries) releaseMemory();
    return undefined;
  }
  try {
    if (message.operation === "list") list(message.request);
    else writeDiff(message.request, answerSink());
    return 0;
  } catch (error) {
    write(2, encodeDiffFailure(error));
    return 1;
  }
}

function hash(request: DiffRequest): { readonly text: string; readonly entryCount: number } {
  try {
    const hashed = hashDiff(request);
    return { text: encodeHashed(hashed), entryCount: hashed.entryCount };
  } catch (error) {
    return { text: encodeDiffFailure(error), entryCount: 0 };
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

/** Writes an archive to standard output; the content of files goes there by itself if that is a pipe. */
function answerSink(): ArchiveSink {
  return {
    ...passingSink((bytes) => writeBytes(1, bytes)),
    takeFile: (fd, sizeBytes) => {
      let movedBytes = 0;
      while (movedBytes < sizeBytes) {
        const count = tree.moveIntoPipe(fd, 1, sizeBytes - movedBytes);
        if (count === 0 || (count < 0 && tree.resultCode(count) === "EINVAL")) break;
        if (count < 0) throw systemFailure(-count, "read layer: answer");
        movedBytes += count;
      }
      return movedBytes;
    },
  };
}

function write(fd: number, text: string): void {
  writeBytes(fd, Buffer.from(text));
}

function writeBytes(fd: number, bytes: Uint8Array): void {
  const done = tree.writeAll(fd, bytes);
  if (done < 0) throw systemFailure(-done, "read layer: answer");
}
