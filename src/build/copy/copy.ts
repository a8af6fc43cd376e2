/**
 * What COPY, ADD, WORKDIR and here-documents do to a file system, and what a copy would read.
 *
 * Terms: a *tree* is what files are read from, a folder or a mounted-nowhere snapshot; a *selection*
 * names files of a tree as COPY does, with wildcards; a *checksum* is the digest of all that a copy
 * of a selection would bring, and so part of a step's content key; a *step* is one change of a target.
 *
 * 1. `checksum` reads a selection: names, kinds, modes, owners, link targets, devices, extended
 *    attributes and content. Never times: a file that was merely touched is the same file.
 * 2. The caller finds that the key is new and prepares a snapshot.
 * 3. `copy` writes the steps into it, in order. Nothing is mounted: what the layers below show is
 *    looked up in them, what is new goes into the uppermost one.
 * 4. The caller commits the snapshot, or removes it after a failure: it holds a part then.
 *
 * ```
 *            daemon                       helper process (tug copy), kept for a while, one job a time
 *   openCopier ── JSON line ──▶ stdin ─▶ read trees · hash · write
 *              ◀─ JSON line ── stdout ─┘ killed when the job's signal fires
 * ```
 *
 * Paths in trees and targets are hostile. Links are followed as the container would follow them, with
 * the tree's or the target's own root as `/`; no link, name or archive entry leads out of it.
 *
 * Not here: expanding variables, deciding which base a `--link` copy has, keys, cache, progress.
 *
 * @see Dockerfile reference, COPY and ADD; BuildKit, solver/llbsolver/file and tonistiigi/fsutil/copy
 */
import type { Digest } from "../../oci/digest.ts";
import type { SnapshotMount } from "../../snapshot/snapshotter.ts";

/** Where files are read from. Nothing is written to either. */
export type FileTree =
  | {
      readonly kind: "folder";
      readonly path: string;
      /**
       * Nobody writes into its files or changes their owner, mode or time: they are replaced and
       * removed only. A layer may then share a large file with it (a hard link) instead of having a
       * copy, which is many times faster, and hashes outlive that. Snapshots always are so.
       */
      readonly isFrozen?: boolean;
    }
  /** What `Snapshotter.mounts` says of a committed snapshot or a view of one. */
  | { readonly kind: "snapshot"; readonly mount: SnapshotMount };

/** Files of a tree, named as COPY names them. */
export interface Selection {
  readonly tree: FileTree;
  /**
   * Absolute or not, each from the tree's root; `..` stops there. Wildcards as Go's filepath.Match;
   * with `hasParents` also `**`, and `./` in the middle says from where on folders are kept.
   */
  readonly paths: readonly string[];
  /** `--exclude`, as .dockerignore patterns; relative to what a source path names. */
  readonly excludes: readonly string[];
  /** `--parents`: folders on the way to a file are made in the target as well. */
  readonly hasParents: boolean;
  /** The paths are names and no wildcards: a fetched file, a git checkout. */
  readonly isLiteral?: boolean;
}

/** How a selection is summed. */
export interface ChecksumHow {
  /**
   * Owners do not count, since the copy sets them: `chown` is given, or the tree is the client's.
   */
  readonly ignoresOwners?: boolean;
  /**
   * A file that keeps the hashes of this tree's files from one build to the next, made when missing.
   * It is trusted: keep it beside the tree, not in it. Only for a tree whose paths stay the same.
   */
  readonly hashCachePath?: string;
  /** Asks for a line per file, unless there are more. */
  readonly listedFilesMax?: number;
}

/** What is to be read for a checksum. */
export interface ChecksumRequest extends Selection, ChecksumHow {
  /** What the "not found" sentence calls the tree; a random name, as BuildKit's, when absent. */
  readonly refName?: string;
}

/** What a copy of a selection would bring. */
export interface Checksum {
  /** Of all of it; equal selections with equal content have equal digests. */
  readonly digest: Digest;
  /** What the paths name, each from the tree's root, in the order of the copy. */
  readonly matches: readonly Match[];
  /** Files, folders and others below the matches, they included. */
  readonly entryCount: number;
  /** Bytes of all regular files. */
  readonly sizeBytes: number;
  /** Of these bytes were read; the rest was known from an earlier time. */
  readonly hashedBytes: number;
  /** `content attributes path` a line: short digests of both, to see which files differ. */
  readonly files?: string;
}

