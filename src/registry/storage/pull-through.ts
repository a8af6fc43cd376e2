/**
 * A copy of another registry, made as it is asked for.
 *
 * A tag is asked for upstream each time it has not been for a while; while the other registry is out of
 * reach, what is here is served. Manifests and blobs by digest are fetched once. All that is fetched is
 * checked against its digest before it is served. Tags and referrers are listed as the other has them.
 */
import { join } from "node:path";
import { ingestRefOf } from "../../content/content-store.ts";
import { isKind } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import { decodeManifestOrIndex, isIndex, type Index, type Manifest } from "../../oci/manifest.ts";
import { isIndexType, isManifestType } from "../../oci/media-types.ts";
import type { Reference } from "../../oci/reference.ts";
import type { Credentials, RegistryClient } from "../../remote/registry-client.ts";
import { removeBytes } from "./_collect.ts";
import { type RegistryContext, withDigest } from "./_context.ts";
import { BlobGrowth } from "../blob-growth.ts";
import { makeRoom } from "./_make-room.ts";
import { keptLimits } from "./_manifests.ts";
import type { ManifestRecord } from "./_records.ts";
import { refusal } from "../errors.ts";
import type { ManifestName } from "../names.ts";
import type { ServedBlob } from "../registry.ts";

/** How long a tag is believed before it is asked for again. */
const freshMs = 60_000;
/** A blob of which so much has come is served while the rest comes. */
const growthMinBytes = 1024 * 1024;
/** Tags whose time of asking is remembered. */
const askedMax = 100_000;

/** The other registry. */
export interface UpstreamOptions {
  readonly client: Pick<
    RegistryClient,
    "resolve" | "fetchManifest" | "findBlobSize" | "fetchBlob" | "listTags" | "listReferrers"
  >;
  /** Its domain, as a reference has it. */
  readonly domain: string;
  readonly credentials?: Credentials;
}

/** What the registry asks before it answers. */
export interface Upstream {
  /** Makes a manifest be here when the other registry has it. */
  refresh(repository: string, name: ManifestName): Promise<void>;
  /** Fetches a blob, whether a manifest here names it or not; undefined when the other lacks it. */
  fetchBlob(repository: string, digest: Digest): Promise<ServedBlob | undefined>;
  /** The other registry's tags; undefined when it has none, or does not answer and copies are here. */
  listTags(repository: string): Promise<readonly string[] | undefined>;
  /** What names a digest as its subject there; as `listTags`. */
  listReferrers(repository: string, digest: Digest): Promise<readonly Descriptor[] | undefined>;
}

/** A blob on its way. */
interface Growing {
  readonly blob: ServedBlob;
  grow(): void;
}

/** A blob that was asked for and is not here yet. */
interface Fetch {
  readonly done: Promise<ServedBlob | undefined>;
  /** So much of it has come that it is served. */
  readonly started: Promise<ServedBlob>;
}

