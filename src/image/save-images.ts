import type { EngineError } from "../lib/errors.ts";
import { noSuchImage } from "../lib/docker-messages.ts";
import { EngineError as Failure, isKind } from "../lib/errors.ts";
import { toReadableStream } from "../lib/stream-limit.ts";
import { encodeTarEnd, encodeTarHeader, encodeTarPadding } from "../lib/tar-writer.ts";
import { chainId, type Digest, digestHex } from "../oci/digest.ts";
import {
  archiveManifestFile,
  archiveRepositoriesFile,
  encodeArchiveManifest,
  encodeRepositories,
} from "../oci/docker-archive.ts";
import {
  annotationKeys,
  encodeLayout,
  layoutBlobPath,
  layoutFile,
  layoutIndexFile,
} from "../oci/layout.ts";
import { encodeIndex } from "../oci/manifest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { formatPlatform, matchPlatform, type Platform } from "../oci/platform.ts";
import { familiarName, findReference, parseReference } from "../oci/reference.ts";
import { imagePlatform } from "../oci/image-config.ts";
import type { ImageRecord } from "./image-records.ts";
import { openLayer } from "./layer-source.ts";
import type { ImageContext } from "./local-image-service.ts";
import { publishImageEvent } from "./_publish-event.ts";

/** An image to save, and the names it goes by in the archive. */
interface SavedImage {
  readonly record: ImageRecord;
  readonly names: readonly string[];
}

/**
 * One tar that is a docker-archive and an OCI layout at once, as Docker 25 and newer write it: the
 * same bytes for the same images. Blobs are held by a lease until the stream ends.
 */
export async function saveImages(
  context: ImageContext,
  options: {
    readonly references: readonly string[];
    readonly platform?: Platform;
    readonly signal?: AbortSignal;
  },
): Promise<ReadableStream<Uint8Array>> {
  const images = chooseImages(context, options);
  const { leases } = context;
  const leaseId = leases.create();
  for (const { record } of images) {
    for (const digest of blobsOf(record)) leases.add(leaseId, `content:${digest}`);
    for (const { chainId: key } of record.layers) leases.add(leaseId, `snapshot:${key}`);
  }
  for (const { record } of images) {
    publishImageEvent(context, { action: "save", record, name: record.id });
  }
  await Promise.resolve();
  const { signal } = options;
  return toReadableStream(
    writeArchive(context, {
      images,
      done: () => leases.remove(leaseId),
      ...(signal === undefined ? {} : { signal }),
    }),
  );
}

function chooseImages(
  { index }: ImageContext,
  options: { readonly references: readonly string[]; readonly platform?: Platform },
): readonly SavedImage[] {
  if (options.references.length === 0) {
    throw new Failure("invalid-argument", "no image is named: name at least one to save");
  }
  const chosen = new Map<Digest, { record: ImageRecord; names: Set<string> }>();
  for (const reference of options.references) {
    const record = findAsGiven(index, reference);
    refuseOtherPlatform(index.config(record), { reference, ...options });
    const entry = chosen.get(record.id) ?? { record, names: new Set<string>() };
    for (const name of namesMeant(reference, index.namesOf(record.id))) entry.names.add(name);
    chosen.set(record.id, entry);
  }
  return [...chosen.values()].map(({ record, names }) => ({ record, names: [...names] }));
}

/** Docker: no tag is added to the name that is not there, seen in 28.5. */
function findAsGiven(index: ImageContext["index"], reference: string): ImageRecord {
  try {
    return index.find(reference);
  } catch (error) {
    if (isKind(error, "not-found")) throw noSuchImage(reference);
    throw error;
  }
}

/** A name without a tag means all of the repository's tags; an ID means no name. */
function namesMeant(reference: string, names: readonly string[]): readonly string[] {
  const parsed = findReference(reference);
  if (parsed === undefined || parsed.digest !== undefined) return [];
  const repository = `${parsed.domain}/${parsed.path}:`;
  if (parsed.tag === undefined) return names.filter((name) => name === `${repository}latest`);
  return names.filter((name) => name === `${repository}${parsed.tag}`);
}

function refuseOtherPlatform(
  config: Parameters<typeof imagePlatform>[0],
  { reference, platform }: { readonly reference: string; readonly platform?: Platform },
): void {
  if (platform === undefined || matchPlatform(platform, imagePlatform(config))) return;
  const error: EngineError = noSuchImage(reference);
  throw new Failure(
    "not-found",
    `${error.message}: it is not there for ${formatPlatform(platform)}`,
  );
}

