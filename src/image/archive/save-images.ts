import { noSuchImage } from "../../lib/docker-messages.ts";
import { EngineError as Failure, isKind, messageOf } from "../../lib/errors.ts";
import { toReadableStream } from "../../lib/stream-limit.ts";
import { encodeTarEnd, encodeTarHeader, encodeTarPadding } from "../../lib/tar/tar-writer.ts";
import type { Digest } from "../../oci/digest.ts";
import { layoutBlobPath } from "../../oci/layout.ts";
import { formatPlatform, matchPlatform, type Platform } from "../../oci/platform.ts";
import { findReference, referenceName } from "../../oci/reference.ts";
import { imagePlatform } from "../../oci/image-config.ts";
import { holdBound, holdImage } from "../hold-image.ts";
import type { ImageIndex } from "../image-index.ts";
import type { ImageRecord } from "../image-records.ts";
import { type SavedImage, type SavedName, savedDocuments } from "./_saved-documents.ts";
import { addBlob, addLayer, type BlobSources, findIndexBlobs } from "./saved-index.ts";
import type { ImageContext } from "../context.ts";
import { publishImageEvent } from "../publish-event.ts";

/** What to save. */
export interface SaveOptions {
  readonly references: readonly string[];
  /** Only this one; without, all platforms of a name where all of them are here. */
  readonly platform?: Platform;
  readonly signal?: AbortSignal;
}

/**
 * One tar that is a docker-archive and an OCI layout at once, as Docker 25 and newer write it: the
 * same bytes for the same images. Blobs are held by a lease until the stream ends.
 */
export async function saveImages(
  context: ImageContext,
  options: SaveOptions,
): Promise<ReadableStream<Uint8Array>> {
  const { leases, index, logger } = context;
  options.signal?.throwIfAborted();
  const leaseId = leases.create();
  let images: readonly SavedImage[] = [];
  const done = async (): Promise<void> => {
    if (!leases.remove(leaseId)) return;
    // What was removed meanwhile was kept for this alone.
    if (images.some(({ record }) => index.findById(record.id) === undefined)) {
      await context.collect();
    }
  };
  const abandon = (): void =>
    void done().catch((error: unknown) => {
      logger.warn("collect what an abandoned save has kept", { error: messageOf(error) });
    });
  // Of a stream that nobody begins to read no end is told.
  options.signal?.addEventListener("abort", abandon, { once: true });
  try {
    images = await chooseImages(context, { ...options, leaseId });
    const sources = blobSources(context, { images, ...options });
    for (const { record } of images) {
      publishImageEvent(context, { action: "save", record, name: record.id });
    }
    return toReadableStream(writeArchive({ images, sources, done }));
  } catch (error) {
    await done();
    throw error;
  }
}

async function chooseImages(
  context: ImageContext,
  options: SaveOptions & { readonly leaseId: string },
): Promise<readonly SavedImage[]> {
  if (options.references.length === 0) {
    throw new Failure("invalid-argument", "no image is named: name at least one to save");
  }
  const chosen = new Map<Digest, { record: ImageRecord; names: Set<string> }>();
  for (const reference of options.references) {
    for (const { record, name } of findMeant(context.index, { reference, ...options })) {
      const entry = chosen.get(record.id) ?? { record, names: new Set<string>() };
      if (name !== undefined) entry.names.add(name);
      chosen.set(record.id, entry);
    }
  }
  for (const { record, names } of chosen.values()) hold(context, { record, names, ...options });
  const images: SavedImage[] = [];
  for (const { record, names } of chosen.values()) {
    const saved: SavedName[] = [];
    for (const name of names) {
      const target = options.platform ? undefined : context.index.findName(name)?.target;
      const sources = target === undefined ? undefined : await findIndexBlobs(context, target);
      const hasIndex = target !== undefined && sources !== undefined;
      saved.push(hasIndex ? { name, index: { target, sources } } : { name });
    }
    images.push({ record, names: saved });
  }
  return images;
}

/** Keeps what is chosen, before anything is waited for. */
function hold(
  context: ImageContext,
  chosen: {
    readonly record: ImageRecord;
    readonly names: Iterable<string>;
    readonly leaseId: string;
  },
): void {
  const { record, names, leaseId } = chosen;
  holdImage(context, { record, leaseId });
  for (const name of names) {
    const bound = context.index.findName(name);
    if (bound !== undefined) holdBound(context, { bound, leaseId });
  }
}

