import type { BlobInfo, ContentStore } from "../../content/content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import { TaskGroup } from "../../lib/concurrency/task-group.ts";
import type { Logger } from "../../lib/log.ts";
import type { Metadata } from "../../metadata/metadata.ts";
import type { Digest } from "../../oci/digest.ts";
import { manifestSizeMaxBytes } from "../../oci/manifest.ts";
import { Catalog } from "./_catalog.ts";
import { collectGarbage, removeBytes } from "./_collect.ts";
import type { RegistryContext } from "./_context.ts";
import { Holds } from "./_holds.ts";
import {
  findManifest,
  type IncomingManifest,
  listReferrers,
  pageOfReferrers,
  putManifest,
  removeManifest,
} from "./_manifests.ts";
import { Quota, type QuotaLimits } from "./_quota.ts";
import { Uploads } from "./_uploads.ts";
import { refusal } from "../errors.ts";
import type { ManifestName } from "../names.ts";
import type { Upstream } from "./pull-through.ts";
import type {
  Chunk,
  Collection,
  Page,
  PageOptions,
  Registry,
  RegistryStats,
  ServedBlob,
  StoredManifest,
  UploadName,
  UploadStatus,
} from "../registry.ts";

/** What a registry is made with. */
export interface LocalRegistryOptions {
  readonly content: ContentStore;
  readonly metadata: Metadata;
  readonly logger: Logger;
  readonly quota?: QuotaLimits;
  /** How long what was pushed or asked for stays without a manifest that names it. */
  readonly graceMs: number;
  /** How long an upload waits for its next chunk. */
  readonly uploadExpiryMs: number;
  readonly removesUntagged: boolean;
  /** Another registry, of which this one keeps copies. */
  readonly upstream?: (context: RegistryContext) => Upstream;
  /** How long a copy of the other registry's is kept; for ever when absent. */
  readonly copyExpiryMs?: number;
  /** False when there are no clients, as for a collection of its own. */
  readonly isServing?: boolean;
  readonly nowMs?: () => number;
}

/** Opens the repositories of a root, and removes what unfinished writes a crash left that nobody can
 * resume. */
export async function openRegistry(options: LocalRegistryOptions): Promise<Registry> {
  const registry = new LocalRegistry(options);
  await registry.recover();
  return registry;
}

class LocalRegistry implements Registry {
  readonly #options: LocalRegistryOptions;
  readonly #context: RegistryContext;
  readonly #uploads: Uploads;
  readonly #upstream: Upstream | undefined;
  readonly #removals: TaskGroup;
  #collection: Promise<Collection> | undefined;