function blobsOf(record: ImageRecord): readonly Digest[] {
  return [record.id, record.manifestDigest, ...record.layers.map((layer) => layer.digest)];
}

async function* writeArchive(
  context: ImageContext,
  options: {
    readonly images: readonly SavedImage[];
    readonly done: () => void;
    readonly signal?: AbortSignal;
  },
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield encodeTarHeader({ name: "blobs/", type: "directory", mode: 0o755 });
    yield encodeTarHeader({ name: "blobs/sha256/", type: "directory", mode: 0o755 });
    const sources = blobSources(context, options);
    for (const [digest, { sizeBytes, open }] of [...sources].toSorted(byDigest)) {
      yield encodeTarHeader({ name: layoutBlobPath(digest), sizeBytes, mode: 0o644 });
      yield* open();
      yield encodeTarPadding(sizeBytes);
    }
    for (const [name, bytes] of documents(options.images)) {
      yield encodeTarHeader({ name, sizeBytes: bytes.length, mode: 0o644 });
      yield bytes;
      yield encodeTarPadding(bytes.length);
    }
    yield encodeTarEnd();
  } finally {
    options.done();
  }
}

interface BlobSource {
  readonly sizeBytes: number;
  open(): ReadableStream<Uint8Array>;
}

/** All blobs of the images; layers without one are made. */
function blobSources(
  context: ImageContext,
  options: { readonly images: readonly SavedImage[]; readonly signal?: AbortSignal },
): ReadonlyMap<Digest, BlobSource> {
  const { content } = context;
  const sources = new Map<Digest, BlobSource>();
  for (const { record } of options.images) {
    for (const digest of [record.id, record.manifestDigest]) {
      const { sizeBytes } = content.get(digest);
      sources.set(digest, { sizeBytes, open: () => content.open(digest) });
    }
    for (const layer of record.layers) {
      const { digest, sizeBytes } = layer;
      sources.set(digest, { sizeBytes, open: () => openLayer(context, layer, options) });
    }
  }
  return sources;
}

function byDigest(left: readonly [Digest, unknown], right: readonly [Digest, unknown]): number {
  return left[0] < right[0] ? -1 : 1;
}

function documents(images: readonly SavedImage[]): readonly (readonly [string, Uint8Array])[] {
  const repositories = repositoriesOf(images);
  return [
    [
      layoutIndexFile,
      encodeIndex({
        schemaVersion: 2,
        mediaType: ociMediaTypes.index,
        manifests: images.flatMap(indexEntries),
      }),
    ],
    [archiveManifestFile, encodeArchiveManifest(images.map(archiveEntry))],
    [layoutFile, encodeLayout()],
    ...(Object.keys(repositories).length === 0
      ? []
      : [[archiveRepositoriesFile, encodeRepositories(repositories)] as const]),
  ];
}

/** One descriptor a name, as Docker writes it; one without names for an image that has none. */
function indexEntries({ record, names }: SavedImage): readonly Descriptor[] {
  const base = {
    mediaType: record.manifestMediaType,
    digest: record.manifestDigest,
    size: record.manifestSizeBytes,
  };
  if (names.length === 0) return [base];
  return names.map((name) => ({
    ...base,
    annotations: {
      [annotationKeys.containerdName]: name,
      [annotationKeys.refName]: parseReference(name).tag ?? "latest",
    },
  }));
}

function archiveEntry({
  record,
  names,
}: SavedImage): Parameters<typeof encodeArchiveManifest>[0][number] {
  return {
    Config: layoutBlobPath(record.id),
    RepoTags: names.map((name) => {
      const reference = parseReference(name);
      return `${familiarName(reference)}:${reference.tag ?? "latest"}`;
    }),
    Layers: record.layers.map((layer) => layoutBlobPath(layer.digest)),
    LayerSources: Object.fromEntries(
      record.layers.map((layer) => [
        layer.diffId,
        { mediaType: layer.mediaType, size: layer.sizeBytes, digest: layer.digest },
      ]),
    ),
  };
}

/** For clients before manifest.json: repository → tag → ID of the top layer. */
function repositoriesOf(images: readonly SavedImage[]): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { record, names } of images) {
    if (record.layers.length === 0) continue;
    const top = digestHex(chainId(record.layers.map((layer) => layer.diffId)));
    for (const name of names) {
      const reference = parseReference(name);
      const repository = familiarName(reference);
      repositories[repository] = { ...repositories[repository], [reference.tag ?? "latest"]: top };
    }
  }
  return repositories;
}
