/** A registry in memory, as a client sees it: for tests of pulls and pushes. */
import { ingestRefOf } from "../../content/content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeImageConfig, type ImageConfig } from "../../oci/image-config.ts";
import { encodeIndex, encodeManifest } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import type { Platform } from "../../oci/platform.ts";
import { familiarString, parseReference, type Reference } from "../../oci/reference.ts";
import type { RegistryClient } from "../../remote/registry-client.ts";

/** One repository. */
interface Repository {
  readonly blobs: Map<string, Uint8Array>;
  readonly manifests: Map<string, { readonly mediaType: string; readonly bytes: Uint8Array }>;
  readonly tags: Map<string, Digest>;
}

/** What a test makes an image of. */
export interface ImageRecipe {
  readonly layers: readonly Uint8Array[];
  readonly diffIds: readonly Digest[];
  readonly config?: Partial<ImageConfig>;
  /** Changes of the manifest, which may lie. */
  readonly manifest?: object;
  readonly layerType?: string;
}

/** A registry, and what was asked of it. */
export interface MemoryRegistry extends RegistryClient {
  readonly requests: string[];
  /** Called before a blob is given out; a test may wait or throw in it. */
  onBlob: (digest: Digest, signal: AbortSignal | undefined) => Promise<void> | void;
  /** Bytes given out instead of the right ones. */
  readonly lies: Map<string, Uint8Array>;
  putImage(repository: string, image: ImageRecipe): Descriptor;
  putIndex(
    repository: string,
    entries: readonly { readonly image: Descriptor; readonly platform?: Platform }[],
  ): Descriptor;
  putDocument(repository: string, mediaType: string, bytes: Uint8Array): Descriptor;
  putTag(name: string, digest: Digest): void;
  repository(name: string): Repository;
}

