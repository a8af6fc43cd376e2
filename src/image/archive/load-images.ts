import { EngineError } from "../../lib/errors.ts";
import { formatSize } from "../../lib/size.ts";
import type { Platform } from "../../oci/platform.ts";
import { type ArchivedImage, findArchivedImages } from "./archive-images.ts";
import type { ImageRecord } from "../image-records.ts";
import type { Progress } from "../image-service.ts";
import { readArchive } from "./load-archive.ts";
import type { ImageContext } from "../context.ts";
import { EarlyLayers } from "./_early-layers.ts";
import { type PlannedLayer, unpackImage } from "../store-image.ts";
import { publishImageEvent } from "../publish-event.ts";

/** Loads every image of an archive; each is acknowledged by a progress line once it is durable. */
export async function loadImages(
  context: ImageContext,
  options: {
    readonly archive: ReadableStream<Uint8Array>;
    readonly progress: Progress;
    readonly platform?: Platform;
    readonly signal?: AbortSignal;
  },
): Promise<void> {
  const { content, leases } = context;
  const { progress, platform, signal } = options;
  await context.making(async (leaseId) => {
    await using early = new EarlyLayers(context);
    const stop = signal === undefined ? {} : { signal };
    const target = { content, leases, leaseId, early, ...stop };
    const archive = await readArchive(options.archive, target);
    const images = await findArchivedImages(archive, {
      target,
      ...(platform === undefined ? {} : { platform }),
    });
    for (const image of images) {
      await loadOne(context, { image, progress, signal, early, leaseId });
    }
  });
}

async function loadOne(
  context: ImageContext,
  options: {
    readonly image: ArchivedImage;
    readonly progress: Progress;
    readonly signal: AbortSignal | undefined;
    readonly early: EarlyLayers;
    readonly leaseId: string;
  },
): Promise<void> {
  const { image, progress, signal, early, leaseId } = options;
  const { index } = context;
  const { names, target, attachments } = image;
  const records: ImageRecord[] = [];
  for (const parts of [image.parts, ...(image.others ?? [])]) {
    const how = signal === undefined ? {} : { signal };
    const take = (layer: PlannedLayer): Promise<number | undefined> => early.take(layer);
    const onLayer = tellLayer(progress);
    records.push(await unpackImage(context, { parts, leaseId, onLayer, take, ...how }));
  }
  if (signal?.aborted === true) throw new EngineError("canceled", "the load was canceled");
  const [record, ...others] = records;
  if (record === undefined) return;
  const moved = names.flatMap((name) => tellMoved(context, { name, id: record.id }));
  await context.metadata.commit(() => {
    for (const each of records) index.put(each);
    for (const name of names) {
      index.bind(name, record.id, {
        ...(target === undefined ? {} : { target }),
        others: others.map((other) => other.id),
        attachments: attachments ?? [],
      });
    }
  });
  publishImageEvent(context, { action: "load", record, name: record.id });
  for (const stream of moved) progress({ stream });
  for (const name of names) progress({ stream: `Loaded image: ${index.show(name)}\n` });
  if (names.length > 0) return;
  for (const { id } of records) progress({ stream: `Loaded image ID: ${id}\n` });
}

/** Docker: says which image loses a name, seen in 28.5. */
function tellMoved(
  { index }: ImageContext,
  { name, id }: { readonly name: string; readonly id: string },
): readonly string[] {
  const before = index.findName(name);
  if (before === undefined || before.id === id) return [];
  const shown = index.show(name);
  return [
    `The image ${shown} already exists, renaming the old one with ID ${before.id} to empty string\n`,
  ];
}

function tellLayer(
  progress: Progress,
): (layer: { readonly diffId: string; readonly sizeBytes: number }) => void {
  return ({ diffId, sizeBytes }) =>
    progress({
      status: "Loading layer",
      id: diffId.slice("sha256:".length, "sha256:".length + 12),
      progressDetail: { current: sizeBytes, total: sizeBytes },
      progress: `${formatSize(sizeBytes)}/${formatSize(sizeBytes)}`,
    });
}