  constructor(options: LocalRegistryOptions) {
    const nowMs = options.nowMs ?? Date.now;
    const catalog = new Catalog(options.metadata);
    this.#options = options;
    this.#context = {
      content: options.content,
      catalog,
      holds: new Holds({
        graceMs: options.graceMs,
        nowMs,
        isServing: options.isServing !== false,
      }),
      quota: new Quota(catalog, options.quota ?? {}),
      locks: new KeyedMutex(),
      logger: options.logger,
      nowMs,
    };
    this.#uploads = new Uploads(this.#context, options.metadata);
    this.#removals = new TaskGroup({
      onError: (error, name) => options.logger.error(name, { error }),
    });
    this.#upstream = options.upstream?.(this.#context);
  }

  async recover(): Promise<void> {
    await this.#uploads.measure();
    const removed = await this.#context.content.sweep({ keep: this.#uploads.refs() });
    if (removed > 0) this.#context.logger.info("removed unfinished writes", { count: removed });
  }

  async getBlob(repository: string, digest: Digest): Promise<ServedBlob> {
    if (this.#hasBlob(repository, digest)) {
      this.#context.holds.hold(repository, digest);
      const blob = this.#context.content.find(digest);
      if (blob !== undefined) return blob;
      // Somebody took the file away. To say so lets a client push it again; the record stays, for the
      // file may be back when its disk is.
      this.#context.logger.error("a blob's file is missing", { repository, digest });
    }
    const fetched = await this.#upstream?.fetchBlob(repository, digest);
    if (fetched !== undefined) return fetched;
    throw refusal("BLOB_UNKNOWN", { detail: { digest } });
  }

  removeBlob(repository: string, digest: Digest): void {
    if (!this.#hasBlob(repository, digest)) throw refusal("BLOB_UNKNOWN", { detail: { digest } });
    this.#context.catalog.apply([{ kind: "remove-blob", repository, digest }]);
    // What nobody has counts for no quota: it must not stay on the disk until the next collection.
    this.#removals.run("remove a blob's bytes", async () => {
      await removeBytes(this.#context, digest);
    });
  }

  mountBlob(
    repository: string,
    source: { readonly from: string; readonly digest: Digest },
  ): boolean {
    const { catalog, quota, holds, content } = this.#context;
    const { from, digest } = source;
    const record = catalog.find(from)?.blobs.get(digest);
    if (record === undefined || content.find(digest) === undefined) return false;
    if (!this.#hasBlob(repository, digest)) {
      quota.admit(repository, { sizeBytes: record.sizeBytes, isShared: true });
      const addedMs = this.#context.nowMs();
      catalog.apply([
        { kind: "put-blob", repository, digest, record: { sizeBytes: record.sizeBytes, addedMs } },
      ]);
    }
    holds.hold(repository, digest);
    return true;
  }

  holdersOf(digest: Digest): Iterable<string> {
    return this.#context.catalog.holdersOf(digest);
  }

  startUpload(repository: string): UploadStatus {
    return this.#uploads.start(repository);
  }

  async getUpload(name: UploadName): Promise<UploadStatus> {
    return this.#uploads.status(name);
  }

  async appendUpload(name: UploadName, chunk: Chunk): Promise<UploadStatus> {
    return await this.#uploads.append(name, chunk);
  }

  async finishUpload(
    name: UploadName,
    options: Chunk & { readonly digest: Digest },
  ): Promise<BlobInfo> {
    return await this.#uploads.finish(name, options);
  }

  async cancelUpload(name: UploadName): Promise<void> {
    await this.#uploads.cancel(name);
  }

  async getManifest(repository: string, name: ManifestName): Promise<StoredManifest> {
    await this.#upstream?.refresh(repository, name);
    const manifest = findManifest(this.#context, repository, name);
    // A copy must not grow too old between its manifest and its blobs.
    if (this.#upstream !== undefined) this.#context.holds.hold(repository, manifest.digest);
    return manifest;
  }

  async readManifest(manifest: StoredManifest): Promise<Uint8Array> {
    return await this.#context.content.read(manifest.digest, {
      sizeMaxBytes: manifestSizeMaxBytes,
    });
  }

  async putManifest(
    repository: string,
    options: IncomingManifest,
  ): Promise<StoredManifest & { readonly subject?: Digest }> {
    return await putManifest(this.#context, repository, options);
  }

  removeManifest(repository: string, name: ManifestName): void {
    removeManifest(this.#context, repository, name);
  }

  async listReferrers(
    repository: string,
    options: Parameters<Registry["listReferrers"]>[1],
  ): ReturnType<Registry["listReferrers"]> {
    const there = await this.#upstream?.listReferrers(repository, options.digest);
    if (there !== undefined) return pageOfReferrers(there, options);
    return await listReferrers(this.#context, repository, options);
  }

  async listTags(repository: string, page: PageOptions): Promise<Page> {
    const there = await this.#upstream?.listTags(repository);
    if (there !== undefined) return pageOf(there.toSorted(), page);
    const found = this.#context.catalog.find(repository);
    if (found === undefined) throw refusal("NAME_UNKNOWN", { detail: { name: repository } });
    return pageOf([...found.tags.keys()].sort(), page);
  }

  listRepositories(
    page: PageOptions & { readonly isVisible: (repository: string) => boolean },
  ): Page {
    return pageOf(this.#context.catalog.names().filter(page.isVisible), page);
  }

  async collect(): Promise<Collection> {
    if (this.#options.metadata.damages.length > 0) {
      throw new EngineError(
        "unavailable",
        "collect: records of this root were damaged and are quarantined, and what they named would " +
          "be lost; see the log, and start the registry again to go on without them",
      );
    }
    const running = this.#collection ?? this.#collect();
    this.#collection = running;
    try {
      return await running;
    } finally {
      this.#collection = undefined;
    }
  }

  async #collect(): Promise<Collection> {
    await this.#uploads.tidy(this.#options.uploadExpiryMs);
    const { removesUntagged, copyExpiryMs } = this.#options;
    const done = await collectGarbage(this.#context, {
      removesUntagged,
      ...(copyExpiryMs === undefined ? {} : { copyExpiryMs }),
    });
    this.#context.logger.info("collected garbage", { ...done });
    return done;
  }

  get stats(): RegistryStats {
    const { catalog } = this.#context;
    return {
      repositoryCount: catalog.names().length,
      digestCount: catalog.digestCount,
      sizeBytes: catalog.sizeBytes,
      uploadCount: this.#uploads.count,
    };
  }

  async tidy(): Promise<void> {
    await this.#uploads.tidy(this.#options.uploadExpiryMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#removals[Symbol.asyncDispose]();
    await this.#collection?.catch(() => undefined);
    await this.#uploads.close();
  }

  #hasBlob(repository: string, digest: Digest): boolean {
    return this.#context.catalog.find(repository)?.blobs.has(digest) === true;
  }
}

function pageOf(sorted: readonly string[], page: PageOptions): Page {
  const { countMax, after } = page;
  const start = after === undefined ? 0 : firstBehind(sorted, after);
  const names = sorted.slice(start, start + countMax);
  return { names, hasMore: start + names.length < sorted.length };
}

/** Where the names that sort behind `after` begin. */
function firstBehind(sorted: readonly string[], after: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? "") <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}
