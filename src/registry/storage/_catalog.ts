/**
 * Which repository has what: in memory for reading, in the database for lasting.
 *
 * All methods are synchronous, so that a check and the change that rests on it are one step.
 */
import type { Metadata, Table } from "../../metadata/metadata.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";
import {
  type BlobRecord,
  blobTable,
  type ManifestRecord,
  manifestTable,
  type TagRecord,
  tagTable,
} from "./_records.ts";

/** What one repository has. */
export interface Repository {
  readonly name: string;
  readonly blobs: ReadonlyMap<Digest, BlobRecord>;
  readonly manifests: ReadonlyMap<Digest, ManifestRecord>;
  readonly tags: ReadonlyMap<string, TagRecord>;
  /** Manifests by the subject they name, whether that is there or not. */
  readonly referrers: ReadonlyMap<Digest, ReadonlySet<Digest>>;
  /** Bytes of its blobs and manifests. */
  readonly sizeBytes: number;
}

/** One change of what a repository has. */
export type CatalogChange = { readonly repository: string } & (
  | { readonly kind: "put-blob"; readonly digest: Digest; readonly record: BlobRecord }
  | { readonly kind: "put-manifest"; readonly digest: Digest; readonly record: ManifestRecord }
  | { readonly kind: "put-tag"; readonly tag: string; readonly record: TagRecord }
  | { readonly kind: "remove-blob" | "remove-manifest"; readonly digest: Digest }
  | { readonly kind: "remove-tag"; readonly tag: string }
);

interface OwnRepository extends Repository {
  readonly blobs: Map<Digest, BlobRecord>;
  readonly manifests: Map<Digest, ManifestRecord>;
  readonly tags: Map<string, TagRecord>;
  readonly referrers: Map<Digest, Set<Digest>>;
  sizeBytes: number;
}

/** The catalog of one registry. */
export class Catalog {
  readonly #metadata: Metadata;
  readonly #blobs: Table<BlobRecord>;
  readonly #manifests: Table<ManifestRecord>;
  readonly #tags: Table<TagRecord>;
  readonly #repositories = new Map<string, OwnRepository>();
  /** How many repositories have a digest, and how large it is. */
  readonly #holders = new Map<Digest, { count: number; readonly sizeBytes: number }>();
  #sizeBytes = 0;
  #sortedNames: readonly string[] | undefined;

  constructor(metadata: Metadata) {
    this.#metadata = metadata;
    this.#blobs = metadata.table(blobTable);
    this.#manifests = metadata.table(manifestTable);
    this.#tags = metadata.table(tagTable);
    for (const [key, record] of this.#blobs.list()) {
      const at = splitKey(key);
      if (at !== undefined) this.#keep({ kind: "put-blob", ...at, record });
    }
    for (const [key, record] of this.#manifests.list()) {
      const at = splitKey(key);
      if (at !== undefined) this.#keep({ kind: "put-manifest", ...at, record });
    }
    for (const [key, record] of this.#tags.list()) {
      const colon = key.lastIndexOf(":");
      const at = { repository: key.slice(0, colon), tag: key.slice(colon + 1) };
      this.#keep({ kind: "put-tag", ...at, record });
    }
  }

  /** Names of all repositories that have anything, sorted by bytes. */
  names(): readonly string[] {
    this.#sortedNames ??= [...this.#repositories.keys()].sort();
    return this.#sortedNames;
  }

  find(repository: string): Repository | undefined {
    return this.#repositories.get(repository);
  }

  /** Whether any repository has it, as a blob or as a manifest. */
  isHeld(digest: Digest): boolean {
    return this.#holders.has(digest);
  }

  /** Names of repositories that have a blob. */
  *holdersOf(digest: Digest): Iterable<string> {
    if (!this.#holders.has(digest)) return;
    for (const { name, blobs } of this.#repositories.values()) if (blobs.has(digest)) yield name;
  }

  /** Bytes of all content, each digest counted once. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** How many different blobs and manifests there are. */
  get digestCount(): number {
    return this.#holders.size;
  }

  /**
   * Makes all changes or none; durable when it returns.
   *
   * @param also runs in the same transaction
   */
  apply(changes: readonly CatalogChange[], also?: () => void): void {
    this.#metadata.transaction(() => {
      for (const change of changes) this.#store(change);
      also?.();
    });
    for (const change of changes) this.#keep(change);
  }

