/**
 * The server side of image distribution: repositories of blobs, manifests and tags.
 *
 * Terms: a *repository* is a name under which blobs, manifests and tags are; it is there as soon as it
 * has one. A blob lies once in the content store, and is *visible* only in the repositories that it was
 * pushed to or mounted into. A *referrer* is a manifest that names another as its subject.
 *
 * 1. An *upload* is begun, gets bytes in any number of chunks, and is finished with the digest that the
 *    bytes must have. An upload with bytes outlives the process: a client asks how far it is and goes on.
 * 2. A manifest is put once all that it names is there, under its digest or a tag.
 * 3. A removed tag, manifest or blob is out of sight at once. A blob's bytes go with the last record of
 *    it, others when the collector finds that nobody has them: `collect`.
 *
 * What was acknowledged is on the disk: bytes are synced before the record that makes them visible, and
 * the record before the answer. What a crash leaves in between is bytes that no record names.
 *
 * ```
 *   push ─▶ upload ─▶ content store ◀─ blob of repository ◀─ manifest ◀─ tag
 *                       (bytes)          (record)             (record)    (record)
 * ```
 *
 * Nothing here knows HTTP: `http/` does, and `errors.ts` gives failures their codes.
 *
 * @see OCI distribution-spec v1.1
 */
import type { BlobInfo } from "../content/content-store.ts";
import type { ByteSource } from "../lib/stream-limit.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { BlobGrowth } from "./blob-growth.ts";
import type { ManifestName } from "./names.ts";
import type { ChunkRange } from "./ranges.ts";

/** A manifest as it is served. */
export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
}

/** A blob, or what has come of it so far. */
export interface ServedBlob extends BlobInfo {
  /** It is still being fetched from another registry: `path` is that of the unfinished write. */
  readonly growth?: BlobGrowth;
}

/** Which upload. */
export interface UploadName {
  readonly repository: string;
  readonly id: string;
}

/** How far an upload is. */
export interface UploadStatus {
  readonly id: string;
  readonly sizeBytes: number;
}

/** A page of a sorted list. */
export interface PageOptions {
  /** At most so many. */
  readonly countMax: number;
  /** Only what sorts behind it. */
  readonly after?: string;
}

/** A page, and whether there is more. */
export interface Page {
  readonly names: readonly string[];
  readonly hasMore: boolean;
}

/** A chunk, or the last of a body. */
export interface Chunk {
  readonly body: ByteSource;
  /** Where the chunk says that it belongs. */
  readonly range?: ChunkRange;
  /** How long it says that it is. */
  readonly sizeBytes?: number;
}

/** What a collection did. */
export interface Collection {
  /** Untagged manifests that went, when they were to go. */
  readonly manifestCount: number;
  /** Blobs that a repository has no longer. */
  readonly blobCount: number;
  /** Files removed, and their bytes. */
  readonly fileCount: number;
  readonly freedBytes: number;
  readonly durationMs: number;
}

/** Figures for a monitor. */
export interface RegistryStats {
  readonly repositoryCount: number;
  readonly digestCount: number;
  readonly sizeBytes: number;
  readonly uploadCount: number;
}

/** The repositories of one root. Closing lays uploads aside; it does not end them. */
export interface Registry extends AsyncDisposable {
  /** Finds a blob of a repository, and keeps it from the collector for a while: the client that asks is
   * going to name it in a manifest. @throws BLOB_UNKNOWN */
  getBlob(repository: string, digest: Digest): Promise<ServedBlob>;
  /** Takes a blob out of a repository. @throws BLOB_UNKNOWN */
  removeBlob(repository: string, digest: Digest): void;
  /** Makes a blob of one repository visible in another. False when the first does not have it. */
  mountBlob(
    repository: string,
    source: { readonly from: string; readonly digest: Digest },
  ): boolean;
  /** Repositories that have a blob. */
  holdersOf(digest: Digest): Iterable<string>;

  /** @throws TOOMANYREQUESTS */
  startUpload(repository: string): UploadStatus;
  /** @throws BLOB_UPLOAD_UNKNOWN */
  getUpload(name: UploadName): Promise<UploadStatus>;
  /**
   * Appends a chunk. When the body breaks off, what came of it is kept.
   *
   * @throws RANGE_INVALID when the chunk does not begin where the upload ends
   */
  appendUpload(name: UploadName, chunk: Chunk): Promise<UploadStatus>;
  /** Appends a last chunk and makes it a blob, durably. @throws DIGEST_INVALID (the upload is gone) */
  finishUpload(name: UploadName, options: Chunk & { readonly digest: Digest }): Promise<BlobInfo>;
  /** @throws BLOB_UPLOAD_UNKNOWN */
  cancelUpload(name: UploadName): Promise<void>;

  /** @throws MANIFEST_UNKNOWN, NAME_UNKNOWN */
  getManifest(repository: string, name: ManifestName): Promise<StoredManifest>;
  /** The bytes of a manifest, checked. */
  readManifest(manifest: StoredManifest): Promise<Uint8Array>;
  /**
   * Stores a manifest, durably, and the tag when it is named by one.
   *
   * @throws MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, DENIED (quota)
   */
  putManifest(
    repository: string,
    options: {
      readonly name: ManifestName;
      readonly mediaType: string | undefined;
      readonly bytes: Uint8Array;
    },
  ): Promise<StoredManifest & { readonly subject?: Digest }>;
  /** A tag: the tag alone. A digest: the manifest and all its tags. @throws MANIFEST_UNKNOWN */
  removeManifest(repository: string, name: ManifestName): void;
  /** Descriptors of the manifests that name `digest` as their subject, whether it is there or not. */
  listReferrers(
    repository: string,
    options: {
      readonly digest: Digest;
      readonly artifactType?: string;
      readonly after?: string;
    },
  ): Promise<{ readonly manifests: readonly Descriptor[]; readonly hasMore: boolean }>;

  /** @throws NAME_UNKNOWN */
  listTags(repository: string, page: PageOptions): Promise<Page>;
  /** `isVisible` says which names the caller may know. */
  listRepositories(
    page: PageOptions & { readonly isVisible: (repository: string) => boolean },
  ): Page;

  /** Removes what nobody has. One at a time: a second call waits for the first and shares its result. */
  collect(): Promise<Collection>;
  /** Gives back what idle uploads hold; to be called every minute or so. */
  tidy(): Promise<void>;
  readonly stats: RegistryStats;
}
