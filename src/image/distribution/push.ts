/**
 * Sends images to registries.
 *
 * What came from a registry goes back bit for bit. Layers that were made here are packed first, once;
 * what a repository has is not sent, what another of the registry has is mounted. The manifest goes
 * last: a push that breaks off leaves nothing visible.
 */
import { EngineError } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeManifest } from "../../oci/manifest.ts";
import {
  familiarName,
  familiarString,
  formatReference,
  parseReference,
  type Reference,
  referenceName,
  withDigest,
  withTag,
} from "../../oci/reference.ts";
import type { RegistryClient, TransferProgress } from "../../remote/registry-client.ts";
import { holdBound, holdImage } from "../hold-image.ts";
import type { LayerRecord, NameTarget } from "../image-records.ts";
import type { PushOptions } from "../image-service.ts";
import { LayerReport } from "./layer-report.ts";
import type { ImageContext } from "../context.ts";
import { packLayer } from "./pack-layer.ts";
import {
  type ImagePush,
  isForeign,
  packedDescriptor,
  packedType,
  planPush,
  storedLayer,
  type TagPush,
} from "./plan-push.ts";
import { publishImageEvent } from "../publish-event.ts";
import { publishSignatures } from "./_publish-signatures.ts";
import { registryOf } from "./pull.ts";
import { runTogether } from "./_transfers.ts";

/** Repositories that a registry is asked to mount a blob from, at most. */
const mountCountMax = 3;

/** Digits of a layer's ID in progress messages. */
const shownIdLength = 12;

/**
 * Pushes a tag; all tags that the repository has here when none is named.
 *
 * @throws invalid-argument for a digest, not-found for what is not here; what the registry says
 */
export async function pushImages(
  context: ImageContext,
  { reference: text, tag, ...options }: PushOptions & { readonly reference: string },
): Promise<void> {
  const parsed = parseReference(text);
  const reference = tag === undefined || tag === "" ? parsed : withTag(parsed, tag);
  if (reference.digest !== undefined) {
    throw new EngineError("invalid-argument", "cannot push a digest reference");
  }
  const registry = registryOf(context);
  const { platform } = options;
  const name = formatReference(reference);
  // Docker: answers 404 instead of a stream, seen in 28.5
  if (platform !== undefined && context.index.findName(name) !== undefined) {
    await context.index.resolve(name, { platform });
  }
  options.progress({ status: `The push refers to repository [${referenceName(reference)}]` });
  for (const one of tagsOf(context, reference)) {
    try {
      await pushTag(context, { ...options, registry, reference: one });
    } catch (error) {
      if (options.signal?.aborted !== true) throw error;
      throw new EngineError("canceled", "the push was canceled", { cause: error });
    }
  }
}

/** The references with a tag that are meant. @throws not-found with Docker's sentences */
function tagsOf({ index }: ImageContext, reference: Reference): readonly Reference[] {
  const repository = referenceName(reference);
  const known = index.listNames().filter(([name]) => {
    const { tag, ...rest } = parseReference(name);
    return tag !== undefined && referenceName(rest) === repository;
  });
  if (known.length === 0) {
    throw new EngineError(
      "not-found",
      `An image does not exist locally with the tag: ${familiarName(reference)}`,
    );
  }
  if (reference.tag === undefined) return known.map(([name]) => parseReference(name));
  if (index.findName(formatReference(reference)) !== undefined) return [reference];
  throw new EngineError("not-found", `tag does not exist: ${familiarString(reference)}`);
}

interface Push extends PushOptions {
  readonly registry: RegistryClient;
  readonly reference: Reference;
  readonly leaseId: string;
  /** Told when the registry wants a blob and it is not here. */
  readonly onMissing?: () => void;
}

