/** The signatures of images as users see them: what can be signed, what is, and a new one. */
import type { ImageSignatures } from "../../api/image.ts";
import { EngineError } from "../../lib/errors.ts";
import type { ContentStore } from "../../content/content-store.ts";
import type { Digest } from "../../oci/digest.ts";
import { decodeManifestOrIndex, isIndex, manifestSizeMaxBytes } from "../../oci/manifest.ts";
import {
  familiarName,
  findReference,
  parseReference,
  type Reference,
  referenceName,
} from "../../oci/reference.ts";
import { decodePayload, type ImageSignature } from "../../oci/simple-signing.ts";
import type { Credentials } from "../../remote/registry-client.ts";
import type { ImageService } from "../image-service.ts";
import type { SignatureStore } from "./signatures.ts";

/** Signatures by image. */
export interface TrustService {
  /**
   * What is kept here, and what registries have beside the image.
   *
   * @param options.packs packs layers where that is needed to know what a push will make
   * @throws not-found (the image); unavailable when a registry cannot be asked
   */
  signatures(
    reference: string,
    options: TrustCall & { readonly packs: boolean },
  ): Promise<ImageSignatures>;
  /**
   * Keeps a signature, and stores it beside the image in the registry that has it.
   *
   * @throws invalid-argument when the document names another image
   */
  addSignature(
    reference: string,
    options: TrustCall & { readonly signature: ImageSignature },
  ): Promise<void>;
}

/** On whose behalf a registry is asked. */
export interface TrustCall {
  readonly credentials?: Credentials;
  readonly signal?: AbortSignal;
}

/** A manifest of an image, and the repositories that have it. */
interface SignedManifest {
  readonly digest: Digest;
  readonly repositories: readonly Reference[];
  readonly use?: "push" | "here" | "listed";
}

/** Makes the service. */
export function createTrustService(options: {
  readonly images: Pick<ImageService, "resolve" | "inspect" | "foreseePush">;
  readonly signatures: SignatureStore;
  readonly content: Pick<ContentStore, "find" | "read">;
}): TrustService {
  const { images, signatures, content } = options;
  const manifestsOf = async (
    reference: string,
    call: { readonly packs: boolean; readonly signal?: AbortSignal },
  ): Promise<readonly SignedManifest[]> => {
    const { manifestDigest } = await images.resolve(reference);
    const { RepoDigests } = await images.inspect(reference);
    const repositories = new Map<Digest, Reference[]>();
    if (manifestDigest !== undefined) repositories.set(manifestDigest, []);
    for (const name of RepoDigests ?? []) {
      const known = findReference(name);
      if (known?.digest === undefined) continue;
      repositories.set(known.digest, [...(repositories.get(known.digest) ?? []), known]);
    }
    const listed = new Set<Digest>();
    for (const [digest, names] of [...repositories]) {
      for (const part of await partsOf(content, digest)) {
        if (!repositories.has(part)) listed.add(part);
        repositories.set(part, [...new Set([...(repositories.get(part) ?? []), ...names])]);
      }
    }
    const named = findReference(reference);
    const isPushed =
      named !== undefined &&
      [...repositories.values()]
        .flat()
        .some((each) => referenceName(each) === referenceName(named));
    const { signal } = call;
    const foreseen = await images.foreseePush(reference, {
      packs: call.packs && !isPushed,
      ...(signal === undefined ? {} : { signal }),
    });
    const next = new Set(isPushed ? [] : foreseen?.digests);
    for (const digest of next) repositories.set(digest, repositories.get(digest) ?? []);
    return [...repositories].map(([digest, names]) => {
      const manifest = { digest, repositories: names };
      if (listed.has(digest)) return { ...manifest, use: "listed" };
      if (next.has(digest)) return { ...manifest, use: "push" };
      const staysHere = digest === manifestDigest && foreseen?.isMadeAnew === true;
      return staysHere ? { ...manifest, use: "here" } : manifest;
    });
  };
  return {
    async signatures(reference, { packs, ...call }) {
      const manifests = await manifestsOf(reference, { ...call, packs });
      for (const { digest, repositories } of manifests) {
        for (const repository of repositories) {
          await signatures.fetch(repository, { ...call, digest });
        }
      }
      return {
        Manifests: manifests.map(({ digest, repositories, use }) => ({
          Digest: digest,
          Repositories: repositories.map(familiarName),
          ...(use === undefined ? {} : { Use: use }),
        })),
        Signatures: manifests.flatMap(({ digest }) =>
          signatures.list(digest).map(({ payload, signature }) => ({
            Digest: digest,
            Payload: Buffer.from(payload).toString("base64"),
            Signature: signature,
          })),
        ),
      };
    },
    async addSignature(reference, { signature, ...call }) {
      const signed = decodePayload(signature.payload);
      const manifests = await manifestsOf(reference, { ...call, packs: false });
      const manifest = manifests.find(({ digest }) => digest === signed.manifestDigest);
      if (manifest === undefined) {
        throw new EngineError(
          "invalid-argument",
          `sign ${reference}: the document names ${signed.manifestDigest}, the image has ${manifests.map(({ digest }) => digest).join(", ")}`,
        );
      }
      const name = referenceName(parseReference(signed.reference));
      signatures.add(manifest.digest, [signature]);
      for (const repository of manifest.repositories) {
        if (referenceName(repository) !== name) continue;
        await signatures.push(repository, { ...call, digest: manifest.digest });
      }
    },
  };
}

/** The manifests that an index names; none of what is no index, or not here. */
async function partsOf(
  content: Pick<ContentStore, "find" | "read">,
  digest: Digest,
): Promise<readonly Digest[]> {
  if (content.find(digest) === undefined) return [];
  const document = decodeManifestOrIndex(
    await content.read(digest, { sizeMaxBytes: manifestSizeMaxBytes }),
  );
  return isIndex(document) ? document.manifests.map((part) => part.digest) : [];
}