/** Makes the upstream of a registry. */
export function createUpstream(context: RegistryContext, options: UpstreamOptions): Upstream {
  const { client, domain, credentials } = options;
  const call = credentials === undefined ? {} : { credentials };
  const askedMs = new Map<string, number>();
  const referenceTo = (path: string, digest: Digest): Reference => ({ domain, path, digest });

  const fetchManifest = async (repository: string, digest: Digest, tag?: string): Promise<void> => {
    const removed: Digest[] = [];
    await withDigest(context, digest, async () => {
      const isHere = context.catalog.find(repository)?.manifests.has(digest) === true;
      const record = isHere ? undefined : await fetchRecord(repository, { digest, removed });
      const updatedMs = context.nowMs();
      context.catalog.apply([
        ...(record === undefined
          ? []
          : [{ kind: "put-manifest", repository, digest, record } as const]),
        ...(tag === undefined
          ? []
          : [{ kind: "put-tag", repository, tag, record: { digest, updatedMs } } as const]),
      ]);
    });
    for (const one of removed) await removeBytes(context, one);
  };
  const fetchRecord = async (
    repository: string,
    { digest, removed }: { readonly digest: Digest; readonly removed: Digest[] },
  ): Promise<ManifestRecord> => {
    const { bytes } = await client.fetchManifest(referenceTo(repository, digest), call);
    removed.push(...makeRoom(context, repository, { sizeBytes: bytes.byteLength }));
    const document = decodeManifestOrIndex(bytes, keptLimits);
    await using ingest = await context.content.ingest({
      ref: `fetch-${digest.replace(":", "-").slice(0, 80)}`,
      expected: digest,
    });
    await ingest.write(bytes);
    await ingest.commit();
    return recordOfCopy(document, { sizeBytes: bytes.byteLength, nowMs: context.nowMs() });
  };

  const growing = new Map<Digest, Growing>();
  const beginGrowth = (
    digest: Digest,
    options: {
      readonly done: Promise<ServedBlob | undefined>;
      readonly sizeBytes: number;
    },
  ): Growing => {
    const { done, sizeBytes } = options;
    const growth = new BlobGrowth(done);
    const path = join(context.content.root, "ingest", ingestRefOf(digest));
    const made = { blob: { digest, sizeBytes, path, growth }, grow: () => growth.grow() };
    growing.set(digest, made);
    void growth.ended().then(() => growing.delete(digest));
    return made;
  };
  const fetchWhole = async (
    wanted: { readonly repository: string; readonly digest: Digest; readonly sizeBytes: number },
    onGrowth: () => void,
  ): Promise<ServedBlob | undefined> => {
    const { repository, digest, sizeBytes } = wanted;
    const mediaType = "application/octet-stream";
    return await withDigest(context, digest, async () => {
      const present = context.content.find(digest);
      const fetching =
        present?.sizeBytes === sizeBytes
          ? Promise.resolve(present)
          : client.fetchBlob(referenceTo(repository, digest), {
              ...call,
              descriptor: { mediaType, digest, size: sizeBytes },
              content: context.content,
              progress: ({ kind, currentBytes }) => {
                if (kind === "transferring" && currentBytes >= growthMinBytes) onGrowth();
              },
            });
      const blob = await found(fetching);
      if (blob === undefined) return undefined;
      const record = { sizeBytes, addedMs: context.nowMs() };
      context.catalog.apply([{ kind: "put-blob", repository, digest, record }]);
      return blob;
    });
  };

  const fetches = new Map<string, Fetch>();
  /** Fetches that hold room; each resolves when it gives it back. */
  const holders = new Set<Promise<void>>();
  const fetchIntoRoom: typeof fetchWhole = async (wanted, onGrowth) => {
    const { repository, digest } = wanted;
    const removed: Digest[] = [];
    for (;;) {
      const request = { sizeBytes: wanted.sizeBytes, isShared: context.catalog.isHeld(digest) };
      removed.push(...makeRoom(context, repository, request));
      if (context.quota.lackOf(repository, request) === undefined) break;
      if (holders.size === 0) context.quota.admit(repository, request);
      await Promise.race(holders);
    }
    // What is being fetched counts already, and until its record does.
    const sizeBytes = context.catalog.isHeld(digest) ? 0 : wanted.sizeBytes;
    const { promise, resolve } = Promise.withResolvers<void>();
    context.quota.count(repository, sizeBytes);
    holders.add(promise);
    try {
      for (const one of removed) await removeBytes(context, one);
      return await fetchWhole(wanted, onGrowth);
    } finally {
      context.quota.count(repository, -sizeBytes);
      holders.delete(promise);
      resolve();
    }
  };
  const beginFetch = (wanted: Parameters<typeof fetchWhole>[0]): Fetch => {
    const { repository, digest, sizeBytes } = wanted;
    const key = `${repository}@${digest}`;
    const started = Promise.withResolvers<ServedBlob>();
    const done = fetchIntoRoom(wanted, () => {
      const growth = growing.get(digest) ?? beginGrowth(digest, { done, sizeBytes });
      growth.grow();
      started.resolve(growth.blob);
    }).finally(() => fetches.delete(key));
    const made = { done, started: started.promise };
    fetches.set(key, made);
    return made;
  };

  const unlessGone = async <T>(repository: string, list: Promise<T>): Promise<T | undefined> => {
    try {
      return await list;
    } catch (error) {
      if (isKind(error, "not-found")) return undefined;
      if (context.catalog.find(repository) === undefined) throw unreachable(error);
      const told = { repository, error };
      context.logger.warn("the other registry does not answer: the copies are listed", told);
      return undefined;
    }
  };

  return {
    async listTags(repository) {
      return await unlessGone(repository, client.listTags({ domain, path: repository }, call));
    },
    async listReferrers(repository, digest) {
      const list = client.listReferrers(referenceTo(repository, digest), { ...call, digest });
      return await unlessGone(repository, list);
    },
    async refresh(repository, name) {
      if (name.kind === "digest") {
        if (context.catalog.find(repository)?.manifests.has(name.digest) === true) return;
        await unlessMissing(fetchManifest(repository, name.digest));
        return;
      }
      const { tag } = name;
      const key = `${repository}:${tag}`;
      const here = context.catalog.find(repository)?.tags.get(tag);
      const isFresh = context.nowMs() - (askedMs.get(key) ?? Number.NEGATIVE_INFINITY) < freshMs;
      if (here !== undefined && isFresh) return;
      try {
        const { digest } = await client.resolve({ domain, path: repository, tag }, call);
        if (askedMs.size >= askedMax) askedMs.clear();
        if (here?.digest !== digest) await fetchManifest(repository, digest, tag);
        askedMs.set(key, context.nowMs());
      } catch (error) {
        if (isKind(error, "not-found")) return;
        if (here === undefined) throw unreachable(error);
        context.logger.warn("the other registry does not answer: the copy is served", {
          repository,
          tag,
          error,
        });
      }
    },
    async fetchBlob(repository, digest) {
      const sizeBytes =
        sizeOfLink(context, repository, digest) ??
        (await found(client.findBlobSize(referenceTo(repository, digest), { ...call, digest })));
      if (sizeBytes === undefined) return undefined;
      const running = growing.get(digest);
      if (running !== undefined) return running.blob;
      const key = `${repository}@${digest}`;
      const fetch = fetches.get(key) ?? beginFetch({ repository, digest, sizeBytes });
      // What comes first: the whole of a small blob, the beginning of a large one, or a failure.
      return await Promise.race([fetch.done, fetch.started]);
    },
  };
}