async function pushTag(context: ImageContext, options: Omit<Push, "leaseId">): Promise<void> {
  const { index, distribution, metadata } = context;
  const { reference, platform, progress } = options;
  const name = formatReference(reference);
  const { id } = await index.resolve(name, platform === undefined ? {} : { platform });
  const record = index.getById(id);
  const bound = platform === undefined ? index.findName(name)?.target : undefined;
  const digests: Digest[] = [];
  const target = await context.making(async (leaseId) => {
    const push = { ...options, leaseId };
    holdImage(context, { record, leaseId });
    const named = index.findName(name);
    if (named !== undefined) holdBound(context, { bound: named, leaseId });
    const whole = { ...push, record, ...(bound === undefined ? {} : { target: bound }) };
    return await sendPlanned(context, { ...whole, digests });
  });
  const { digest, sizeBytes } = target;
  await metadata.commit(() => {
    if (index.findById(record.id) !== undefined) {
      index.bind(formatReference(withDigest(reference, digest)), record.id, { target });
      index.markPublished(name, record.id);
    }
    distribution.addPlaces([record.id], referenceName(reference));
  });
  // What was removed meanwhile was kept for this alone.
  if (index.findById(record.id) === undefined) await context.collect();
  const tag = reference.tag ?? "";
  progress({ status: `${tag}: digest: ${digest} size: ${sizeBytes}` });
  progress({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: sizeBytes } });
  publishImageEvent(context, {
    action: "push",
    record,
    id: familiarString(reference),
    name: familiarName(reference),
  });
  await publishSignatures(context, { ...options, record, digests });
}

interface PlannedPush extends Push {
  readonly record: ImagePush["record"];
  readonly target?: NameTarget;
  /** Takes the digests of all that is stored under the tag. */
  readonly digests: Digest[];
}

/** Sends a tag as it was pulled, or, when the registry has not what is not here, as it is here. */
async function sendPlanned(context: ImageContext, push: PlannedPush): Promise<NameTarget> {
  const { record, target, reference, signal } = push;
  const to = { record, domain: reference.domain };
  const plan = await planPush(context, { ...to, ...(target === undefined ? {} : { target }) });
  let isMissed = false;
  try {
    return await sendPlan(context, { ...push, plan, onMissing: () => (isMissed = true) });
  } catch (error) {
    const isElsewhere = plan.images.some(({ sources = [] }) => sources.length > 0);
    if (!isElsewhere || !isMissed || signal?.aborted === true) throw error;
    return await sendPlan(context, { ...push, plan: await planPush(context, to) });
  }
}

async function sendPlan(
  context: ImageContext,
  push: PlannedPush & { readonly plan: TagPush },
): Promise<NameTarget> {
  const { plan, reference, digests } = push;
  let last: NameTarget | undefined;
  for (const image of plan.images) {
    const isAlone = plan.index === undefined;
    last = await pushImage(context, { ...push, image, isAlone });
    digests.push(last.digest);
  }
  for (const { manifest, bytes } of plan.attachments ?? []) {
    for (const descriptor of [manifest.config, ...manifest.layers]) {
      await sendBlob(context, { ...push, descriptor });
    }
    const to = withDigest(reference, digestOf(bytes));
    await sendDocument(push, { reference: to, mediaType: manifest.mediaType, bytes });
  }
  if (plan.index !== undefined) {
    last = await sendDocument(push, { reference, ...plan.index });
    digests.push(last.digest);
  }
  if (last === undefined) throw new EngineError("invalid-argument", "the index names no image");
  return last;
}

/** Sends layers, config and manifest of one image. */
async function pushImage(
  context: ImageContext,
  push: Push & { readonly image: ImagePush; readonly isAlone: boolean },
): Promise<NameTarget> {
  const { image, reference, progress } = push;
  const { manifest } = image;
  const shownId = (at: number): string =>
    (image.record.layers[at]?.diffId ?? "").slice("sha256:".length).slice(0, shownIdLength);
  const reports = manifest.layers.map((_, at) => new LayerReport(shownId(at), progress));
  // Docker: from the top down, seen in 28.5
  for (const report of reports.toReversed()) report.show("Preparing");
  const layers = await runTogether(
    manifest.layers.map((descriptor, at) => async (signal) => {
      const report = reports[at] ?? new LayerReport("", progress);
      const layer = image.record.layers[at];
      return await pushLayer(context, { ...push, signal, descriptor, layer, report });
    }),
    push.signal,
  );
  await sendBlob(context, { ...push, descriptor: manifest.config });
  const bytes = image.bytes ?? encodeManifest({ ...manifest, layers });
  const to = push.isAlone ? reference : withDigest(reference, digestOf(bytes));
  return await sendDocument(push, { reference: to, mediaType: manifest.mediaType, bytes });
}

interface LayerPush extends Push {
  readonly image: ImagePush;
  readonly descriptor: Descriptor;
  readonly layer: LayerRecord | undefined;
  readonly report: LayerReport;
  readonly signal: AbortSignal;
}

