import type { Digest } from "../oci/digest.ts";
import type { ImageContext } from "./context.ts";
import { imagesOf } from "./bound-names.ts";
import type { ImageRecord, LayerRecord, NameRecord } from "./image-records.ts";

/** Keeps all that an image is made of, should it be removed meanwhile. */
export function holdImage(
  context: Pick<ImageContext, "leases">,
  { record, leaseId }: { readonly record: ImageRecord; readonly leaseId: string },
): void {
  const hold = blobHolder(context, leaseId);
  for (const digest of [record.id, record.manifestDigest]) hold(digest);
  holdLayers(context, { layers: record.layers, leaseId });
}

/** Keeps all that a name stands for: its images, their index and what else that names. */
export function holdBound(
  context: Pick<ImageContext, "leases" | "index">,
  { bound, leaseId }: { readonly bound: NameRecord; readonly leaseId: string },
): void {
  const { index } = context;
  const hold = blobHolder(context, leaseId);
  for (const id of imagesOf(bound)) {
    const record = index.findById(id);
    if (record !== undefined) holdImage(context, { record, leaseId });
  }
  const { target, attachments = [] } = bound;
  for (const digest of [...(target === undefined ? [] : [target.digest]), ...attachments])
    hold(digest);
}

/** Keeps blobs: what ingests are committed with. */
export function blobHolder(
  { leases }: Pick<ImageContext, "leases">,
  leaseId: string,
): (digest: Digest) => void {
  return (digest) => leases.add(leaseId, `content:${digest}`);
}

/** Keeps the blobs and the snapshots of layers. */
export function holdLayers(
  { leases }: Pick<ImageContext, "leases">,
  {
    layers,
    leaseId,
  }: {
    readonly layers: readonly Pick<LayerRecord, "digest" | "chainId">[];
    readonly leaseId: string;
  },
): void {
  for (const { digest, chainId } of layers) {
    leases.add(leaseId, `content:${digest}`);
    leases.add(leaseId, `snapshot:${chainId}`);
  }
}
