import { EngineError } from "../lib/errors.ts";
import { formatSize } from "../lib/size.ts";
import type { Platform } from "../oci/platform.ts";
import { findArchivedImages } from "./archive-images.ts";
import type { Progress } from "./image-service.ts";
import { readArchive } from "./load-archive.ts";
import type { ImageContext } from "./local-image-service.ts";
import { unpackImage } from "./store-image.ts";
import { publishImageEvent } from "./_publish-event.ts";

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
  const { content, leases, index } = context;
  const { progress, platform, signal } = options;
  await context.making(async (leaseId) => {
    const target = { content, leases, leaseId, ...(signal === undefined ? {} : { signal }) };
    const archive = await readArchive(options.archive, target);
    const images = await findArchivedImages(archive, {
      target,
      ...(platform === undefined ? {} : { platform }),
    });
    for (const { parts, names } of images) {
      const record = await unpackImage(context, {
        parts,
        onLayer: ({ diffId, sizeBytes }) =>
          progress({
            status: "Loading layer",
            id: diffId.slice("sha256:".length, "sha256:".length + 12),
            progressDetail: { current: sizeBytes, total: sizeBytes },
            progress: `${formatSize(sizeBytes)}/${formatSize(sizeBytes)}`,
          }),
        ...(signal === undefined ? {} : { signal }),
      });
      if (signal?.aborted === true) throw new EngineError("canceled", "the load was canceled");
      context.metadata.transaction(() => {
        index.put(record);
        for (const name of names) index.bind(name, record.id);
      });
      publishImageEvent(context, { action: "load", record, name: record.id });
      for (const name of names) progress({ stream: `Loaded image: ${index.show(name)}\n` });
      if (names.length === 0) progress({ stream: `Loaded image ID: ${record.id}\n` });
    }
  });
}
