/** Makes an image of another one and of changes to its files: what `commit` ends with. */
import { blobHolder } from "../hold-image.ts";
import { createId } from "../../lib/id.ts";
import { formatTime, nowNs } from "../../lib/time.ts";
import { chainId, type Digest } from "../../oci/digest.ts";
import type { ImageConfig, ImageHistory } from "../../oci/image-config.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { openDiff } from "../../snapshot/diff/diff-client.ts";
import { openDiffHasher } from "../../snapshot/diff/diff-hasher.ts";
import { holdLayers } from "../hold-image.ts";
import { createImage } from "./create-image.ts";
import type { LayerRecord } from "../image-records.ts";
import type { CommitDraft, CreatedImage } from "../image-service.ts";
import type { ImageContext } from "../context.ts";
import { layerRecord, type PlannedLayer, unpackStored } from "../store-image.ts";

/** The digest of an archive without entries: such a layer is none. */
const emptyTarBytes = 1024;

/** @see ImageService.commit */
export async function commitImage(
  context: ImageContext,
  draft: CommitDraft,
): Promise<CreatedImage> {
  const base = draft.baseId === undefined ? undefined : context.index.find(draft.baseId);
  const baseConfig = base === undefined ? scratchConfig : context.index.config(base);
  const created = await context.making(async (leaseId) => {
    const below = base?.layers ?? [];
    holdLayers(context, { layers: below, leaseId });
    const layer = await storeChanges(context, { draft, below, leaseId });
    return await createImage(context, {
      config: configOf({ draft, base: baseConfig, diffId: layer?.diffId }),
      layers: layer === undefined ? below : [...below, layer],
      names: draft.name === undefined ? [] : [draft.name],
      ...(base === undefined ? {} : { parentId: base.id }),
      ...(draft.signal === undefined ? {} : { signal: draft.signal }),
    });
  });
  // The archive that the layer was unpacked from is needed no more.
  await context.collect();
  return created;
}

const scratchConfig: ImageConfig = {
  architecture: "",
  os: "linux",
  rootfs: { type: "layers", diff_ids: [] },
};

/** Makes a layer of the changes and unpacks it; undefined when there are none. */
async function storeChanges(
  context: ImageContext,
  commit: {
    readonly draft: CommitDraft;
    readonly below: readonly LayerRecord[];
    readonly leaseId: string;
  },
): Promise<LayerRecord | undefined> {
  const { content, leases } = context;
  const { draft, below, leaseId } = commit;
  const { signal } = draft;
  const how = signal === undefined ? {} : { signal };
  await using ingest = await content.ingest({ ref: `commit-${createId().slice(0, 16)}` });
  for await (const chunk of openDiff(draft.changes, how)) await ingest.write(chunk);
  await draft.onRead?.();
  if (ingest.sizeBytes === emptyTarBytes) return undefined;
  const blob = await ingest.commit({
    durable: false,
    hold: blobHolder(context, leaseId),
  });
  const { digest, sizeBytes: size } = blob;
  const parent = below.at(-1)?.chainId;
  const layer: PlannedLayer = {
    descriptor: { mediaType: ociMediaTypes.layer, digest, size },
    digest,
    diffId: digest,
    chainId: chainId([...below.map((one) => one.diffId), digest]),
    ...(parent === undefined ? {} : { parent }),
  };
  leases.add(leaseId, `snapshot:${layer.chainId}`);
  const record = layerRecord(layer, await unpackStored(context, { layer, ...how }));
  return (await canBeMade(context, record, how)) ? { ...record, fromSnapshot: {} } : record;
}

/** Tells whether the unpacked layer gives back the bytes it was unpacked from. */
async function canBeMade(
  context: ImageContext,
  record: LayerRecord,
  how: { readonly signal?: AbortSignal },
): Promise<boolean> {
  const made = await hashSnapshot(context, record, how);
  if (made === record.diffId) return true;
  context.logger.warn("a committed layer is kept as a blob: its snapshot makes other bytes", {
    diffId: record.diffId,
  });
  return false;
}

async function hashSnapshot(
  { snapshots, hasher }: ImageContext,
  { chainId: key }: LayerRecord,
  how: { readonly signal?: AbortSignal },
): Promise<Digest> {
  const request = snapshots.layersOf(key);
  if (hasher !== undefined) return (await hasher.hash(request, how)).diffId;
  await using own = openDiffHasher();
  return (await own.hash(request, how)).diffId;
}

function configOf(image: {
  readonly draft: CommitDraft;
  readonly base: ImageConfig;
  readonly diffId: Digest | undefined;
}): ImageConfig {
  const { draft, base, diffId } = image;
  const created = formatTime(nowNs());
  const history: ImageHistory = {
    created,
    ...(draft.author === "" ? {} : { author: draft.author }),
    ...(draft.createdBy === "" ? {} : { created_by: draft.createdBy }),
    ...(draft.comment === "" ? {} : { comment: draft.comment }),
    ...(diffId === undefined ? { empty_layer: true } : {}),
  };
  const { author: _author, comment: _comment, parent: _parent, ...inherited } = base;
  return {
    ...inherited,
    architecture: base.architecture,
    created,
    ...(draft.author === "" ? {} : { author: draft.author }),
    ...(draft.comment === "" ? {} : { comment: draft.comment }),
    config: draft.run,
    container: draft.containerId,
    container_config: draft.containerConfig,
    rootfs: {
      type: "layers",
      diff_ids: [...base.rootfs.diff_ids, ...(diffId === undefined ? [] : [diffId])],
    },
    history: [...(base.history ?? []), history],
  };
}
