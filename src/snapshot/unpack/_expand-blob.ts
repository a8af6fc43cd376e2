import { BlockingGunzip } from "../../lib/compression/blocking-gunzip.ts";
import {
  type Compression,
  checkExpansion,
  decompressAs,
  detectCompression,
  detectionSizeBytes,
  type ExpansionLimits,
} from "../../lib/compression/compression.ts";
import type { BlobFile } from "./_blob-file.ts";
import type { ChunkFiller } from "./_chunk-ring.ts";

/** Bytes read from the blob at once. */
const readChunkBytes = 256 * 1024;

/** What to unpack, and where to. */
export interface BlobExpansion {
  readonly blob: BlobFile;
  readonly limits: ExpansionLimits;
  readonly writer: ChunkFiller;
  /** Told how the blob is packed, before the first bytes are written. */
  readonly onDetected?: (packing: Compression) => void;
}

/**
 * Unpacks a blob of any packing into chunks, in a thread that may block.
 *
 * What is plain or packed with gzip goes without the event loop; the rest is decoded by streams.
 *
 * @throws invalid-argument for truncated, damaged or too far expanding data
 */
export async function expandBlob(expansion: BlobExpansion): Promise<void> {
  const { blob, limits, writer } = expansion;
  const first = firstBytes(blob);
  const kind = detectCompression(first);
  expansion.onDetected?.(kind);
  if (kind === "none") copyPlain(first, expansion);
  else if (kind === "gzip") gunzip(first, expansion);
  else {
    const source = restOf(first, blob);
    for await (const chunk of decompressAs(kind, { source, limits })) writer.write(chunk);
  }
  writer.flush();
}

function firstBytes(blob: BlobFile): Uint8Array {
  const bytes = new Uint8Array(readChunkBytes);
  let filledBytes = 0;
  while (filledBytes < detectionSizeBytes) {
    const sizeBytes = blob.read(bytes.subarray(filledBytes));
    if (sizeBytes === 0) break;
    filledBytes += sizeBytes;
  }
  return bytes.subarray(0, filledBytes);
}

function copyPlain(first: Uint8Array, { blob, limits, writer }: BlobExpansion): void {
  writer.write(first);
  while (!writer.isStopped) {
    const sizeBytes = blob.read(writer.room());
    if (sizeBytes === 0) return;
    const { readBytes } = blob;
    checkExpansion("none", { packedBytes: readBytes, expandedBytes: readBytes, limits });
    writer.filled(sizeBytes);
  }
}

function gunzip(first: Uint8Array, { blob, limits, writer }: BlobExpansion): void {
  using decoder = new BlockingGunzip();
  const packed = new Uint8Array(readChunkBytes);
  let expandedBytes = 0;
  for (let chunk = first; chunk.byteLength > 0; chunk = packed.subarray(0, blob.read(packed))) {
    decoder.push(chunk);
    for (;;) {
      const room = writer.room();
      if (writer.isStopped) return;
      const sizeBytes = decoder.pull(room);
      expandedBytes += sizeBytes;
      checkExpansion("gzip", { packedBytes: blob.readBytes, expandedBytes, limits });
      writer.filled(sizeBytes);
      if (sizeBytes < room.byteLength) break;
    }
  }
  decoder.end();
}

function* restOf(first: Uint8Array, blob: BlobFile): Generator<Uint8Array, void, undefined> {
  let chunk = first;
  while (chunk.byteLength > 0) {
    yield chunk;
    // A decoder may still hold the chunk before.
    const next = new Uint8Array(readChunkBytes);
    chunk = next.subarray(0, blob.read(next));
  }
}
