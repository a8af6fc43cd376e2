/**
 * Brings the blobs of one image and unpacks its layers, bottom first, while those above still come.
 */
import { verifyStream } from "../content/verify.ts";
import { codeOf, EngineError, isKind } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import {
  decodeImageConfig,
  type ImageConfig,
  imageConfigMaxBytes,
  imagePlatform,
} from "../oci/image-config.ts";
import type { Reference } from "../oci/reference.ts";
import type { RegistryCall, RegistryClient, TransferProgress } from "../remote/registry-client.ts";
import { syncFileSystemAsync } from "../sys/fs.ts";
import type { ChosenManifest } from "./choose-manifest.ts";
import type { ImageRecord, LayerRecord } from "./image-records.ts";
import type { Progress } from "./image-service.ts";
import { LayerReport } from "./_layer-report.ts";
import type { ImageContext } from "./local-image-service.ts";
import {
  imageRecord,
  layerRecord,
  type PlannedLayer,
  planLayers,
  unpackStored,
} from "./store-image.ts";

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
    await downloads.stop();
    throw downloads.firstFailure ?? error;
  }
}

async function unpackAsFetched(
  context: ImageContext,
  fetch: ImageFetch & { readonly downloads: Downloads },
): Promise<ImageRecord> {
  const { content, snapshots } = context;
  const { chosen, downloads, leaseId, progress } = fetch;
  const { manifest, digest, sizeBytes } = chosen;
  for (const document of chosen.documents) {
    await content.put(document.bytes);
    context.leases.add(leaseId, `content:${document.digest}`);
  }
  const reports: (LayerReport | undefined)[] = manifest.layers.map(
    (layer) => new LayerReport(layer.digest.slice(7, 19), progress),
  );
  // Layers begin to come before it is known what the config says of them.
  for (const [at, layer] of manifest.layers.entries()) downloads.start(layer, reports[at]);
  const { config, configSizeBytes } = await fetchConfig(context, fetch);
  const planned = planLayers(manifest, config);
  for (const [at, layer] of planned.entries()) {
    const isHere = snapshots.find(layer.chainId) !== undefined && downloads.wasHere(layer.digest);
    if (isHere) reports[at]?.showOnly("Already exists");
    else reports[at]?.show("Pulling fs layer");
    if (isHere) reports[at] = undefined;
  }
  const layers: LayerRecord[] = [];
  for (const [at, layer] of planned.entries()) {
    await downloads.wait(layer.digest);
    const report = reports[at];
    if (snapshots.find(layer.chainId) === undefined) {
      report?.bytes("Extracting", { current: 0, total: layer.descriptor.size });
    }
    layers.push(layerRecord(layer, await unpackOrRepair(context, { ...fetch, layer })));
    report?.status("Pull complete");
  }
  // One sync for all layers and blobs: from here on the image survives a power cut.
  await syncFileSystemAsync(content.root);
  const parts = { manifest, manifestDigest: digest, manifestSizeBytes: sizeBytes };
  return imageRecord(parts, { configSizeBytes, layers });
}