  #store(change: CatalogChange): void {
    switch (change.kind) {
      case "put-blob":
        this.#blobs.put(keyOf(change), change.record);
        break;
      case "put-manifest":
        this.#manifests.put(keyOf(change), change.record);
        break;
      case "put-tag":
        this.#tags.put(tagKeyOf(change), change.record);
        break;
      case "remove-blob":
        this.#blobs.remove(keyOf(change));
        break;
      case "remove-manifest":
        this.#manifests.remove(keyOf(change));
        break;
      case "remove-tag":
        this.#tags.remove(tagKeyOf(change));
    }
  }

  /** Makes a change in memory. */
  #keep(change: CatalogChange): void {
    const repository = this.#own(change.repository);
    switch (change.kind) {
      case "put-blob":
        this.#swap(repository, repository.blobs.get(change.digest), change);
        repository.blobs.set(change.digest, change.record);
        break;
      case "put-manifest":
        this.#forgetReferrer(repository, change.digest);
        this.#swap(repository, repository.manifests.get(change.digest), change);
        repository.manifests.set(change.digest, change.record);
        this.#noteReferrer(repository, change.digest);
        break;
      case "put-tag":
        repository.tags.set(change.tag, change.record);
        break;
      case "remove-blob":
        this.#swap(repository, repository.blobs.get(change.digest), { digest: change.digest });
        repository.blobs.delete(change.digest);
        break;
      case "remove-manifest":
        this.#forgetReferrer(repository, change.digest);
        this.#swap(repository, repository.manifests.get(change.digest), { digest: change.digest });
        repository.manifests.delete(change.digest);
        break;
      case "remove-tag":
        repository.tags.delete(change.tag);
    }
    const { blobs, manifests, tags } = repository;
    if (blobs.size + manifests.size + tags.size === 0) {
      this.#repositories.delete(repository.name);
      this.#sortedNames = undefined;
    }
  }

  #own(name: string): OwnRepository {
    const found = this.#repositories.get(name);
    if (found !== undefined) return found;
    const made: OwnRepository = {
      name,
      blobs: new Map(),
      manifests: new Map(),
      tags: new Map(),
      referrers: new Map(),
      sizeBytes: 0,
    };
    this.#repositories.set(name, made);
    this.#sortedNames = undefined;
    return made;
  }

  /** Counts what goes and what comes. */
  #swap(
    repository: OwnRepository,
    before: { readonly sizeBytes: number } | undefined,
    next: { readonly digest: Digest; readonly record?: { readonly sizeBytes: number } },
  ): void {
    const { digest, record } = next;
    if (before !== undefined) {
      repository.sizeBytes -= before.sizeBytes;
      const held = this.#holders.get(digest);
      if (held !== undefined) {
        held.count -= 1;
        if (held.count === 0) {
          this.#holders.delete(digest);
          this.#sizeBytes -= held.sizeBytes;
        }
      }
    }
    if (record === undefined) return;
    repository.sizeBytes += record.sizeBytes;
    const held = this.#holders.get(digest);
    if (held === undefined) {
      this.#holders.set(digest, { count: 1, sizeBytes: record.sizeBytes });
      this.#sizeBytes += record.sizeBytes;
    } else held.count += 1;
  }

  #noteReferrer(repository: OwnRepository, digest: Digest): void {
    const subject = repository.manifests.get(digest)?.subject;
    if (subject === undefined) return;
    const known = repository.referrers.get(subject) ?? new Set();
    repository.referrers.set(subject, known.add(digest));
  }

  #forgetReferrer(repository: OwnRepository, digest: Digest): void {
    const subject = repository.manifests.get(digest)?.subject;
    if (subject === undefined) return;
    const known = repository.referrers.get(subject);
    known?.delete(digest);
    if (known?.size === 0) repository.referrers.delete(subject);
  }
}

function keyOf(change: { readonly repository: string; readonly digest: Digest }): string {
  return `${change.repository}@${change.digest}`;
}

function tagKeyOf(change: { readonly repository: string; readonly tag: string }): string {
  return `${change.repository}:${change.tag}`;
}

function splitKey(key: string): { repository: string; digest: Digest } | undefined {
  const at = key.lastIndexOf("@");
  const digest = key.slice(at + 1);
  return isDigest(digest) ? { repository: key.slice(0, at), digest } : undefined;
}
