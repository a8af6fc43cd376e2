/**
 * The changes of one snapshot, as a layer's archive or as a list.
 *
 * The archive is a function of the files alone: the same snapshot makes the same bytes every time,
 * so that a layer need not be kept as long as its snapshot is (see `diff-client.ts` and
 * `diff-hasher.ts` for doing this in another process).
 */
import type { Digest } from "../../oci/digest.ts";
import { ArchiveHash } from "./_archive-hash.ts";
import { walkCopies } from "./_copy-walk.ts";
import { type DiffVisitor, ListVisitor, TarVisitor } from "./_diff-visitor.ts";
import { LayerTarWriter } from "./_layer-tar-writer.ts";
import { walkMerged } from "./_merged-walk.ts";
import { walkOverlay } from "./_overlay-walk.ts";
import { type ArchiveSink, type ByteSink, passingSink } from "./_tar-output.ts";

/** Which changes. `Snapshotter.layersOf` has the first three. */
export interface DiffRequest {
  /** Directory of the snapshot itself. */
  readonly dir: string;
  /** Directories of its parents, uppermost first; of copies only the first is read. */
  readonly parentDirs: readonly string[];
  /** `overlay`: `dir` holds changes. `copy`: it holds a whole tree. */
  readonly kind: "overlay" | "copy";
  /** `changes` (the default): of `dir` alone. `tree`: every file that shows, without whiteouts. */
  readonly content?: "changes" | "tree";
  /** Seconds since 1970; later times are written as this one. */
  readonly epochS?: number;
  /** Leaves out empty files and folders that the start of a container makes to mount on
   * (`/proc`, `/etc/hosts`, …): for what a container wrote. */
  readonly omitsEngineFiles?: boolean;
}

/** What was written. */
export interface DiffSummary {
  /** Of the archive. */
  readonly tarSizeBytes: number;
  /** Bytes of all files together. */
  readonly sizeBytes: number;
  readonly entryCount: number;
}

/** What was hashed. */
export interface HashedDiff extends DiffSummary {
  /** Digest of the archive. */
  readonly diffId: Digest;
}

/** One changed file, as `docker diff` tells it. */
export interface Change {
  readonly kind: "added" | "modified" | "removed";
  /** Absolute; bytes that are no UTF-8 became U+FFFD. */
  readonly path: string;
}

/**
 * Writes the changes as a layer's tar, synchronously: for a helper process, never for the daemon.
 *
 * Entries come in the order of their bytes, folder by folder; links are never followed.
 *
 * @param sink takes bytes that are valid during the call alone
 */
export function writeDiff(request: DiffRequest, sink: ByteSink | ArchiveSink): DiffSummary {
  return writeTo(typeof sink === "function" ? passingSink(sink) : sink, request);
}

/** Hashes what `writeDiff` would write. Synchronous, as that. */
export function hashDiff(request: DiffRequest): HashedDiff {
  using hash = new ArchiveHash();
  const summary = writeTo(hash, request);
  return { ...summary, diffId: hash.digest() };
}

/** Tells each changed file, a folder before what is in it. Synchronous, as `writeDiff`. */
export function listDiff(request: DiffRequest, tell: (change: Change) => void): void {
  walk(request, { visitor: new ListVisitor(tell), isClassified: true });
}

function writeTo(sink: ArchiveSink, request: DiffRequest): DiffSummary {
  const { epochS } = request;
  const writer = new LayerTarWriter(sink, epochS === undefined ? {} : { epochS });
  walk(request, { visitor: new TarVisitor(writer), isClassified: false });
  writer.end();
  const { tarSizeBytes, sizeBytes, entryCount } = writer;
  return { tarSizeBytes, sizeBytes, entryCount };
}

function walk(
  request: DiffRequest,
  options: { readonly visitor: DiffVisitor; readonly isClassified: boolean },
): void {
  const { dir, parentDirs, kind } = request;
  const omitsEngineFiles = request.omitsEngineFiles === true;
  const { visitor } = options;
  if (request.content === "tree") {
    walkMerged(kind === "copy" ? [dir] : [dir, ...parentDirs], visitor);
  } else if (kind === "overlay") {
    walkOverlay({ dir, parentDirs, omitsEngineFiles, ...options });
  } else {
    walkCopies({ dir, parentDir: parentDirs[0], visitor, omitsEngineFiles });
  }
}