interface MeantImage {
  readonly record: ImageRecord;
  readonly name?: string;
}

/** A repository means all of its tags, an ID no name. Docker: the same, seen in 28.5. */
function findMeant(
  index: ImageIndex,
  options: { readonly reference: string; readonly platform?: Platform },
): readonly MeantImage[] {
  const { reference } = options;
  const parsed = index.isFullOrShortId(reference) ? undefined : findReference(reference);
  if (parsed === undefined || parsed.digest !== undefined)
    return [{ record: pick(index, options) }];
  const repository = referenceName(parsed);
  if (parsed.tag !== undefined) {
    return [{ record: pick(index, options), name: `${repository}:${parsed.tag}` }];
  }
  const names = index
    .listNames()
    .map(([name]) => name)
    .filter((name) => name.startsWith(`${repository}:`))
    .toSorted();
  if (names.length === 0) return [{ record: pick(index, options) }];
  return names.map((name) => ({ record: pick(index, { ...options, name }), name }));
}

/** Docker: no tag is added to the name that is not there, seen in 28.5. */
function pick(
  index: ImageIndex,
  options: {
    readonly reference: string;
    readonly name?: string;
    readonly platform?: Platform;
  },
): ImageRecord {
  const { reference, platform, name = reference } = options;
  try {
    const ofPlatform = platform === undefined ? undefined : index.findPlatform(name, platform);
    const record = ofPlatform ?? index.find(name);
    refuseOtherPlatform(index.config(record), options);
    return record;
  } catch (error) {
    if (isKind(error, "not-found") && error.details["isPlatform"] !== true) {
      throw noSuchImage(reference);
    }
    throw error;
  }
}

function refuseOtherPlatform(
  config: Parameters<typeof imagePlatform>[0],
  { reference, platform }: { readonly reference: string; readonly platform?: Platform },
): void {
  if (platform === undefined || matchPlatform(platform, imagePlatform(config))) return;
  const { message } = noSuchImage(reference);
  throw new Failure("not-found", `${message}: it is not there for ${formatPlatform(platform)}`, {
    details: { isPlatform: true },
  });
}

async function* writeArchive(options: {
  readonly images: readonly SavedImage[];
  readonly sources: BlobSources;
  readonly done: () => Promise<void>;
}): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield encodeTarHeader({ name: "blobs/", type: "directory", mode: 0o755 });
    yield encodeTarHeader({ name: "blobs/sha256/", type: "directory", mode: 0o755 });
    for (const [digest, { sizeBytes, open }] of [...options.sources].toSorted(byDigest)) {
      yield encodeTarHeader({ name: layoutBlobPath(digest), sizeBytes, mode: 0o644 });
      yield* open();
      yield encodeTarPadding(sizeBytes);
    }
    for (const [name, bytes] of savedDocuments(options.images)) {
      yield encodeTarHeader({ name, sizeBytes: bytes.length, mode: 0o644 });
      yield bytes;
      yield encodeTarPadding(bytes.length);
    }
    yield encodeTarEnd();
  } finally {
    await options.done();
  }
}

/** All blobs of the images; layers without one are made. */
function blobSources(
  context: ImageContext,
  options: { readonly images: readonly SavedImage[]; readonly signal?: AbortSignal },
): BlobSources {
  const sources: BlobSources = new Map();
  for (const { record, names } of options.images) {
    for (const { index } of names) {
      for (const [digest, source] of index?.sources ?? []) sources.set(digest, source);
    }
    for (const digest of [record.id, record.manifestDigest]) {
      if (addBlob(context, sources, digest)) continue;
      throw new Failure("data-loss", `the blob ${digest} of ${record.id} is missing`);
    }
    for (const layer of record.layers) {
      if (addLayer(context, sources, layer, options)) continue;
      throw new Failure("data-loss", `the layer ${layer.digest} of ${record.id} is missing`);
    }
  }
  return sources;
}

function byDigest(left: readonly [Digest, unknown], right: readonly [Digest, unknown]): number {
  return left[0] < right[0] ? -1 : 1;
}
