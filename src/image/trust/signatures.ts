/** Signatures of images: those that are kept here, and those that registries have. */
import { EngineError, isKind } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Metadata, Table } from "../../metadata/metadata.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { decodeManifest, encodeManifest, type Manifest } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { type Reference, withTag } from "../../oci/reference.ts";
import {
  decodePayload,
  type ImageSignature,
  payloadSizeMaxBytes,
  signatureAnnotation,
  signatureLayers,
  signaturesMax,
  signatureTag,
  simpleSigningType,
} from "../../oci/simple-signing.ts";
import type { ContentStore } from "../../content/content-store.ts";
import type { RegistryCall, RegistryClient } from "../../remote/registry-client.ts";

/** The signatures of one data root. */
export interface SignatureStore {
  list(digest: Digest): readonly ImageSignature[];
  /** Keeps signatures; one that is there already is not kept twice. */
  add(digest: Digest, signatures: readonly ImageSignature[]): void;
  /** Those that a registry has beside an image; kept from now on. */
  fetch(
    reference: Reference,
    call: RegistryCall & { readonly digest: Digest },
  ): Promise<readonly ImageSignature[]>;
  /** Stores what is kept for an image beside it, in its registry. */
  push(reference: Reference, call: RegistryCall & { readonly digest: Digest }): Promise<void>;
}

/** What the store needs. */
export interface SignatureStoreOptions {
  readonly metadata: Metadata;
  readonly content: ContentStore;
  readonly registries: RegistryClient;
  readonly logger: Logger;
}

interface SignatureRecord {
  readonly signatures: readonly { readonly payload: string; readonly signature: string }[];
}

/** Opens the signatures of a data root. */
export function openSignatureStore(options: SignatureStoreOptions): SignatureStore {
  const table: Table<SignatureRecord> = options.metadata.table({
    name: "image-signature",
    decode: decodeRecord,
  });
  const list = (digest: Digest): readonly ImageSignature[] =>
    (table.find(digest)?.signatures ?? []).map(({ payload, signature }) => ({
      payload: Buffer.from(payload, "base64"),
      signature,
    }));
  const joined = (
    digest: Digest,
    signatures: readonly ImageSignature[],
  ): SignatureRecord["signatures"] => {
    const known = table.find(digest)?.signatures ?? [];
    const keys = new Set(known.map(({ signature }) => signature));
    const fresh = signatures.filter(({ signature }) => !keys.has(signature));
    return [
      ...known,
      ...fresh.map(({ payload, signature }) => ({
        payload: Buffer.from(payload).toString("base64"),
        signature,
      })),
    ];
  };
  const keep = (digest: Digest, signatures: SignatureRecord["signatures"]): void => {
    const isNew = signatures.at(-1)?.signature !== table.find(digest)?.signatures.at(-1)?.signature;
    if (isNew) table.put(digest, { signatures });
  };
  const add = (digest: Digest, signatures: readonly ImageSignature[]): void => {
    const all = joined(digest, signatures);
    if (all.length > signaturesMax) {
      throw new EngineError(
        "invalid-argument",
        `sign ${digest}: more than ${signaturesMax} signatures of one image`,
      );
    }
    keep(digest, all);
  };
  return {
    list,
    add,
    async fetch(reference, call) {
      const found = await fetchSignatures(options, { reference, call });
      // One that is for another image is of no use to anybody.
      const own = found.filter(({ payload }) => signedDigest(payload) === call.digest);
      // New ones come last: they are what an image is signed with by now.
      keep(call.digest, joined(call.digest, own).slice(-signaturesMax));
      return own;
    },
    async push(reference, call) {
      const there = await findManifest(options, { reference, call });
      const keys = new Set(signatureLayers(there?.layers ?? []).map(({ signature }) => signature));
      const missing = list(call.digest).filter(({ signature }) => !keys.has(signature));
      if (missing.length === 0) return;
      await pushSignatures(options.registries, {
        reference: withTag(reference, signatureTag(call.digest)),
        call,
        before: there?.layers ?? [],
        signatures: missing,
      });
    },
  };
}

