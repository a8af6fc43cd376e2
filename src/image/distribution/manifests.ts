/** Manifests in registries, as they are: for those who make indexes and look at tags by hand. */
import { EngineError, isKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { decodeManifestOrIndex, type Index, isIndex } from "../../oci/manifest.ts";
import {
  familiarName,
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
  withDigest,
} from "../../oci/reference.ts";
import type {
  FetchedManifest,
  RegistryCall,
  RegistryClient,
} from "../../remote/registry-client.ts";
import { isForeign } from "./plan-push.ts";

/** What registries have. Nothing of it is kept here. */
export interface ManifestService {
  /** In the registry's order. @throws not-found */
  listTags(name: string, call: RegistryCall): Promise<readonly string[]>;
  /** @throws not-found */
  get(name: string, call: RegistryCall): Promise<FetchedManifest>;
  /**
   * Stores a manifest or an index under a tag, or by its digest when the name has none. What an
   * index names and the repository has not is brought there first, from where `sources` have it:
   * blobs by mounts alone, no byte passes here.
   *
   * @throws invalid-argument for bytes that are neither, and for sources of another registry;
   * not-found when an index names a manifest that neither the repository nor a source has;
   * not-implemented when the registry mounts no blobs
   */
  put(name: string, options: PutManifestOptions): Promise<Digest>;
}

/** What is stored. */
export interface PutManifestOptions extends RegistryCall {
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  /** Names of repositories of the same registry. */
  readonly sources?: readonly string[];
}

/** Makes the service. */
export function createManifestService(registries: RegistryClient): ManifestService {
  const target = (name: string): Reference => withDefaultTag(parseReference(name));
  return {
    listTags: async (name, call) => await registries.listTags(parseReference(name), call),
    get: async (name, call) => await registries.fetchManifest(target(name), call),
    async put(name, options) {
      const document = decodeManifestOrIndex(options.bytes);
      const reference = target(name);
      const sources = (options.sources ?? []).map(parseReference);
      for (const source of sources) requireSameRegistry(source, reference);
      if (isIndex(document)) {
        await bringManifests(registries, { reference, document, sources, call: callOf(options) });
      }
      return await registries.pushManifest(reference, options);
    },
  };
}

function callOf({ credentials, signal }: RegistryCall): RegistryCall {
  return {
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function requireSameRegistry(source: Reference, target: Reference): void {
  if (source.domain === target.domain) return;
  // Docker's sentence, of its command line.
  throw new EngineError(
    "invalid-argument",
    `cannot use source images from a different registry than the target image: ${source.domain} != ${target.domain}`,
  );
}

/** A registry may take an index whose manifests it does not have; nobody could pull it. */
async function bringManifests(
  registries: RegistryClient,
  given: {
    readonly reference: Reference;
    readonly document: Index;
    readonly sources: readonly Reference[];
    readonly call: RegistryCall;
  },
): Promise<void> {
  const { reference, document, sources, call } = given;
  for (const { digest } of document.manifests) {
    const there = withDigest(reference, digest);
    try {
      await registries.resolve(there, call);
    } catch (error) {
      if (!isKind(error, "not-found")) throw error;
      const found = await findIn(registries, { sources, digest, call });
      if (found === undefined) throw error;
      await bring(registries, { ...found, there, call });
    }
  }
}

interface Found {
  readonly source: Reference;
  readonly fetched: FetchedManifest;
}

async function findIn(
  registries: RegistryClient,
  given: {
    readonly sources: readonly Reference[];
    readonly digest: Digest;
    readonly call: RegistryCall;
  },
): Promise<Found | undefined> {
  const { sources, digest, call } = given;
  // Names of one repository are asked for once.
  const repositories = new Map(sources.map((source) => [source.path, source]));
  for (const source of repositories.values()) {
    try {
      const fetched = await registries.fetchManifest(withDigest(source, digest), call);
      return { source, fetched };
    } catch (error) {
      if (!isKind(error, "not-found")) throw error;
    }
  }
  return undefined;
}

/** Brings one manifest, with what it names, from another repository of the registry. */
async function bring(
  registries: RegistryClient,
  { source, fetched, there, call }: Found & { there: Reference; call: RegistryCall },
): Promise<void> {
  const document = decodeManifestOrIndex(fetched.bytes);
  if (isIndex(document)) {
    throw new EngineError(
      "invalid-argument",
      `${familiarString(withDigest(source, fetched.descriptor.digest))} is a manifest list`,
    );
  }
  const blobs = [document.config, ...document.layers.filter((layer) => !isForeign(layer))];
  for (const descriptor of blobs) {
    await registries.pushBlob(there, {
      ...call,
      descriptor,
      mountFrom: [source.path],
      open: () => {
        throw new EngineError(
          "not-implemented",
          `mount blob ${descriptor.digest} of ${familiarName(source)} into ${familiarName(there)}: the registry did not`,
        );
      },
    });
  }
  const { mediaType } = fetched.descriptor;
  await registries.pushManifest(there, { ...call, mediaType, bytes: fetched.bytes });
}
