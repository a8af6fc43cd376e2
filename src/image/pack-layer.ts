/**
 * Layers as they travel: packed with gzip, once, and remembered.
 */
import { createGzip } from "node:zlib";
import { Readable } from "node:stream";
import { EngineError } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import { Semaphore } from "../lib/semaphore.ts";
import type { PackedLayer } from "./distribution-records.ts";
import type { LayerRecord } from "./image-records.ts";
import { openLayerTar } from "./layer-source.ts";
import type { ImageContext } from "./local-image-service.ts";

/** Layers that are packed at once, by all pushes together: each takes a core. */
const packing = new Semaphore(2);

/** Bytes of packed output at a time. */
const chunkSizeBytes = 256 * 1024;

/**
 * Packs a layer into a blob, and remembers how it was packed. The same layer gives the same bytes.
 *
 * The packing runs on other threads than the daemon's own.
 *
 * @throws canceled; data-loss when neither blob nor snapshot of the layer is there
 */
export async function packLayer(
  context: ImageContext,
  options: {
    readonly layer: LayerRecord;
    readonly mediaType: string;
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<PackedLayer> {
  const { layer, mediaType, leaseId, signal } = options;
  return await packing.run(async () => {
    if (signal.aborted) throw new EngineError("canceled", "the push was canceled");
    await using ingest = await context.content.ingest({ ref: `pack-${createId().slice(0, 16)}` });
    const source = Readable.from(openLayerTar(context, layer, { signal }));
    const gzip = createGzip({ chunkSize: chunkSizeBytes });
    source.on("error", (error) => gzip.destroy(error));
    try {
      source.pipe(gzip);
      for await (const chunk of gzip) {
        if (signal.aborted) throw new EngineError("canceled", "the push was canceled");
        await ingest.write(chunk as Uint8Array);
      }
    } finally {
      source.destroy();
      gzip.destroy();
    }
    const { digest, sizeBytes } = await ingest.commit({ durable: false });
    context.leases.add(leaseId, `content:${digest}`);
    const packed = { digest, sizeBytes, mediaType };
    context.distribution.putPacked(layer.diffId, packed);
    return packed;
  });
}