interface At {
  readonly reference: Reference;
  readonly call: RegistryCall & { readonly digest: Digest };
}

/** The manifest that holds an image's signatures in a registry; undefined for none. */
async function findManifest(
  { registries }: SignatureStoreOptions,
  { reference, call }: At,
): Promise<Manifest | undefined> {
  const at = withTag(reference, signatureTag(call.digest));
  try {
    return decodeManifest((await registries.fetchManifest(at, call)).bytes);
  } catch (error) {
    if (isKind(error, "not-found") || isKind(error, "permission-denied")) return undefined;
    throw error;
  }
}

async function fetchSignatures(
  options: SignatureStoreOptions,
  { reference, call }: At,
): Promise<readonly ImageSignature[]> {
  const { registries, content, logger } = options;
  const at = withTag(reference, signatureTag(call.digest));
  const manifest = await findManifest(options, { reference, call });
  const found: ImageSignature[] = [];
  // New ones come last: of too many those are looked at.
  for (const { descriptor, signature } of signatureLayers(manifest?.layers ?? []).slice(
    -signaturesMax,
  )) {
    if (descriptor.size > payloadSizeMaxBytes) {
      logger.warn("a signature's document is too long", { digest: descriptor.digest });
      continue;
    }
    const isNew = content.find(descriptor.digest) === undefined;
    await registries.fetchBlob(at, { ...call, descriptor, content });
    const payload = await content.read(descriptor.digest, { sizeMaxBytes: payloadSizeMaxBytes });
    // What was there before may be an image's.
    if (isNew) await content.remove(descriptor.digest);
    found.push({ payload, signature });
  }
  return found;
}

/** Adds signatures to those that a registry has: others' stay as they are, certificates and all. */
async function pushSignatures(
  registries: RegistryClient,
  {
    reference,
    call,
    before,
    signatures,
  }: At & {
    readonly before: readonly Descriptor[];
    readonly signatures: readonly ImageSignature[];
  },
): Promise<void> {
  const added = signatures.map(({ payload, signature }) => ({
    mediaType: simpleSigningType,
    digest: digestOf(payload),
    size: payload.length,
    annotations: { [signatureAnnotation]: signature },
  }));
  const layers = [...before, ...added];
  const config = Buffer.from(
    JSON.stringify({
      architecture: "",
      config: {},
      os: "",
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: { mediaType: ociMediaTypes.config, digest: digestOf(config), size: config.length },
    layers,
  };
  const bodies = [config, ...signatures.map(({ payload }) => payload)];
  for (const [index, descriptor] of [manifest.config, ...added].entries()) {
    const body = bodies[index] ?? config;
    await registries.pushBlob(reference, {
      ...call,
      descriptor,
      open: (offset) => new Blob([body.slice(offset)]).stream(),
    });
  }
  const bytes = encodeManifest(manifest);
  await registries.pushManifest(reference, { ...call, mediaType: manifest.mediaType, bytes });
}

/** What a document says it was signed for; undefined when it says nothing. */
function signedDigest(payload: Uint8Array): Digest | undefined {
  try {
    return decodePayload(payload).manifestDigest;
  } catch (error) {
    if (isKind(error, "invalid-argument")) return undefined;
    throw error;
  }
}

function decodeRecord(document: unknown): SignatureRecord {
  const { signatures } = (document ?? {}) as Partial<SignatureRecord>;
  const isWhole =
    Array.isArray(signatures) &&
    signatures.every(
      (each) => typeof each?.payload === "string" && typeof each.signature === "string",
    );
  if (!isWhole)
    throw new EngineError("data-loss", "the record of an image's signatures is not one");
  return document as SignatureRecord;
}
