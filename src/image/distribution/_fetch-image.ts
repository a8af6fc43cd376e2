/**
 * Brings the blobs of one image and unpacks its layers, bottom first, while those above still come.
 */
import { codeOf, EngineError, isKind } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestHex } from "../../oci/digest.ts";
import {
  decodeImageConfig,
  type ImageConfig,
  imageConfigMaxBytes,
  imagePlatform,
} from "../../oci/image-config.ts";
import type { Reference } from "../../oci/reference.ts";
import type { RegistryCall, RegistryClient } from "../../remote/registry-client.ts";
import { syncFileSystemAsync } from "../../sys/fs/fs.ts";
import { Downloads, isIntact } from "./_downloads.ts";
import { canFollow, followLayer } from "./_follow-layer.ts";
import type { ChosenManifest } from "./choose-manifest.ts";
import { blobHolder, holdLayers } from "../hold-image.ts";
import type { ImageRecord, LayerRecord } from "../image-records.ts";
import type { Progress } from "../image-service.ts";
import { LayerReport } from "./layer-report.ts";
import type { ImageContext } from "../context.ts";
import {
  imageRecord,
  layerRecord,
  type PlannedLayer,
  planLayers,
  unpackStored,
} from "../store-image.ts";

/** Digits of a layer's ID in progress messages. */
const shownIdLength = 12;

/** What to fetch. */
export interface ImageFetch extends RegistryCall {
  readonly registry: RegistryClient;
  readonly reference: Reference;
  readonly chosen: ChosenManifest;
  readonly progress: Progress;
  readonly leaseId: string;
}

/**
 * Fetches and unpacks an image; what is here already is not fetched again.
 *
 * @returns its record, not yet stored; all that it names is on the disk
 * @throws data-loss for bytes that are not what they were said to be, unavailable for a full disk
 */
export async function fetchImage(context: ImageContext, fetch: ImageFetch): Promise<ImageRecord> {
  const downloads = new Downloads(context, fetch);
  try {
    return await unpackAsFetched(context, { ...fetch, downloads });
  } catch (error) {
    // Transfers that are stopped now fail, too: that is not why.
    const reason = downloads.firstFailure ?? error;
    await downloads.stop();
    throw reason;
  }
}

type Fetching = ImageFetch & { readonly downloads: Downloads };

async function unpackAsFetched(context: ImageContext, fetch: Fetching): Promise<ImageRecord> {
  const { manifest, digest, sizeBytes } = fetch.chosen;
  refuseLargeConfig(manifest.config);
  warmUp(context, fetch);
  await storeDocuments(context, { ...fetch, durable: false });
  const { planned, reports, configSizeBytes } = await startLayers(context, fetch);
  const layers: LayerRecord[] = [];
  for (const [at, layer] of planned.entries()) {
    const report = reports[at];
    const onRead = (current: number): void =>
      report?.bytes("Extracting", { current, total: layer.descriptor.size });
    layers.push(layerRecord(layer, await unpackLayer(context, { ...fetch, layer, onRead })));
    report?.status("Pull complete");
  }
  // One sync for all layers and blobs: from here on the image survives a power cut.
  await syncFileSystemAsync(context.content.root);
  const parts = { manifest, manifestDigest: digest, manifestSizeBytes: sizeBytes };
  return imageRecord(parts, { configSizeBytes, layers });
}

/** A helper takes as long to start as documents and configuration take to come. */
function warmUp({ content, unpacker }: ImageContext, { chosen }: Fetching): void {
  const comes = chosen.manifest.layers.some((it) => canFollow(it) && !content.find(it.digest));
  if (comes) unpacker.warmUp();
}

/** Stores manifest and index, held by the lease; durably unless the caller syncs. */
export async function storeDocuments(
  context: ImageContext,
  fetch: Pick<ImageFetch, "chosen" | "leaseId"> & { readonly durable: boolean },
): Promise<void> {
  const { chosen, leaseId, durable } = fetch;
  const hold = blobHolder(context, leaseId);
  for (const { bytes } of chosen.documents) await context.content.put(bytes, { durable, hold });
}

/**
 * Begins all transfers, and tells of each layer what becomes of it.
 *
 * @returns the layers once the config is here; no report for those that are done already
 */
