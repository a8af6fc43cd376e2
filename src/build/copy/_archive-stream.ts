import { spawn } from "node:child_process";
import { readSync } from "node:fs";
import {
  decompressAs,
  detectCompression,
  detectionSizeBytes,
  ratioFreeBytes,
} from "../../lib/compression.ts";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { tarBlockBytes } from "../../lib/tar-header.ts";

const chunkBytes = 256 * 1024;
/** How much an archive may grow when it is unpacked. */
const limits = { expandedSizeMaxBytes: 64 * 1024 ** 3, expansionRatioMax: 600 };
/** Two programs of Debian's, for what has no decoder here; the bound is on memory. */
const programs = {
  xz: ["xz", "--decompress", "--stdout", "--threads=1", "--memlimit-decompress=512MiB"],
  bzip2: ["bzip2", "--decompress", "--stdout"],
} as const;
const messageMaxBytes = 4096;

/**
 * Opens a regular file as a tar archive, packed or not.
 *
 * @param fd read from its beginning; stays the caller's and open as long as the stream is read
 * @returns the bytes of the archive; undefined when it is none, by what its first header says
 */
export async function openArchive(
  fd: number,
): Promise<AsyncGenerator<Uint8Array, void, undefined> | undefined> {
  const first = Buffer.alloc(tarBlockBytes);
  const count = readSync(fd, first, 0, first.length, 0);
  if (count < detectionSizeBytes) return undefined;
  const kind = detectCompression(first.subarray(0, count));
  if (kind === "none") {
    return count === tarBlockBytes && isTarHeader(first) ? readFile(fd) : undefined;
  }
  const unpacked =
    kind === "xz" || kind === "bzip2"
      ? runProgram(kind, fd)
      : decompressAs(kind, { source: readFile(fd), limits });
  return startOf(unpacked);
}

/** Puts back what had to be read to tell whether it is an archive. */
async function startOf(
  unpacked: AsyncGenerator<Uint8Array, void, undefined>,
): Promise<AsyncGenerator<Uint8Array, void, undefined> | undefined> {
  let start: Uint8Array = new Uint8Array(0);
  try {
    while (start.length < tarBlockBytes) {
      const next = await unpacked.next();
      if (next.done === true) return undefined;
      start = start.length === 0 ? next.value.slice() : Buffer.concat([start, next.value]);
    }
  } catch (error) {
    // Docker: what does not unpack is no archive, and is copied as it is.
    if (error instanceof EngineError && error.kind === "invalid-argument") return undefined;
    throw error;
  }
  if (isTarHeader(start)) return rest(start, unpacked);
  await unpacked.return();
  return undefined;
}

async function* rest(
  start: Uint8Array,
  unpacked: AsyncGenerator<Uint8Array, void, undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield start;
    yield* unpacked;
  } finally {
    await unpacked.return();
  }
}

/** Whether the sum that a header holds is that of its bytes, signed or not. */
export function isTarHeader(block: Uint8Array): boolean {
  const header = block.subarray(0, tarBlockBytes);
  if (header.length < tarBlockBytes) return false;
  const text = Buffer.from(header.subarray(148, 156)).toString("latin1").replace(/\0.*$/s, "");
  if (!/^ *[0-7]+ *$/.test(text)) return false;
  let [unsigned, signed] = [0, 0];
  for (const [index, byte] of header.entries()) {
    const value = index >= 148 && index < 156 ? 0x20 : byte;
    unsigned += value;
    signed += (value << 24) >> 24;
  }
  const sum = Number.parseInt(text.trim(), 8);
  return sum === unsigned || sum === signed;
}

async function* readFile(fd: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; ; ) {
    const chunk = Buffer.alloc(chunkBytes);
    const count = readSync(fd, chunk, 0, chunkBytes, at);
    if (count === 0) return;
    at += count;
    yield chunk.subarray(0, count);
  }
}

async function* runProgram(
  kind: keyof typeof programs,
  fd: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const [program, ...argv] = programs[kind];
  const child = spawn(program, argv, {
    stdio: [fd, "pipe", "pipe"],
    env: { LC_ALL: "C", PATH: process.env["PATH"] ?? "" },
  });
  const failure = Promise.withResolvers<EngineError | undefined>();
  let message = "";
  let expandedBytes = 0;
  child.stderr?.on("data", (chunk: Buffer) => {
    if (message.length < messageMaxBytes) message += chunk.toString();
  });
  child.on("error", (error) => failure.resolve(notStarted(program, error)));
  child.on("close", (code) => {
    const sentence = `unpack ${kind} data: ${message.trim() || `${program} ended with ${code}`}`;
    failure.resolve(code === 0 ? undefined : new EngineError("invalid-argument", sentence));
  });
  try {
    for await (const chunk of child.stdout ?? []) {
      const bytes = chunk as Uint8Array;
      expandedBytes += bytes.length;
      if (expandedBytes > limits.expandedSizeMaxBytes) throw tooLarge(kind);
      yield bytes;
    }
    const failed = await failure.promise;
    if (failed !== undefined) throw failed;
  } finally {
    child.kill("SIGKILL");
  }
}

function notStarted(program: string, error: Error): EngineError {
  const isMissing = codeOf(error) === "ENOENT";
  const reason = isMissing ? "the program is not installed" : messageOf(error);
  return new EngineError("unavailable", `unpack archive: run ${program}: ${reason}`, {
    cause: error,
  });
}

function tooLarge(kind: string): EngineError {
  const sentence = `unpack ${kind} data: more than ${limits.expandedSizeMaxBytes} bytes unpacked`;
  return new EngineError("invalid-argument", sentence);
}

/** Bounds of what an archive may hold; its unpacked size as above. */
export const archiveLimits: { readonly sizeMaxBytes: number; readonly entriesMax: number } = {
  sizeMaxBytes: limits.expandedSizeMaxBytes + ratioFreeBytes,
  entriesMax: 4_000_000,
};