/** One file or folder that a path of a selection names. */
export interface Match {
  /** From the root, with a leading `/`. Of a link, its own path. */
  readonly path: string;
  /** Of what a link leads to. */
  readonly kind: "file" | "directory" | "other";
}

/** What one COPY or ADD takes from: files, or content that stands in the Dockerfile. */
export type CopySource =
  | {
      readonly kind: "files";
      readonly selection: Selection;
      readonly unpack?: Unpack;
      /** Asks for the checksum of the selection, which is read anyway. */
      readonly sum?: ChecksumHow;
    }
  /** A here-document: a file of mode 0644 (unless `chmod`) and owner 0:0 (unless `chown`). */
  | { readonly kind: "content"; readonly name: string; readonly bytes: Uint8Array };

/**
 * Whether a regular file that is a tar archive, told by its content, is unpacked instead of copied:
 * plain, gzip, bzip2, xz or zstd. `archives` is ADD's rule for local files, `never` is COPY's.
 */
export type Unpack = "never" | "archives";

/** COPY or ADD. */
export interface CopyStep {
  readonly kind: "copy";
  readonly sources: readonly CopySource[];
  /** Absolute in the target (join it with WORKDIR first); a `/` at the end makes it a folder. */
  readonly destination: string;
  /**
   * `user[:group]`, names or numbers; names are looked up in the target. Docker: an unknown user is
   * 0:0, an unknown or missing group is the user's number, seen in 28.5.
   */
  readonly chown?: string;
  /** Octal (`0755`), or symbolic as chmod(1) (`u=rwX,go=rX`). */
  readonly chmod?: string;
  /** Files get owner 0:0 unless `chown` says otherwise; false keeps the source's owners. */
  readonly resetsOwners: boolean;
}

/** WORKDIR: makes a folder and its missing parents; one that is there stays as it is. */
export interface FolderStep {
  readonly kind: "folder";
  readonly path: string;
  /** 0755 when absent; of all that are made. */
  readonly mode?: number;
  readonly chown?: string;
}

/** A change of a target. */
export type FileStep = CopyStep | FolderStep;

/** What to write where. */
export interface CopyRequest {
  /**
   * An active snapshot, to be committed before anybody else writes to it: its files may be shared
   * with the source. A `--link` copy gets one without a parent: then no link of a base is followed.
   */
  readonly target: SnapshotMount;
  readonly steps: readonly FileStep[];
  /** Where names of users are looked up when that is not the target. */
  readonly usersFrom?: FileTree;
  /**
   * Seconds since 1970: the time of what has none of its own (made folders, here-documents), instead
   * of now. Docker: files keep the time of their source, whatever SOURCE_DATE_EPOCH says.
   */
  readonly epochS?: number;
}

/** What was written. */
export interface CopyResult {
  readonly fileCount: number;
  /** Bytes of the files that were written, for `commit`. */
  readonly sizeBytes: number;
  /** Of the sources that ask for one, in their order; the same as `Copier.checksum` gives. */
  readonly checksums: readonly Checksum[];
}

/** What each call may have. */
export interface CopyCall {
  /** Its abort kills the helper; `canceled` is thrown then, and the target is left half written. */
  readonly signal?: AbortSignal;
}

/** Reads trees and writes targets in helper processes. Closing ends them. */
export interface Copier extends AsyncDisposable {
  /**
   * The digest of what a copy of the selection would bring.
   *
   * A wildcard that names nothing is no failure, as in BuildKit: nothing is copied then.
   *
   * @throws not-found `failed to compute cache key: failed to calculate checksum of ref …: "/x": not
   * found` when a path without wildcards, or a link that one names, leads to nothing
   * @throws invalid-argument for a malformed pattern
   */
  checksum(request: ChecksumRequest, call?: CopyCall): Promise<Checksum>;
  /**
   * Writes the steps into the target, in order.
   *
   * Kept of the source: mode with set-user bits, time to the nanosecond, hard links within one source,
   * link targets, devices, FIFOs, extended attributes that a layer may have, holes. Where the file
   * system shares blocks, they are shared.
   *
   * @throws not-found when a source vanished since the checksum
   * @throws invalid-argument when a folder is to replace a file or the other way round, for a malformed
   * `chmod`, and for a hostile or malformed archive
   */
  copy(request: CopyRequest, call?: CopyCall): Promise<CopyResult>;
  /** A small regular file of a tree, links followed inside; undefined when there is none. */
  readFile(
    tree: FileTree,
    options: CopyCall & { readonly path: string; readonly sizeMaxBytes: number },
  ): Promise<Uint8Array | undefined>;
}