async function fetchConfig(
  context: ImageContext,
  { chosen, downloads }: ImageFetch & { readonly downloads: Downloads },
): Promise<{ readonly config: ImageConfig; readonly configSizeBytes: number }> {
  const descriptor = chosen.manifest.config;
  if (descriptor.size > imageConfigMaxBytes) {
    throw new EngineError(
      "invalid-argument",
      `the image config has ${descriptor.size} bytes: at most ${imageConfigMaxBytes} are read`,
    );
  }
  downloads.start(descriptor);
  await downloads.wait(descriptor.digest);
  const bytes = await context.content.read(descriptor.digest, { sizeMaxBytes: descriptor.size });
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

/** Unpacks a layer; a blob that was here and turns out to be damaged is fetched anew. */
async function unpackOrRepair(
  context: ImageContext,
  fetch: ImageFetch & { readonly downloads: Downloads; readonly layer: PlannedLayer },
): Promise<number> {
  const { layer, downloads } = fetch;
  const unpack = (): Promise<number> => unpackStored(context, { layer, signal: downloads.signal });
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

/** The transfers of one pull. Each digest is fetched once, whatever the number of layers it is. */
class Downloads {
  readonly #context: ImageContext;
  readonly #fetch: ImageFetch;
  readonly #stop: AbortController = new AbortController();
  readonly #running = new Map<Digest, Promise<void>>();
  readonly #here = new Set<Digest>();
  /** Why the pull ends; later failures come of it. */
  firstFailure: unknown;
  readonly signal: AbortSignal;

  constructor(context: ImageContext, fetch: ImageFetch) {
    this.#context = context;
    this.#fetch = fetch;
    const { signal } = this.#stop;
    this.signal = fetch.signal === undefined ? signal : AbortSignal.any([signal, fetch.signal]);
  }

  /** Begins a transfer; a failure of it stops the others. */
  start(descriptor: Descriptor, report?: LayerReport): void {
    const { digest } = descriptor;
    const before = this.#running.get(digest);
    const work =
      before === undefined
        ? this.#bring(descriptor, report)
        : before.then(() => report?.status("Download complete"));
    if (before !== undefined) {
      work.catch(() => undefined);
      return;
    }
    work.catch((error: unknown) => {
      this.firstFailure ??= error;
      this.#stop.abort();
    });
    this.#running.set(digest, work);
  }

  async wait(digest: Digest): Promise<void> {
    await this.#running.get(digest);
  }

  /** Whether the blob was here before. */
  wasHere(digest: Digest): boolean {
    return this.#here.has(digest);
  }

  /** Fetches a blob that is here but damaged. */
  async repeat(descriptor: Descriptor): Promise<void> {
    const { content, logger } = this.#context;
    logger.warn("a stored blob is damaged: it is fetched anew", { digest: descriptor.digest });
    await content.remove(descriptor.digest);
    this.#here.delete(descriptor.digest);
    await this.#bring(descriptor);
  }

  /** Ends all transfers and waits for them. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running.values());
  }

  async #bring(descriptor: Descriptor, report?: LayerReport): Promise<void> {
    const { content, leases } = this.#context;
    const { registry, reference, credentials, leaseId } = this.#fetch;
    const { digest, size } = descriptor;
    const present = content.find(digest);
    leases.add(leaseId, `content:${digest}`);
    if (present?.sizeBytes === size) {
      this.#here.add(digest);
      report?.status("Download complete");
      return;
    }
    if (present !== undefined) await this.#settleSize(descriptor);
    const blob = await registry
      .fetchBlob(reference, {
        descriptor,
        content,
        signal: this.signal,
        ...(credentials === undefined ? {} : { credentials }),
        ...(report === undefined ? {} : { progress: tell(report) }),
      })
      .finally(() => report?.end());
    if (blob.sizeBytes !== size) throw wrongSize(descriptor, blob.sizeBytes);
    report?.status("Verifying Checksum");
    report?.status("Download complete");
  }

  /** The blob here has another size: either it is damaged, or the manifest lies. */
  async #settleSize(descriptor: Descriptor): Promise<void> {
    const { content } = this.#context;
    const blob = content.get(descriptor.digest);
    if (await isIntact(this.#context, descriptor)) throw wrongSize(descriptor, blob.sizeBytes);
    await content.remove(descriptor.digest);
  }
}

function tell(report: LayerReport): TransferProgress {
  return (state) => {
    const passed = { current: state.currentBytes, total: state.totalBytes };
    switch (state.kind) {
      case "waiting":
        return report.waiting();
      case "transferring":
        return report.bytes("Downloading", passed);
      case "retrying":
        return report.retrying(state.retryInS ?? 1);
      case "exists":
      case "mounted":
      case "done":
        return;
    }
  };
}

/** Whether a stored blob has the digest that it goes by. */
async function isIntact({ content }: ImageContext, { digest }: Descriptor): Promise<boolean> {
  try {
    for await (const _ of verifyStream(content.open(digest), { digest }));
    return true;
  } catch (error) {
    if (isKind(error, "data-loss", "not-found")) return false;
    throw error;
  }
}

/** Whether a failure tells of a full disk. */
export function isDiskFull(error: unknown): boolean {
  const code = error instanceof EngineError ? error.details["code"] : codeOf(error);
  return code === "ENOSPC" || code === "EDQUOT";
}

function wrongSize({ digest, size }: Descriptor, foundBytes: number): EngineError {
  return new EngineError(
    "data-loss",
    `the manifest says that ${digest} has ${size} bytes, it has ${foundBytes}`,
  );
}
