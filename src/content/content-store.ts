/**
 * Blobs by digest, and the unfinished writes that become them.
 *
 * 1. `ingest({ref})` opens an unfinished write under `ingest/<ref>`; a second writer of the same ref
 *    is refused with `unavailable`. An ingest left by a crash is resumed by its ref, or
 *    removed by `sweep`.
 * 2. Bytes are written; the digest is computed as they pass.
 * 3. `commit()` syncs the bytes, checks size and digest, and renames them to
 *    `blobs/sha256/<hex>`. Readers see all of a blob or none.
 *
 * The root is an OCI image layout (image-spec v1.1, image-layout.md). Who needs which blob is not
 * known here: images and leases hold them (metadata).
 */
import type { Digest } from "../oci/digest.ts";

/** What is known of a blob. */
export interface BlobInfo {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Absolute path of the blob's file; for helpers that read it themselves. Never written to. */
  readonly path: string;
}

/** How to begin an ingest. */
export interface IngestOptions {
  /** Names the write, so that it can be found again: lower-case letters, digits, `-._`. */
  readonly ref: string;
  /** The digest that the bytes must have; `data-loss` at commit when they do not. */
  readonly expected?: Digest;
  /** Bytes that may be written at most. */
  readonly sizeMaxBytes?: number;
  /** Keeps the bytes that an earlier write of this ref left (`sizeBytes` tells how many): the caller
   * goes on behind them. Without it the write begins empty. */
  readonly resume?: boolean;
}

/** An unfinished write. Closed (and dropped) by `await using` unless committed. */
export interface Ingest extends AsyncDisposable {
  readonly sizeBytes: number;
  /** Appends; resolves when the bytes are with the kernel. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Makes it a blob; an equal blob that is there already is kept and this write dropped.
   *
   * @param options.expected digest the bytes must have, for who learns it only at the end; of another
   * algorithm than the one they were hashed with, the bytes are read again
   * @throws data-loss when the bytes have another digest (the write is dropped)
   */
  commit(options?: { readonly durable?: boolean; readonly expected?: Digest }): Promise<BlobInfo>;
  /** Closes it and keeps the bytes, for a later ingest of the same ref with `resume`. */
  suspend(): Promise<void>;
}

/** The blobs of one data root. */
export interface ContentStore {
  /** Absolute path of the image layout. */
  readonly root: string;
  find(digest: Digest): BlobInfo | undefined;
  /** @throws not-found */
  get(digest: Digest): BlobInfo;
  /** Streams a blob, or a range of it. @throws not-found */
  open(
    digest: Digest,
    range?: { readonly offset: number; readonly length?: number },
  ): ReadableStream<Uint8Array>;
  /** Reads a small blob whole. @throws data-loss when it is larger than `sizeMaxBytes` or damaged. */
  read(digest: Digest, options: { readonly sizeMaxBytes: number }): Promise<Uint8Array>;
  ingest(options: IngestOptions): Promise<Ingest>;
  /** Stores small bytes as a blob, durably. */
  put(bytes: Uint8Array): Promise<BlobInfo>;
  list(): Promise<readonly BlobInfo[]>;
  /** Tells whether there was one. */
  remove(digest: Digest): Promise<boolean>;
  /** Removes all unfinished writes that nobody holds open, but for those whose refs are in `keep`; for
   * start-up. */
  sweep(options?: { readonly keep?: ReadonlySet<string> }): Promise<number>;
}
