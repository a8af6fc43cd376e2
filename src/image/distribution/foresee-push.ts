/** What a push would give a registry, known before it: so that it can be signed. */
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeManifest } from "../../oci/manifest.ts";
import { findReference, formatReference, withDefaultTag } from "../../oci/reference.ts";
import type { ImageContext } from "../context.ts";
import { holdBound, holdImage } from "../hold-image.ts";
import type { ForeseenPush } from "../image-service.ts";
import { packLayer } from "./pack-layer.ts";
import {
  type ImagePush,
  isForeign,
  packedDescriptor,
  packedType,
  planPush,
  storedLayer,
} from "./plan-push.ts";

/** How far it is looked ahead. */
export interface ForeseeOptions {
  /** Packs layers that were not packed yet; else what they make is not known. */
  readonly packs: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Plans the push of a tag without any registry.
 *
 * @returns undefined for what is no tag that is here
 * @throws canceled; data-loss when the files of a layer are gone
 */
export async function foreseePush(
  context: ImageContext,
  { reference, ...options }: ForeseeOptions & { readonly reference: string },
): Promise<ForeseenPush | undefined> {
  const { index } = context;
  const named = findReference(reference);
  if (named === undefined || named.digest !== undefined) return undefined;
  const name = formatReference(withDefaultTag(named));
  const bound = index.findName(name);
  if (bound === undefined) return undefined;
  const { id } = await index.resolve(name);
  const record = index.getById(id);
  const { target } = bound;
  return await context.making(async (leaseId) => {
    holdImage(context, { record, leaseId });
    holdBound(context, { bound, leaseId });
    const plan = await planPush(context, {
      record,
      domain: named.domain,
      ...(target === undefined ? {} : { target }),
    });
    const isMadeAnew = plan.images.some((image) => image.bytes === undefined);
    const digests: Digest[] = [];
    for (const image of plan.images) {
      const bytes = image.bytes ?? (await foreseeManifest(context, { ...options, image, leaseId }));
      if (bytes === undefined) return { isMadeAnew };
      digests.push(digestOf(bytes));
    }
    if (plan.index !== undefined) digests.push(digestOf(plan.index.bytes));
    return { isMadeAnew, digests };
  });
}

/** As `pushImage` makes it; undefined when it is not known how a layer is packed. */
async function foreseeManifest(
  context: ImageContext,
  options: ForeseeOptions & { readonly image: ImagePush; readonly leaseId: string },
): Promise<Uint8Array | undefined> {
  const { image, packs, leaseId, signal = new AbortController().signal } = options;
  const { manifest, record } = image;
  const layers = [...manifest.layers];
  for (const [at, descriptor] of manifest.layers.entries()) {
    const layer = record.layers[at];
    if (layer === undefined || isForeign(descriptor)) continue;
    if (storedLayer(context, descriptor) !== undefined) continue;
    const mediaType = packedType(manifest);
    const packed =
      context.distribution.findPacked(layer.diffId) ??
      (packs ? await packLayer(context, { layer, mediaType, leaseId, signal }) : undefined);
    if (packed === undefined) return undefined;
    layers[at] = packedDescriptor(manifest, { descriptor, packed });
  }
  return encodeManifest({ ...manifest, layers });
}
