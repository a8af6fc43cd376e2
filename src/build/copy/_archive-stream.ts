import { readSync } from "node:fs";
import {
  decompressAs,
  detectCompression,
  detectionSizeBytes,
  ratioFreeBytes,
} from "../../lib/compression/compression.ts";
import { EngineError } from "../../lib/errors.ts";
import { tarBlockBytes } from "../../lib/tar/tar-header.ts";

const chunkBytes = 256 * 1024;
/** How much an archive may grow when it is unpacked. */
const limits = { expandedSizeMaxBytes: 64 * 1024 ** 3, expansionRatioMax: 600 };
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
  return startOf(decompressAs(kind, { source: readFile(fd), limits }));
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

/** Bounds of what an archive may hold; its unpacked size as above. */
export const archiveLimits: { readonly sizeMaxBytes: number; readonly entriesMax: number } = {
  sizeMaxBytes: limits.expandedSizeMaxBytes + ratioFreeBytes,
  entriesMax: 4_000_000,
};