/** Makes an empty registry. Whatever the name's host, it is this one. */
export function makeMemoryRegistry(): MemoryRegistry {
  const repositories = new Map<string, Repository>();
  const requests: string[] = [];
  const transfers = new KeyedMutex();
  const of = (path: string): Repository => {
    const found = repositories.get(path) ?? {
      blobs: new Map(),
      manifests: new Map(),
      tags: new Map(),
    };
    repositories.set(path, found);
    return found;
  };
  const putDocument = (name: string, mediaType: string, bytes: Uint8Array): Descriptor => {
    const digest = digestOf(bytes);
    of(parseReference(name).path).manifests.set(digest, { mediaType, bytes });
    return { mediaType, digest, size: bytes.length };
  };
  const registry: MemoryRegistry = {
    requests,
    onBlob: () => undefined,
    lies: new Map(),
    repository: (name) => of(parseReference(name).path),
    putDocument,
    putImage(name, image) {
      const { blobs } = of(parseReference(name).path);
      const put = (bytes: Uint8Array, mediaType: string): Descriptor => {
        const digest = digestOf(bytes);
        blobs.set(digest, bytes);
        return { mediaType, digest, size: bytes.length };
      };
      const config = encodeImageConfig({
        architecture: "amd64",
        os: "linux",
        rootfs: { type: "layers", diff_ids: image.diffIds },
        ...image.config,
      });
      const layerType = image.layerType ?? ociMediaTypes.layerGzip;
      const manifest = encodeManifest({
        schemaVersion: 2,
        mediaType: ociMediaTypes.manifest,
        config: put(config, ociMediaTypes.config),
        layers: image.layers.map((bytes) => put(bytes, layerType)),
        ...image.manifest,
      });
      return putDocument(name, ociMediaTypes.manifest, manifest);
    },
    putIndex(name, entries) {
      const manifests = entries.map(({ image, platform }) => ({
        ...image,
        ...(platform === undefined ? {} : { platform }),
      }));
      const { index } = ociMediaTypes;
      const bytes = encodeIndex({ schemaVersion: 2, mediaType: index, manifests });
      return putDocument(name, index, bytes);
    },
    putTag(name, digest) {
      const { path, tag = "latest" } = parseReference(name);
      of(path).tags.set(tag, digest);
    },
    ...client(),
  };
  return registry;

  function find(reference: Reference): { readonly mediaType: string; readonly bytes: Uint8Array } {
    const { tags, manifests } = of(reference.path);
    const digest = reference.digest ?? tags.get(reference.tag ?? "latest");
    const found = digest === undefined ? undefined : manifests.get(digest);
    if (found !== undefined) return found;
    throw new EngineError(
      "not-found",
      `manifest for ${familiarString(reference)} not found: manifest unknown: manifest unknown`,
    );
  }

  function client(): RegistryClient {
    const say = (what: string, reference: Reference, more = ""): void =>
      void requests.push(`${what} ${reference.path}${more === "" ? "" : ` ${more}`}`);
    return {
      configure: () => undefined,
      resolve: async (reference) => {
        const { mediaType, bytes } = find(reference);
        return await Promise.resolve({ mediaType, digest: digestOf(bytes), size: bytes.length });
      },
      fetchManifest: async (reference, { credentials }) => {
        say("manifest", reference);
        if (credentials?.password === "wrong") {
          throw new EngineError("unauthorized", "unauthorized: authentication required");
        }
        const { mediaType, bytes } = find(reference);
        const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
        return await Promise.resolve({ descriptor, bytes });
      },
      findBlobSize: async (reference, { digest }) =>
        await Promise.resolve(of(reference.path).blobs.get(digest)?.length),
      async fetchBlob(reference, { descriptor, content, progress, signal }) {
        const { digest } = descriptor;
        // One at a time: the second finds what the first has brought.
        return await transfers.run(digest, async () => {
          const present = content.find(digest);
          if (present !== undefined) return present;
          const bytes = registry.lies.get(digest) ?? of(reference.path).blobs.get(digest);
          if (bytes === undefined) {
            say("fetch", reference, digest);
            throw new EngineError("not-found", "blob unknown");
          }
          const totalBytes = bytes.length;
          progress?.({ kind: "waiting", currentBytes: 0, totalBytes });
          const ingest = await content.ingest({
            ref: ingestRefOf(digest),
            expected: digest,
            resume: true,
          });
          if (ingest.sizeBytes < totalBytes) say("fetch", reference, digest);
          try {
            for (let at = ingest.sizeBytes; at < totalBytes; at = ingest.sizeBytes) {
              await ingest.write(bytes.subarray(at, at + Math.max(100, totalBytes >> 5)));
              const currentBytes = ingest.sizeBytes;
              progress?.({ kind: "transferring", currentBytes, totalBytes });
              await registry.onBlob(digest, signal);
              if (signal?.aborted) throw new EngineError("canceled", "fetch canceled");
            }
            const blob = await ingest.commit();
            progress?.({ kind: "done", currentBytes: totalBytes, totalBytes });
            return blob;
          } finally {
            await ingest.suspend();
          }
        });
      },
      async pushBlob(reference, { descriptor, open, mountFrom, progress }) {
        const { blobs } = of(reference.path);
        const { digest, size } = descriptor;
        const state = { currentBytes: size, totalBytes: size };
        if (blobs.has(digest)) {
          progress?.({ kind: "exists", ...state });
          return;
        }
        const from = mountFrom?.find((path) => of(path).blobs.has(digest));
        const mounted = from === undefined ? undefined : of(from).blobs.get(digest);
        if (from !== undefined && mounted !== undefined) {
          blobs.set(digest, mounted);
          progress?.({ kind: "mounted", from, ...state });
          return;
        }
        say("push", reference, digest);
        const bytes = Buffer.concat(await Array.fromAsync(open(0)));
        progress?.({ kind: "transferring", ...state });
        if (digestOf(bytes) !== digest) throw new EngineError("invalid-argument", "digest invalid");
        blobs.set(digest, bytes);
        progress?.({ kind: "done", ...state });
      },
      pushManifest: async (reference, { mediaType, bytes }) => {
        say("push manifest", reference);
        const { digest } = putDocument(familiarString(reference), mediaType, bytes);
        if (reference.tag !== undefined) of(reference.path).tags.set(reference.tag, digest);
        return await Promise.resolve(digest);
      },
      listTags: async (reference) => await Promise.resolve([...of(reference.path).tags.keys()]),
      listReferrers: async () => await Promise.resolve([]),
      search: async () =>
        await Promise.resolve([
          { name: "a", description: "A", starCount: 5, isOfficial: true, isAutomated: false },
          { name: "b", description: "B", starCount: 1, isOfficial: false, isAutomated: false },
        ]),
      login: async (host, { credentials }) => {
        requests.push(`login ${host} ${credentials?.username}`);
        return await Promise.resolve({});
      },
      [Symbol.asyncDispose]: async () => await Promise.resolve(),
    };
  }
}
