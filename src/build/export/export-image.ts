/** A result as an image of the store, and from there in registries. */
import type { CreatedImage, IndexAttachment } from "../../image/image-service.ts";
import { EngineError } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestOf } from "../../oci/digest.ts";
import { imagePlatform } from "../../oci/image-config.ts";
import { encodeIndex } from "../../oci/manifest.ts";
import { dockerMediaTypes, ociMediaTypes } from "../../oci/media-types.ts";
import {
  familiarName,
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../../oci/reference.ts";
import { annotationsAt, annotationsOf, checkAnnotations } from "./annotations.ts";
import { attestImage, isAttested } from "../attestation/attest.ts";
import type { BuildOutput } from "../build-service.ts";
import { imageIdOf } from "../graph/image-config.ts";
import type { VertexProgress } from "../progress/progress.ts";
import { draftOf, hostFirst, metadataOf, packLayers, shownNames } from "./image-parts.ts";
import { pushByDigest } from "./push-by-digest.ts";
import type { Exported, ExportOptions, PlatformResult } from "./result.ts";

type ImageOutput = Extract<BuildOutput, { kind: "image" }>;

/** How one image output is made. */
export interface ImageExport {
  readonly results: readonly PlatformResult[];
  readonly output: ImageOutput;
  readonly vertex: VertexProgress;
}

/** An image that is stored, with what an index says of it. */
interface StoredImage {
  readonly result: PlatformResult;
  readonly image: CreatedImage;
  /** As an index names it. */
  readonly descriptor: Descriptor;
}

/** Stores the images of all platforms, names them, and sends them where that is wanted. */
export async function exportImage(how: ExportOptions, wanted: ImageExport): Promise<Exported> {
  const { vertex, output } = wanted;
  const isByDigest = output.isByDigest === true;
  const names = output.names.map((name) =>
    isByDigest ? parseReference(name) : withDefaultTag(parseReference(name)),
  );
  const shown = shownNames(output.names);
  // A digest that documents tell must be that of what is sent: its layers are packed before.
  const isIndexed = wanted.results.length > 1 || isAttested(how);
  const isPacked =
    isIndexed || isByDigest || output.compression !== undefined || output.isForced === true;
  checkDocuments(how, { ...wanted, isIndexed });
  vertex.status({ id: "exporting layers", current: 0 });
  const stored: StoredImage[] = [];
  for (const result of hostFirst(wanted.results)) {
    const isNamed = !isIndexed && !isByDigest;
    stored.push(await storeImage(how, { result, names: isNamed ? names : [], isPacked, output }));
  }
  vertex.status({ id: "exporting layers", current: 0, isCompleted: true });
  for (const { image } of stored) {
    vertex.status({ id: `writing image ${image.id}`, current: 0, isCompleted: true });
  }
  const [first] = stored;
  if (first === undefined) throw new EngineError("internal", "export image: nothing was built");
  const top = isIndexed
    ? await storeIndex(how, { stored, names: isByDigest ? [] : names, wanted })
    : first.descriptor;
  if (isByDigest) {
    if (output.isPushed) await pushAllByDigest(how, { names, top, vertex });
  } else {
    for (const name of shown) {
      vertex.status({ id: `naming to ${name}`, current: 0, isCompleted: true });
    }
    if (output.isPushed) for (const name of names) await push(how, { name, vertex });
  }
  const config = first.image.id;
  // Docker: an image that stays here is told by its ID, seen in 28.5
  const digest = isIndexed || output.isPushed ? top.digest : config;
  const { platform: _, ...descriptor } = top;
  return {
    imageId: config,
    digest,
    metadata: metadataOf({ config, digest, names: shown, descriptor }),
    isSynced: stored.some(({ image }) => image.isSynced === true),
  };
}

/** @throws invalid-argument, not-implemented for what the documents of this image cannot hold */
function checkDocuments(
  how: ExportOptions,
  { output, results, isIndexed }: ImageExport & { readonly isIndexed: boolean },
): void {
  checkAnnotations(annotationsOf(output), {
    platforms: results.map(({ graph }) => graph.platform),
    hasIndex: isIndexed,
    hasLayout: false,
  });
  if (output.mediaTypes !== "docker" || !isIndexed) return;
  const what = isAttested(how) ? "attestations" : "several platforms";
  throw new EngineError(
    "not-implemented",
    `oci-mediatypes=false is not supported for ${what}: their index is OCI's`,
  );
}

async function storeImage(
  how: ExportOptions,
  wanted: {
    readonly result: PlatformResult;
    readonly names: readonly Reference[];
    readonly isPacked: boolean;
    readonly output: ImageOutput;
  },
): Promise<StoredImage> {
  const { result, names, isPacked, output } = wanted;
  const { config, layers } = draftOf(how, result);
  const { parentId } = how;
  const isParent = parentId === undefined || parentId === imageIdOf(config);
  const { compression: packing = "gzip", isForced = false, mediaTypes } = output;
  const { platform } = result.graph;
  const image = await how.options.images.create({
    config,
    layers: isPacked ? await packLayers(how, layers, { packing, isForced }) : layers,
    ...(isParent ? {} : { parentId }),
    ...annotationsAt(annotationsOf(output), { level: "manifest", platform }),
    ...(mediaTypes === undefined ? {} : { mediaTypes }),
    names,
    signal: how.signal,
  });
  how.options.leases.add(how.leaseId, `content:${image.id}`);
  const digest = image.manifestDigest;
  how.options.leases.add(how.leaseId, `content:${digest}`);
  const { sizeBytes: size } = how.options.content.get(digest);
  const mediaType = mediaTypes === "docker" ? dockerMediaTypes.manifest : ociMediaTypes.manifest;
  const descriptor = { mediaType, digest, size, platform: imagePlatform(config) };
  return { result, image, descriptor };
}

/** Stores an index of images and of what is attested of them. @returns its descriptor */
async function storeIndex(
  how: ExportOptions,
  made: {
    readonly stored: readonly StoredImage[];
    readonly names: readonly Reference[];
    readonly wanted: ImageExport;
  },
): Promise<Descriptor> {
  const { stored, names, wanted } = made;
  const { options, leaseId } = how;
  const annotations = annotationsOf(wanted.output);
  const imageAnnotations = stored.map(({ descriptor: { platform } }) =>
    platform === undefined
      ? undefined
      : annotationsAt(annotations, { level: "manifest-descriptor", platform }).annotations,
  );
  const ofIndex = annotationsAt(annotations, { level: "index" });
  const attachments: IndexAttachment[] = [];
  for (const { result, descriptor } of isAttested(how) ? stored : []) {
    const about = { result, manifest: descriptor.digest, names };
    const attested = await attestImage(how, about);
    for (const { bytes, descriptor: blob } of attested.blobs) {
      options.leases.add(leaseId, `content:${blob.digest}`);
      await options.content.put(bytes);
    }
    const { digest } = attested.descriptor;
    const id = `exporting attestation manifest ${digest}`;
    wanted.vertex.status({ id, current: 0, isCompleted: true });
    const blobs = attested.blobs.map((blob) => blob.descriptor.digest);
    attachments.push({ descriptor: attested.descriptor, blobs });
  }
  const bytes = encodeIndex({
    schemaVersion: 2,
    mediaType: ociMediaTypes.index,
    manifests: [
      ...stored.map(({ descriptor }, at) => ({
        ...descriptor,
        ...(imageAnnotations[at] === undefined ? {} : { annotations: imageAnnotations[at] }),
      })),
      ...attachments.map(({ descriptor }) => descriptor),
    ],
    ...ofIndex,
  });
  const digest = digestOf(bytes);
  options.leases.add(leaseId, `content:${digest}`);
  const kept = await options.images.createIndex({
    images: stored.map(({ image }) => image.id),
    names,
    ...ofIndex,
    imageAnnotations,
    attachments,
  });
  if (kept !== digest) {
    throw new EngineError("internal", `export image: the index ${digest} was stored as ${kept}`);
  }
  const id = `exporting manifest list ${digest}`;
  wanted.vertex.status({ id, current: 0, isCompleted: true });
  return { mediaType: ociMediaTypes.index, digest, size: bytes.length };
}

async function push(
  how: ExportOptions,
  wanted: { readonly name: Reference; readonly vertex: VertexProgress },
): Promise<void> {
  const { name, vertex } = wanted;
  const credentials = await how.request.client.credentials(name.domain);
  const shown = formatReference(name);
  vertex.status({ id: `pushing ${shown}`, current: 0 });
  await how.options.images.push(familiarName(name), {
    ...(name.tag === undefined ? {} : { tag: name.tag }),
    ...(credentials === undefined ? {} : { credentials }),
    progress: ({ id, progressDetail }) => {
      if (id === undefined || progressDetail === undefined) return;
      const { current = 0, total = 0 } = progressDetail;
      vertex.status({ id: `pushing ${id}`, current, total });
    },
    signal: how.signal,
  });
  vertex.status({ id: `pushing ${shown}`, current: 0, isCompleted: true });
}

async function pushAllByDigest(
  how: ExportOptions,
  wanted: {
    readonly names: readonly Reference[];
    readonly top: Descriptor;
    readonly vertex: VertexProgress;
  },
): Promise<void> {
  const { options, request, signal } = how;
  for (const name of wanted.names) {
    if (name.tag !== undefined) {
      throw new EngineError("invalid-argument", "can't push tagged ref by digest");
    }
    const credentials = await request.client.credentials(name.domain);
    const shown = `${formatReference(name)}@${wanted.top.digest}`;
    wanted.vertex.status({ id: `pushing ${shown}`, current: 0 });
    await pushByDigest(options, {
      repository: name,
      top: wanted.top,
      signal,
      ...(credentials === undefined ? {} : { credentials }),
    });
    wanted.vertex.status({ id: `pushing ${shown}`, current: 0, isCompleted: true });
  }
}
