import { readSync, writeSync } from "node:fs";
import { encodeByteString } from "../../lib/tar/tar-header.ts";
import { EngineError } from "../../lib/errors.ts";
import { releaseMemory } from "../../sys/memory.ts";
import { setParentDeathSignal } from "../../sys/process/process.ts";
import { checksumOf } from "../tree/checksum.ts";
import { copySteps } from "./_copy-steps.ts";
import { HashCaches } from "../tree/hash-cache.ts";
import { MergedTree } from "../tree/merged-tree.ts";
import { readTreeFile } from "../tree/owner.ts";
import {
  type Answer,
  decodeJob,
  encodeAnswer,
  encodeFailure,
  type Job,
  lineMaxBytes,
} from "./_protocol.ts";

const readChunkBytes = 64 * 1024;
const newline = 0x0a;
/** What a copy of fewer files leaves behind is not worth the time of clearing it away. */
const manyFiles = 1000;

/**
 * Runs the copy helper: reads jobs from standard input, a line each, and answers each with a line.
 * Ends when the input does, and dies with its parent.
 *
 * @returns the exit code
 */
export async function copyMain(_argv: readonly string[]): Promise<number> {
  setParentDeathSignal("SIGKILL");
  // Modes are what is asked for, whatever the daemon was started with.
  process.umask(0);
  const lines = new InputLines();
  const caches = new HashCaches();
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const answer = await answerTo(line, caches);
    writeAll(answer.text);
    // The layer is hashed next, by another helper: meanwhile this one waits, and with half the memory.
    if (answer.fileCount >= manyFiles) releaseMemory();
  }
  return 0;
}

async function answerTo(
  line: string,
  caches: HashCaches,
): Promise<{ readonly text: string; readonly fileCount: number }> {
  try {
    const answer = await run(decodeJob(line), caches);
    const fileCount = answer.kind === "copy" ? answer.result.fileCount : 0;
    return { text: encodeAnswer(answer), fileCount };
  } catch (error) {
    return { text: encodeFailure(error), fileCount: 0 };
  }
}

async function run(job: Job, caches: HashCaches): Promise<Answer> {
  switch (job.kind) {
    case "checksum":
      return { kind: "checksum", checksum: checksumOf(job.request, caches) };
    case "copy":
      return { kind: "copy", result: await copySteps(job.request, caches) };
    case "read": {
      const tree = MergedTree.of(job.tree);
      try {
        const bytes = readTreeFile(tree, encodeByteString(job.path), job.sizeMaxBytes);
        return { kind: "read", bytes };
      } finally {
        tree.close();
      }
    }
  }
}

/** Lines of standard input. Waits for them: between two jobs there is nothing else to do. */
class InputLines {
  #left: Buffer = Buffer.alloc(0);

  next(): string | undefined {
    const chunks: Buffer[] = [this.#left];
    let sizeBytes = this.#left.length;
    for (let last = this.#left; ; ) {
      const end = last.indexOf(newline);
      if (end >= 0) {
        const whole = Buffer.concat(chunks);
        const at = whole.length - last.length + end;
        this.#left = whole.subarray(at + 1);
        return whole.toString("utf8", 0, at);
      }
      const chunk = Buffer.alloc(readChunkBytes);
      const count = readSync(0, chunk, 0, chunk.length, null);
      if (count === 0) return undefined;
      last = chunk.subarray(0, count);
      sizeBytes += count;
      if (sizeBytes > lineMaxBytes) {
        throw new EngineError("invalid-argument", "copy files: the job is too large");
      }
      chunks.push(last);
    }
  }
}

function writeAll(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at, bytes.length - at);
}
