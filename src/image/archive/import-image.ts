import { blobHolder } from "../hold-image.ts";
import { detectCompression, decompress } from "../../lib/compression/compression.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { formatTime } from "../../lib/time.ts";
import { createDigester, type Digest } from "../../oci/digest.ts";
import { encodeImageConfig, type ImageConfig } from "../../oci/image-config.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { makeManifest } from "./archive-images.ts";
import { applyChanges } from "../lifecycle/apply-changes.ts";
import type { ImportOptions } from "../image-service.ts";
import type { ImageContext } from "../context.ts";
import { unpackImage } from "../store-image.ts";
import { publishImageEvent } from "../publish-event.ts";

/** Largest tar that is imported, in bytes. */
const importSizeMaxBytes = 64 * 1024 ** 3;

/** Makes an image of one layer from a tar, packed or not. @returns its ID, once it is durable */
export async function importImage(
  context: ImageContext,
  options: ImportOptions & { readonly layer: ReadableStream<Uint8Array> },
): Promise<Digest> {
  const { index, content, metadata } = context;
  const hasName = options.repo !== undefined && options.repo !== "";
  const name = hasName
    ? index.parseTarget({ repo: options.repo ?? "", tag: options.tag ?? "" })
    : undefined;
  // A mistake in the changes is told before a byte is read.
  const run = applyChanges({}, options.changes ?? []);
  return await context.making(async (leaseId) => {
    const hold = blobHolder(context, leaseId);
    const { digest, diffId } = await storeLayer(context, { ...options, hold });
    const platform = options.platform ?? hostPlatform();
    const created = formatTime(new Date());
    const config: ImageConfig = {
      created,
      architecture: platform.architecture,
      ...(platform.variant === undefined ? {} : { variant: platform.variant }),
      os: platform.os,
      config: run,
      rootfs: { type: "layers", diff_ids: [diffId] },
      history: [{ created, comment: options.message || "Imported from -" }],
    };
    const configBlob = await content.put(encodeImageConfig(config), { hold });
    const made = { config: configBlob.digest, layers: [digest], hold };
    const parts = await makeManifest(content, made);
    const record = await unpackImage(context, {
      parts,
      leaseId,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    await metadata.commit(() => {
      index.put(record);
      if (name !== undefined) index.bind(name, record.id);
    });
    const shown = name === undefined ? record.id : index.show(name);
    publishImageEvent(context, { action: "import", record, name: shown });
    return record.id;
  });
}

/** Stores the layer as it comes; its diff ID is that of the unpacked bytes. */
async function storeLayer(
  { content }: ImageContext,
  options: {
    readonly layer: ReadableStream<Uint8Array>;
    readonly hold: (digest: Digest) => void;
    readonly signal?: AbortSignal;
  },
): Promise<{ readonly digest: Digest; readonly diffId: Digest }> {
  await using ingest = await content.ingest({
    ref: `import-${createId().slice(0, 16)}`,
    sizeMaxBytes: importSizeMaxBytes,
  });
  let first: Uint8Array | undefined;
  for await (const chunk of options.layer) {
    if (options.signal?.aborted === true) {
      throw new EngineError("canceled", "the import was canceled");
    }
    first ??= Uint8Array.from(chunk.subarray(0, 16));
    await ingest.write(chunk);
  }
  if (first === undefined) throw new EngineError("invalid-argument", "the imported tar is empty");
  const { digest } = await ingest.commit({ durable: false, hold: options.hold });
  if (detectCompression(first) === "none") return { digest, diffId: digest };
  const digester = createDigester();
  for await (const chunk of decompress(content.open(digest))) digester.update(chunk);
  return { digest, diffId: digester.digest() };
}
