import { ratioFreeBytes } from "../../lib/compression/compression.ts";
import { EngineError } from "../../lib/errors.ts";
import { TarReader } from "../../lib/tar/tar-reader.ts";
import type { Digest } from "../../oci/digest.ts";
import { syncFileSystem } from "../../sys/fs/fs.ts";
import type { BlobSource } from "./_blob-file.ts";
import { readLayerBytes } from "./_layer-bytes.ts";
import { TreeWriter } from "./_tree-writer.ts";

/** Bounds of a layer. */
export interface LayerLimits {
  /** Of the unpacked archive, and of its files together. */
  readonly sizeMaxBytes: number;
  readonly entriesMax: number;
  /** Unpacked bytes a packed byte, once `ratioFreeBytes` have come out. */
  readonly expansionRatioMax: number;
  /** Files of zeros, as disk images and tests have them, shrink to next to nothing. */
  readonly ratioFreeBytes: number;
}

/** What a layer may have unless the caller says otherwise. */
export const defaultLayerLimits: LayerLimits = {
  sizeMaxBytes: 64 * 1024 ** 3,
  entriesMax: 4_000_000,
  expansionRatioMax: 200,
  ratioFreeBytes,
};

/** A layer to unpack: its blob is a tar, plain or packed with gzip or zstd. */
export interface ApplyOptions extends BlobSource {
  /** An existing directory, empty but for the copy of the parent with `whiteouts: "remove"`. */
  readonly targetDir: string;
  /** Directories of the layers below, uppermost first. */
  readonly parentDirs?: readonly string[];
  /** `overlay` unless the target holds a copy of the parent. */
  readonly whiteouts?: "overlay" | "remove";
  /** `data-loss` when the unpacked bytes have another digest. */
  readonly expectedDiffId?: Digest;
  readonly limits?: Partial<LayerLimits>;
  /** Syncs the file system of the target before the end. */
  readonly durable?: boolean;
}

/** What was unpacked. */
export interface AppliedLayer {
  readonly diffId: Digest;
  /** Bytes of all files together. */
  readonly sizeBytes: number;
  readonly entryCount: number;
  /** Its files are the same whatever the layers below it hold. */
  readonly standsAlone: boolean;
  /** It says how the root folder looks; else that looks as in the layer below. */
  readonly hasRootEntry: boolean;
}

/** How an unpacking is watched. */
export interface ApplyWatch {
  /** Told how many bytes of the blob have been read, after each chunk. */
  readonly onRead?: (readBytes: number) => void;
}

/**
 * Unpacks a layer into a directory.
 *
 * A worker thread unpacks, this one writes, synchronously: for a helper process, never for the daemon
 * (see `openUnpacker`). Whatever the archive holds, nothing outside of the target is touched. After a
 * failure the target holds part of the layer, and the caller removes it.
 *
 * @throws invalid-argument for an archive that is malformed, hostile or beyond the limits
 * @throws data-loss when the digest differs, unavailable when the disk is full
 */
export async function applyLayer(
  options: ApplyOptions,
  watch: ApplyWatch = {},
): Promise<AppliedLayer> {
  const limits: LayerLimits = { ...defaultLayerLimits, ...options.limits };
  const writer = new TreeWriter({
    targetDir: options.targetDir,
    parentDirs: options.parentDirs ?? [],
    whiteouts: options.whiteouts ?? "overlay",
  });
  try {
    const reader = new TarReader(writer, limits);
    const like = options.expectedDiffId;
    const diffId = await readLayerBytes(
      {
        blobPath: options.blobPath,
        ...(options.ingest === undefined ? {} : { ingest: options.ingest }),
        limits: {
          expandedSizeMaxBytes: limits.sizeMaxBytes,
          expansionRatioMax: limits.expansionRatioMax,
          ratioFreeBytes: limits.ratioFreeBytes,
        },
        ...(like === undefined ? {} : { like }),
      },
      { take: (chunk) => reader.push(chunk), ...watch },
    );
    reader.end();
    writer.finish();
    checkDiffId(diffId, options.expectedDiffId);
    if (options.durable === true) syncFileSystem(options.targetDir);
    const { sizeBytes, standsAlone, hasRootEntry } = writer;
    return { diffId, sizeBytes, entryCount: reader.entries, standsAlone, hasRootEntry };
  } finally {
    writer.close();
  }
}

function checkDiffId(found: Digest, expected: Digest | undefined): void {
  if (expected === undefined || found === expected) return;
  throw new EngineError(
    "data-loss",
    `unpack layer: the diff ID is ${found}, the image names ${expected}`,
  );
}