async function startLayers(
  context: ImageContext,
  fetch: Fetching,
): Promise<{
  readonly planned: readonly PlannedLayer[];
  readonly reports: readonly (LayerReport | undefined)[];
  readonly configSizeBytes: number;
}> {
  const { chosen, downloads, progress } = fetch;
  const { manifest } = chosen;
  const reports = manifest.layers.map(
    (layer) => new LayerReport(digestHex(layer.digest).slice(0, shownIdLength), progress),
  );
  // Layers begin to come before it is known what the config says of them.
  downloads.start(manifest.config);
  for (const [at, layer] of manifest.layers.entries()) downloads.start(layer, reports[at]);
  const isAllNew = manifest.layers.every((layer) => !downloads.wasHere(layer.digest));
  if (isAllNew) for (const report of reports) report.show("Pulling fs layer");
  const { config, configSizeBytes } = await readConfig(context, fetch);
  const planned = planLayers(manifest, config);
  // Before any is looked for: what is found must stay.
  holdLayers(context, { layers: planned, leaseId: fetch.leaseId });
  if (isAllNew) return { planned, reports, configSizeBytes };
  const shown = planned.map((layer, at) => {
    const isUnpacked = context.snapshots.find(layer.chainId) !== undefined;
    const isHere = isUnpacked && downloads.wasHere(layer.digest);
    if (isHere) reports[at]?.showOnly("Already exists");
    else reports[at]?.show("Pulling fs layer");
    return isHere ? undefined : reports[at];
  });
  return { planned, reports: shown, configSizeBytes };
}

function refuseLargeConfig({ size }: Descriptor): void {
  if (size <= imageConfigMaxBytes) return;
  throw new EngineError(
    "invalid-argument",
    `the image config has ${size} bytes: at most ${imageConfigMaxBytes} are read`,
  );
}

async function readConfig(
  context: ImageContext,
  { chosen, downloads }: Fetching,
): Promise<{ readonly config: ImageConfig; readonly configSizeBytes: number }> {
  const descriptor = chosen.manifest.config;
  await downloads.wait(descriptor.digest);
  const read = (): Promise<Uint8Array> =>
    context.content.read(descriptor.digest, { sizeMaxBytes: descriptor.size });
  let bytes: Uint8Array;
  try {
    bytes = await read();
  } catch (error) {
    if (!isKind(error, "data-loss") || !downloads.wasHere(descriptor.digest)) throw error;
    await downloads.repeat(descriptor);
    bytes = await read();
  }
  const config = decodeImageConfig(bytes);
  const { os } = imagePlatform(config);
  if (os !== "" && os !== "linux") {
    throw new EngineError(
      "invalid-argument",
      `image operating system ${JSON.stringify(os)} cannot be used on this platform: ` +
        "operating system is not supported",
    );
  }
  return { config, configSizeBytes: bytes.length };
}

interface LayerFetch extends Fetching {
  readonly layer: PlannedLayer;
  readonly onRead: (readBytes: number) => void;
}

/** Unpacks a layer, while its blob comes or once it is here. @returns bytes of its files */
async function unpackLayer(context: ImageContext, fetch: LayerFetch): Promise<number> {
  const { layer, downloads, onRead } = fetch;
  const followed = await followLayer(context, fetch);
  await downloads.wait(layer.digest);
  if (followed !== undefined) return followed;
  if (context.snapshots.find(layer.chainId) === undefined) onRead(0);
  return await unpackOrRepair(context, fetch);
}

/** Unpacks a layer; a blob that was here and turns out to be damaged is fetched anew. */
async function unpackOrRepair(context: ImageContext, fetch: LayerFetch): Promise<number> {
  const { layer, downloads, onRead } = fetch;
  const unpack = (): Promise<number> =>
    unpackStored(context, { layer, onRead, signal: downloads.signal });
  try {
    return await unpack();
  } catch (error) {
    const isSuspect = isKind(error, "data-loss", "invalid-argument");
    if (!isSuspect || !downloads.wasHere(layer.digest)) throw error;
    if (await isIntact(context, layer.descriptor)) throw error;
    await downloads.repeat(layer.descriptor);
    return await unpack();
  }
}

/** Whether a failure tells of a full disk. */
export function isDiskFull(error: unknown): boolean {
  const code = error instanceof EngineError ? error.details["code"] : codeOf(error);
  return code === "ENOSPC" || code === "EDQUOT";
}
