/**
 * What is remembered of registries: where blobs are, how layers were packed, what unfinished pulls
 * have brought so far.
 */
import { EngineError } from "../../lib/errors.ts";
import type { Metadata, Table } from "../../metadata/metadata.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";

/** How long the blobs of a pull that broke off are kept. */
export const pieceKeepMs: number = 24 * 60 * 60 * 1000;

/** Repositories that are remembered of one blob. */
const placeCountMax = 16;

/** A layer as it was packed for a push. */
export interface PackedLayer {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly mediaType: string;
}

interface PieceRecord {
  readonly digests: readonly Digest[];
  readonly startedMs: number;
}

interface PlaceRecord {
  readonly repositories: readonly string[];
}

/** The records of one data root. */
export class DistributionRecords {
  readonly #pieces: Table<PieceRecord>;
  readonly #places: Table<PlaceRecord>;
  readonly #packed: Table<PackedLayer>;

  constructor(metadata: Metadata) {
    this.#pieces = metadata.table({ name: "pull-pieces", decode: decodePieces });
    this.#places = metadata.table({ name: "blob-places", decode: decodePlaces });
    this.#packed = metadata.table({ name: "packed-layer", decode: decodePacked });
  }

  /** Keeps blobs for a pull that may break off. @param key names the pull */
  keepPieces(key: string, digests: readonly Digest[]): void {
    // What comes before the next sync would be lost with it.
    this.#pieces.put(key, { digests, startedMs: Date.now() }, { durable: false });
  }

  dropPieces(key: string): void {
    this.#pieces.remove(key);
  }

  /** Gives up what pulls have left behind. */
  dropAllPieces(): void {
    for (const [key] of this.#pieces.list()) this.#pieces.remove(key);
  }

  /** Blobs that the collector leaves to pulls; forgets those that nobody came back for. */
  pieces(): ReadonlySet<Digest> {
    const now = Date.now();
    const kept = new Set<Digest>();
    for (const [key, { digests, startedMs }] of this.#pieces.list()) {
      // A start in the future is one by a wrong clock.
      if (Math.abs(now - startedMs) > pieceKeepMs) this.#pieces.remove(key);
      else for (const digest of digests) kept.add(digest);
    }
    return kept;
  }

  /** Remembers that a repository has blobs. @param repository whole: `docker.io/library/busybox` */
  addPlaces(digests: readonly Digest[], repository: string): void {
    for (const digest of new Set(digests)) {
      const known = this.#places.find(digest)?.repositories ?? [];
      if (known[0] === repository) continue;
      const others = known.filter((one) => one !== repository);
      this.#places.put(digest, { repositories: [repository, ...others].slice(0, placeCountMax) });
    }
  }

  /** Paths of repositories on a registry that have a blob, the last used first. */
  pathsOf(digest: Digest, domain: string): readonly string[] {
    const repositories = this.#places.find(digest)?.repositories ?? [];
    const prefix = `${domain}/`;
    return repositories
      .filter((one) => one.startsWith(prefix))
      .map((one) => one.slice(prefix.length));
  }

  /** How a layer was packed the last time. */
  findPacked(diffId: Digest): PackedLayer | undefined {
    return this.#packed.find(diffId);
  }

  putPacked(diffId: Digest, packed: PackedLayer): void {
    this.#packed.put(diffId, packed);
  }

  /** Forgets what belongs to none of the layers that are left. */
  retain(left: {
    readonly blobs: ReadonlySet<string>;
    readonly diffIds: ReadonlySet<string>;
  }): void {
    const packed = new Set<string>();
    for (const [diffId, { digest }] of this.#packed.list()) {
      if (left.diffIds.has(diffId)) packed.add(digest);
      else this.#packed.remove(diffId);
    }
    for (const [digest] of this.#places.list()) {
      if (!left.blobs.has(digest) && !packed.has(digest)) this.#places.remove(digest);
    }
  }
}

function decodePieces(document: unknown): PieceRecord {
  const { digests, startedMs } = fieldsOf<PieceRecord>(document);
  if (!isList(digests, isDigestText) || typeof startedMs !== "number") throw damaged("a pull");
  return document as PieceRecord;
}

function decodePlaces(document: unknown): PlaceRecord {
  const { repositories } = fieldsOf<PlaceRecord>(document);
  if (!isList(repositories, (item) => typeof item === "string")) throw damaged("a blob's places");
  return document as PlaceRecord;
}

function decodePacked(document: unknown): PackedLayer {
  const { digest, sizeBytes, mediaType } = fieldsOf<PackedLayer>(document);
  if (!isDigestText(digest) || typeof sizeBytes !== "number" || typeof mediaType !== "string") {
    throw damaged("a packed layer");
  }
  return document as PackedLayer;
}

function fieldsOf<T>(document: unknown): { readonly [K in keyof T]?: unknown } {
  return typeof document === "object" && document !== null ? document : {};
}

function isList(value: unknown, isItem: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isItem);
}

function isDigestText(value: unknown): boolean {
  return typeof value === "string" && isDigest(value);
}

function damaged(what: string): EngineError {
  return new EngineError("data-loss", `the record of ${what} is not one`);
}