function recordOfCopy(
  document: Manifest | Index,
  facts: { readonly sizeBytes: number; readonly nowMs: number },
): ManifestRecord {
  const children = isIndex(document) ? document.manifests : [];
  const blobs = isIndex(document) ? [] : [document.config, ...document.layers];
  const artifactType =
    document.artifactType ?? (isIndex(document) ? undefined : document.config.mediaType);
  return {
    mediaType: document.mediaType,
    sizeBytes: facts.sizeBytes,
    pushedMs: facts.nowMs,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(document.subject === undefined ? {} : { subject: document.subject.digest }),
    blobs: blobs.map(({ digest, size }) => ({ digest, sizeBytes: size })),
    manifests: children
      .filter(({ mediaType }) => isIndexType(mediaType) || isManifestType(mediaType))
      .map(({ digest }) => digest),
  };
}

/** The size that a manifest of the repository gives for a blob. */
function sizeOfLink(
  context: RegistryContext,
  repository: string,
  digest: Digest,
): number | undefined {
  for (const { blobs } of context.catalog.find(repository)?.manifests.values() ?? []) {
    const link = blobs.find((one) => one.digest === digest);
    if (link !== undefined) return link.sizeBytes;
  }
  return undefined;
}

async function unlessMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isKind(error, "not-found")) throw unreachable(error);
  }
}

async function found<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isKind(error, "not-found")) return undefined;
    throw unreachable(error);
  }
}

/** What the other registry said is for the log; a disk that is full is our own. */
function unreachable(error: unknown): unknown {
  // Docker Hub says so of what is not there, too: to try again, as a 503 asks for, would not help.
  if (
    isKind(error, "unauthorized", "permission-denied") &&
    !("distributionCode" in error.details)
  ) {
    const message = "the other registry has no such repository, or refuses it to this cache";
    return refusal("DENIED", { message, cause: error });
  }
  if (!isKind(error, "unavailable", "deadline-exceeded")) {
    return error;
  }
  if (error.details["code"] === "ENOSPC" || "distributionCode" in error.details) return error;
  return refusal("UNAVAILABLE", { message: "the other registry does not answer", cause: error });
}
