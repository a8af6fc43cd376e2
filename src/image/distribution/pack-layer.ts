/**
 * Layers as they travel: packed once, and remembered.
 */
import { createGzip, createZstdCompress } from "node:zlib";
import { PassThrough, Readable, type Transform } from "node:stream";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";
import { layerCompression, ociMediaTypes } from "../../oci/media-types.ts";
import type { PackedLayer } from "./distribution-records.ts";
import { blobHolder, holdLayers } from "../hold-image.ts";
import type { LayerRecord } from "../image-records.ts";
import { openLayerTar } from "../layer-source.ts";
import type { ImageContext } from "../context.ts";

/** How a layer is packed. */
export type LayerPacking = "gzip" | "zstd" | "uncompressed";

/** Layers that are packed at once, by all pushes together: each takes a core. */
const packing = new Semaphore(2);

/** Bytes of packed output at a time. */
const chunkSizeBytes = 256 * 1024;

const packedTypes = {
  gzip: ociMediaTypes.layerGzip,
  zstd: ociMediaTypes.layerZstd,
  uncompressed: ociMediaTypes.layer,
} as const;

/**
 * Has a layer as a blob of that packing: the one that is here, or a new one.
 *
 * @param options.leaseId holds the blob
 * @throws canceled; data-loss when neither blob nor snapshot of the layer is there
 */
export async function storePackedLayer(
  context: ImageContext,
  options: {
    readonly layer: LayerRecord;
    readonly packing: LayerPacking;
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<PackedLayer> {
  return await context.making(async () => {
    const { layer, packing: form, leaseId } = options;
    holdLayers(context, { layers: [layer], leaseId });
    const known = findPacked(context, { layer, form });
    if (known === undefined) {
      return await packLayer(context, { ...options, mediaType: packedTypes[form] });
    }
    context.leases.add(leaseId, `content:${known.digest}`);
    return known;
  });
}

function findPacked(
  { content, distribution }: ImageContext,
  { layer, form }: { readonly layer: LayerRecord; readonly form: LayerPacking },
): PackedLayer | undefined {
  const mediaType = packedTypes[form];
  const isSo = layerCompression(layer.mediaType) === layerCompression(mediaType);
  const own = isSo ? { digest: layer.digest, sizeBytes: layer.sizeBytes } : undefined;
  const remembered = form === "gzip" ? distribution.findPacked(layer.diffId) : undefined;
  const found = [own, remembered].find(
    (one) => one !== undefined && content.find(one.digest)?.sizeBytes === one.sizeBytes,
  );
  return found === undefined ? undefined : { ...found, mediaType };
}

/**
 * Packs a layer into a blob, and remembers how it was packed. The same layer gives the same bytes.
 *
 * The packing runs on other threads than the daemon's own.
 *
 * @param options.packing gzip when absent
 * @throws canceled; data-loss when neither blob nor snapshot of the layer is there
 */
export async function packLayer(
  context: ImageContext,
  options: {
    readonly layer: LayerRecord;
    readonly mediaType: string;
    readonly packing?: LayerPacking;
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<PackedLayer> {
  const { layer, mediaType, leaseId, signal, packing: form = "gzip" } = options;
  return await packing.run(async () => {
    if (signal.aborted) throw new EngineError("canceled", "the push was canceled");
    await using ingest = await context.content.ingest({ ref: `pack-${createId().slice(0, 16)}` });
    const source = Readable.from(openLayerTar(context, layer, { signal }));
    const packer = createPacker(form);
    source.on("error", (error) => packer.destroy(error));
    try {
      source.pipe(packer);
      for await (const chunk of packer) {
        if (signal.aborted) throw new EngineError("canceled", "the push was canceled");
        await ingest.write(chunk as Uint8Array);
      }
    } finally {
      source.destroy();
      packer.destroy();
    }
    const { digest, sizeBytes } = await ingest.commit({
      durable: false,
      hold: blobHolder(context, leaseId),
    });
    const packed = { digest, sizeBytes, mediaType };
    if (form === "gzip") context.distribution.putPacked(layer.diffId, packed);
    return packed;
  });
}

function createPacker(form: LayerPacking): Transform {
  switch (form) {
    case "gzip":
      return createGzip({ chunkSize: chunkSizeBytes });
    case "zstd":
      return createZstdCompress({ chunkSize: chunkSizeBytes });
    case "uncompressed":
      return new PassThrough();
  }
}
