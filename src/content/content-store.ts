/**
 * Blobs by digest, and the unfinished writes that become them.
 *
 * 1. `ingest({ref})` opens an unfinished write under `ingest/<ref>`; a second writer of the same ref
 *    is refused with `unavailable`. An ingest left by a crash is resumed by its ref, or
 *    removed by `sweep`; one that is named for its digest (`ingestRefOf`) is kept for a day, so that
 *    a transfer goes on where it broke off, also after a restart.
 * 2. Bytes are written; the digest is computed as they pass.
 * 3. `commit()` syncs the bytes, checks size and digest, and renames them to
 *    `blobs/sha256/<hex>`. Readers see all of a blob or none.
 *
 * The root is an OCI image layout (image-spec v1.1, image-layout.md). Who needs which blob is not
 * known here: images and leases hold them (metadata).
 */
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.ts";

/** How long `sweep` keeps an ingest that is named for its digest, after its last write. */
export const ingestKeepMs: number = 24 * 60 * 60 * 1000;

/** Hexadecimal digits of a digest in a ref; of the longer algorithms as many as tell them apart. */
const refDigits = 64;

/** The ref of a write that may go on after a restart: it tells the digest that is wanted. */
export function ingestRefOf(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest).slice(0, refDigits)}`;
}

/** Whether a ref is one of `ingestRefOf`. */
export function isDigestRef(ref: string): boolean {
  return /^sha(?:256|384|512)-[0-9a-f]{64}$/.test(ref);
}

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
   * @param options.hold told the digest before anybody can see the blob: takes the lease that keeps it
   * @throws data-loss when the bytes have another digest (the write is dropped)
   */
  commit(options?: {
    readonly durable?: boolean;
    readonly expected?: Digest;
    readonly hold?: (digest: Digest) => void;
  }): Promise<BlobInfo>;
  /**
   * Gives the file that grows a second name, for a helper that reads along. The name outlives the
   * write; the caller removes it, or `sweep`.
   */
  follow(): string;
  /** Closes it and keeps the bytes, for a later ingest of the same ref with `resume`. */
  suspend(): Promise<void>;
}

/** An unfinished write of a digest, for who reads it while it comes. */
export interface Arrival {
  /** The file that grows; gone once it is a blob. */
  readonly path: string;
  /** Where the blob will be. */
  readonly blobPath: string;
  /** Settles when the write is over: whether the bytes of this very file became the blob. */
  readonly isKept: Promise<boolean>;
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
  /** The write of a digest (`ingestRefOf`) that is going on; what it has is unverified until it is
   * kept. */
  findArrival(digest: Digest): Arrival | undefined;
  /** Stores small bytes as a blob, durably unless the caller says that it syncs. @param options as of `commit` */
  put(
    bytes: Uint8Array,
    options?: { readonly durable?: boolean; readonly hold?: (digest: Digest) => void },
  ): Promise<BlobInfo>;
  list(): Promise<readonly BlobInfo[]>;
  /** Tells whether there was one. Nobody finds it from the call on. */
  remove(digest: Digest): Promise<boolean>;
  /**
   * Makes a blob an unfinished write of its digest again, so that its bytes are checked before they are used: for what
   * may not have reached the disk before a power cut.
   *
   * @throws not-found
   */
  takeBack(digest: Digest): Promise<void>;
  /**
   * Removes unfinished writes that nobody holds open; for start-up.
   *
   * @param options.keep refs that stay
   * @param options.keepMs how long after its last write one stays that is named for its digest;
   * `ingestKeepMs` when absent
   * @returns how many went
   */
  sweep(options?: {
    readonly keep?: ReadonlySet<string>;
    readonly keepMs?: number;
  }): Promise<number>;
}