/** Sends one layer. @returns its descriptor as it stands in the registry */
async function pushLayer(context: ImageContext, push: LayerPush): Promise<Descriptor> {
  const { image, descriptor, layer, report } = push;
  if (isForeign(descriptor)) {
    report.status("Skipped foreign layer");
    return descriptor;
  }
  if (image.bytes !== undefined || storedLayer(context, descriptor) !== undefined) {
    await sendBlob(context, { ...push, sources: image.sources ?? [] });
    return descriptor;
  }
  if (layer === undefined) {
    throw new EngineError("data-loss", `push layer ${descriptor.digest}: its record is missing`);
  }
  return (
    (await sendRemembered(context, { ...push, layer })) ??
    (await sendPacked(context, { ...push, layer }))
  );
}

/**
 * Has a layer that was pushed before recognised by the registry.
 *
 * @returns undefined when it has to be packed (again)
 */
async function sendRemembered(
  context: ImageContext,
  push: LayerPush & { readonly layer: LayerRecord },
): Promise<Descriptor | undefined> {
  const { content, distribution } = context;
  const packed = distribution.findPacked(push.layer.diffId);
  if (packed === undefined) return undefined;
  const isHere = content.find(packed.digest) !== undefined;
  const isThere = distribution.pathsOf(packed.digest, push.reference.domain).length > 0;
  if (!isHere && !isThere) return undefined;
  const descriptor = packedDescriptor(push.image.manifest, { ...push, packed });
  let isMissed = false;
  try {
    await sendBlob(context, { ...push, descriptor, onMissing: () => (isMissed = true) });
    return descriptor;
  } catch (error) {
    if (!isMissed || push.signal.aborted) throw error;
    return undefined;
  }
}

async function sendPacked(
  context: ImageContext,
  push: LayerPush & { readonly layer: LayerRecord },
): Promise<Descriptor> {
  const { layer, leaseId, signal } = push;
  const mediaType = packedType(push.image.manifest);
  const packed = await packLayer(context, { layer, mediaType, leaseId, signal });
  const descriptor = packedDescriptor(push.image.manifest, { ...push, packed });
  await sendBlob(context, { ...push, descriptor });
  return descriptor;
}

interface BlobPush extends Push {
  readonly descriptor: Descriptor;
  readonly report?: LayerReport;
  /** Repositories that have it as well as those that are remembered. */
  readonly sources?: readonly string[];
}

/** Sends a blob unless the repository has it, and remembers that it has it now. */
async function sendBlob(context: ImageContext, push: BlobPush): Promise<void> {
  const { content, distribution } = context;
  const { registry, reference, descriptor, credentials, signal, report, onMissing } = push;
  const known = distribution.pathsOf(descriptor.digest, reference.domain);
  const mountFrom = [...new Set([...known, ...(push.sources ?? [])])]
    .filter((path) => path !== reference.path)
    .slice(0, mountCountMax);
  const sent = registry.pushBlob(reference, {
    descriptor,
    open: (offset) => {
      if (content.find(descriptor.digest) === undefined) onMissing?.();
      return content.open(descriptor.digest, { offset });
    },
    mountFrom,
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
    ...(report === undefined ? {} : { progress: tell(report) }),
  });
  await sent.finally(() => report?.end());
  distribution.addPlaces([descriptor.digest], referenceName(reference));
}

function tell(report: LayerReport): TransferProgress {
  return (state) => {
    const passed = { current: state.currentBytes, total: state.totalBytes };
    switch (state.kind) {
      case "waiting":
        return report.waiting();
      case "transferring":
        return report.bytes("Pushing", passed);
      case "retrying":
        return report.retrying(state.retryInS ?? 1);
      case "exists":
        return report.status("Layer already exists");
      case "mounted":
        return report.status(`Mounted from ${state.from ?? "another repository"}`);
      case "done":
        return report.status("Pushed");
    }
  };
}

/** Sends a manifest or an index; checks that the registry took it for what it is. */
async function sendDocument(
  push: Push,
  document: {
    readonly reference: Reference;
    readonly mediaType: string;
    readonly bytes: Uint8Array;
  },
): Promise<NameTarget> {
  const { registry, credentials, signal } = push;
  const { reference, mediaType, bytes } = document;
  const stored = await registry.pushManifest(reference, {
    mediaType,
    bytes,
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
  });
  const digest = digestOf(bytes);
  if (stored !== digest) {
    throw new EngineError(
      "data-loss",
      `the registry stored the manifest ${digest} of ${familiarString(reference)} as ${stored}`,
    );
  }
  return { digest, mediaType, sizeBytes: bytes.length };
}
