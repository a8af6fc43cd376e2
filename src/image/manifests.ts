/** Manifests in registries, as they are: for those who make indexes and look at tags by hand. */
import type { Digest } from "../oci/digest.ts";
import { decodeManifestOrIndex, isIndex } from "../oci/manifest.ts";
import { type Reference, parseReference, referenceName, withDefaultTag } from "../oci/reference.ts";
import type { FetchedManifest, RegistryCall, RegistryClient } from "../remote/registry-client.ts";

/** What registries have. Nothing of it is kept here. */
export interface ManifestService {
  /** In the registry's order. @throws not-found */
  listTags(name: string, call: RegistryCall): Promise<readonly string[]>;
  /** @throws not-found */
  get(name: string, call: RegistryCall): Promise<FetchedManifest>;
  /**
   * Stores a manifest or an index under a tag, or by its digest when the name has none.
   *
   * @throws invalid-argument for bytes that are neither; not-found when an index names a manifest
   * that the repository does not have
   */
  put(
    name: string,
    options: RegistryCall & { readonly mediaType: string; readonly bytes: Uint8Array },
  ): Promise<Digest>;
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
      if (isIndex(document)) await requireManifests(registries, { reference, document, options });
      return await registries.pushManifest(reference, options);
    },
  };
}

/** A registry may take an index whose manifests it does not have; nobody could pull it. */
async function requireManifests(
  registries: RegistryClient,
  given: {
    readonly reference: Reference;
    readonly document: { readonly manifests: readonly { readonly digest: Digest }[] };
    readonly options: RegistryCall;
  },
): Promise<void> {
  const { reference, document, options } = given;
  for (const { digest } of document.manifests) {
    await registries.resolve(parseReference(`${referenceName(reference)}@${digest}`), options);
  }
}
