/**
 * Places where build caches lie: a repository of a registry, or a folder of the client's.
 *
 * Both hold blobs by digest, and one manifest that says what they are.
 */
import type { BlobInfo, ContentStore } from "../../content/content-store.ts";
import { verifyBytes } from "../../content/verify.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { exactSize, readAll } from "../../lib/stream-limit.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf, parseDigest } from "../../oci/digest.ts";
import { manifestSizeMaxBytes } from "../../oci/manifest.ts";
import {
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../../oci/reference.ts";
import type { RegistryCall, RegistryClient } from "../../remote/registry-client.ts";
import type { BuildClient, CachePlace, ClientContent } from "../build-service.ts";

/** One cache, wherever it is. */
export interface CacheStore {
  /** As progress names it. */
  readonly shown: string;
  /** The manifest or index, checked where its digest is known. @throws not-found */
  readManifest(): Promise<Uint8Array>;
  /** The manifest of a digest that an index names. */
  readDocument(digest: Digest): Promise<Uint8Array>;
  /** Brings a blob here, checked. @throws not-found, data-loss */
  fetch(descriptor: Descriptor): Promise<BlobInfo>;
  /** Sends a blob unless it is there. */
  push(descriptor: Descriptor, open: (offset: number) => ReadableStream<Uint8Array>): Promise<void>;
  /** Sends the manifest, last. */
  pushManifest(document: { readonly mediaType: string; readonly bytes: Uint8Array }): Promise<void>;
}

/** What stores work with. */
export interface CacheStoreOptions {
  readonly registry: RegistryClient;
  readonly content: ContentStore;
  readonly client: BuildClient;
  readonly signal: AbortSignal;
}

/**
 * Opens the place that a client names.
 *
 * @param role whether it is read from or written to
 * @throws invalid-argument for a place without a name, not-found for a client without such a folder
 */
export async function openCacheStore(
  options: CacheStoreOptions,
  place: CachePlace,
  role: "from" | "to",
): Promise<CacheStore> {
  if (place.type === "local") return openClientStore(options, { place, role });
  const text = place.attributes["ref"] ?? "";
  if (text === "") throw new EngineError("invalid-argument", `${place.type} cache requires ref`);
  return await openRegistryStore(options, withDefaultTag(parseReference(text)));
}

/** A repository, under one tag of it. */
async function openRegistryStore(
  options: CacheStoreOptions,
  reference: Reference,
): Promise<CacheStore> {
  const { registry, content, client, signal } = options;
  const credentials = await client.credentials(reference.domain);
  const call: RegistryCall = { signal, ...(credentials === undefined ? {} : { credentials }) };
  const { tag: _, ...repository } = reference;
  return {
    shown: formatReference(reference),
    readManifest: async () => (await registry.fetchManifest(reference, call)).bytes,
    readDocument: async (digest) =>
      (await registry.fetchManifest({ ...repository, digest }, call)).bytes,
    fetch: async (descriptor) =>
      await registry.fetchBlob(reference, { ...call, descriptor, content }),
    push: async (descriptor, open) =>
      await registry.pushBlob(reference, { ...call, descriptor, open }),
    pushManifest: async ({ mediaType, bytes }) => {
      const stored = await registry.pushManifest(reference, { ...call, mediaType, bytes });
      if (stored === digestOf(bytes)) return;
      throw new EngineError("data-loss", `the registry stored the cache manifest as ${stored}`);
    },
  };
}

function openClientStore(
  options: CacheStoreOptions,
  { place, role }: { readonly place: CachePlace; readonly role: "from" | "to" },
): CacheStore {
  const { attributes } = place;
  const path = attributes[role === "from" ? "src" : "dest"] ?? "";
  if (path === "") {
    const message = `local cache ${role === "from" ? "importer requires src" : "exporter requires dest"}`;
    throw new EngineError("invalid-argument", message);
  }
  const store = options.client.contentStore?.(`local:${path}`);
  if (store === undefined) {
    throw new EngineError("not-found", `the client has no cache folder ${path}`);
  }
  const readDocument = async (digest: Digest): Promise<Uint8Array> => {
    const limit = { sizeMaxBytes: manifestSizeMaxBytes, what: "cache manifest" };
    const bytes = await readAll(store.open(digest), limit);
    verifyBytes(bytes, { digest });
    return bytes;
  };
  return {
    shown: `local:${path}`,
    readManifest: async () => {
      const digest = attributes["digest"] ?? "";
      if (digest !== "") return await readDocument(parseDigest(digest));
      throw new EngineError("invalid-argument", `local cache importer requires digest`);
    },
    readDocument,
    fetch: async (descriptor) => await fetchFromClient(options.content, store, descriptor),
    push: async (descriptor, open) => await store.put(descriptor, open),
    pushManifest: async ({ mediaType, bytes }) => {
      const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
      await store.put(descriptor, (offset) => new Blob([bytes.slice(offset)]).stream());
    },
  };
}

/** Brings a blob of a client's folder here, checked. @throws not-found, data-loss */
export async function fetchFromClient(
  content: ContentStore,
  store: Pick<ClientContent, "open">,
  descriptor: Pick<Descriptor, "digest" | "size">,
): Promise<BlobInfo> {
  const { digest, size } = descriptor;
  const known = content.find(digest);
  if (known !== undefined) return known;
  await using ingest = await content.ingest({
    ref: `client-${createId().slice(0, 16)}`,
    expected: digest,
    sizeMaxBytes: size,
  });
  const expected = { sizeBytes: size, what: `blob ${digest} of the client` };
  for await (const chunk of exactSize(store.open(digest), expected)) await ingest.write(chunk);
  return await ingest.commit({ durable: false });
}
