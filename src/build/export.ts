/** What becomes of a build's result: images, archives, folders. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import type { Digest } from "../oci/digest.ts";
import { encodeInlineCache, inlineCacheField } from "../oci/cache-config.ts";
import type { ImageConfig } from "../oci/image-config.ts";
import { choosePlatform, formatPlatform, hostPlatform } from "../oci/platform.ts";
import {
  familiarName,
  formatReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../oci/reference.ts";
import type { CreatedImage } from "../image/image-service.ts";
import { openDiff } from "../snapshot/diff-client.ts";
import { mountOverlay, unmount } from "../sys/mount.ts";
import { annotationsAt, annotationsOf, checkAnnotations } from "./annotations.ts";
import { openArchive, packForArchive } from "./archive.ts";
import type { BuildOutput, BuildRequest } from "./build-service.ts";
import type { BuildServiceOptions } from "./environment.ts";
import type { Graph } from "./graph.ts";
import { imageIdOf, makeImageConfig } from "./image-config.ts";
import type { Progress, VertexProgress } from "./progress.ts";
import { inlineRecords } from "./cache/write-cache.ts";
import { type BuiltLayer, chainIdOf, type MadeLayer, type StepResult } from "./step.ts";

/** What one platform has come to. */
export interface PlatformResult {
  readonly graph: Graph;
  readonly result: StepResult;
}

/** What was exported, for the answer. */
export interface Exported {
  readonly imageId?: Digest;
  readonly digest?: Digest;
  readonly metadata: Readonly<Record<string, string>>;
}

/** How results are exported. */
export interface ExportOptions {
  readonly options: BuildServiceOptions;
  readonly request: BuildRequest;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Holds what the build makes, until it ends. */
  readonly leaseId: string;
  /** The image that the result was made from, where each instruction's is kept. */
  readonly parentId?: Digest;
  /** Layers by the content keys of their steps, where images are to tell them. */
  readonly inlineLayers?: ReadonlyMap<Digest, MadeLayer>;
}

/** Exports the results of a build in all the ways that it asks for. */
export async function exportResults(
  how: ExportOptions,
  results: readonly PlatformResult[],
): Promise<Exported> {
  let exported: Exported = { metadata: {} };
  for (const [index, output] of how.request.outputs.entries()) {
    const made = await exportOne(how, { results, output, index });
    exported = {
      ...exported,
      ...made,
      metadata: { ...exported.metadata, ...made.metadata },
    };
  }
  return exported;
}

interface OneExport {
  readonly results: readonly PlatformResult[];
  readonly output: BuildOutput;
  /** Number of the output. */
  readonly index: number;
}

async function exportOne(how: ExportOptions, one: OneExport): Promise<Exported> {
  const { output } = one;
  switch (output.kind) {
    case "image":
      return await how.progress.during(
        "exporting to image",
        async (vertex) => await exportImage(how, { ...one, names: output.names, vertex }),
      );
    case "docker":
    case "oci":
      return await how.progress.during(
        `exporting to ${output.kind} image format`,
        async (vertex) => await exportArchive(how, { ...one, output, names: output.names, vertex }),
      );
    case "local":
      return await how.progress.during("exporting to client directory", async (vertex) => {
        await exportFolder(how, { ...one, vertex });
        return { metadata: {} };
      });
    case "tar":
      return await how.progress.during("exporting to client tarball", async (vertex) => {
        await exportTar(how, { ...one, vertex });
        return { metadata: {} };
      });
  }
}

type ImageExport = OneExport & {
  readonly names: readonly string[];
  readonly vertex: VertexProgress;
};

async function exportImage(how: ExportOptions, wanted: ImageExport): Promise<Exported> {
  const { vertex } = wanted;
  const names = wanted.names.map((name) => withDefaultTag(parseReference(name)));
  const isAlone = wanted.results.length === 1;
  const annotations = annotationsOf(wanted.output);
  const results = hostFirst(wanted.results);
  const platforms = results.map(({ graph }) => graph.platform);
  checkAnnotations(annotations, { platforms, hasIndex: !isAlone, hasLayout: false });
  vertex.status({ id: "exporting layers", current: 0 });
  const images: CreatedImage[] = [];
  for (const each of results) {
    const draft = draftOf(how, each);
    const { platform } = each.graph;
    const { parentId } = how;
    const isParent = parentId === undefined || parentId === imageIdOf(draft.config);
    images.push(
      await how.options.images.create({
        ...draft,
        ...(isParent ? {} : { parentId }),
        ...annotationsAt(annotations, { level: "manifest", platform }),
        ...mediaTypesOf(wanted),
        names: isAlone ? names : [],
        signal: how.signal,
      }),
    );
  }
  vertex.status({ id: "exporting layers", current: 0, isCompleted: true });
  for (const { id } of images) {
    vertex.status({ id: `writing image ${id}`, current: 0, isCompleted: true });
  }
  const [first] = images;
  if (first === undefined) throw new EngineError("internal", "export image: nothing was built");
  const index = isAlone
    ? undefined
    : await how.options.images.createIndex({
        images: images.map(({ id }) => id),
        names,
        ...annotationsAt(annotations, { level: "index" }),
        imageAnnotations: platforms.map(
          (platform) =>
            annotationsAt(annotations, { level: "manifest-descriptor", platform }).annotations,
        ),
      });
  for (const name of names) {
    const id = `naming to ${formatReference(name)}`;
    vertex.status({ id, current: 0, isCompleted: true });
  }
  let digest = index ?? first.id;
  if (wanted.output.kind === "image" && wanted.output.isPushed) {
    for (const name of names) await push(how, { name, vertex });
    digest = index ?? first.manifestDigest;
  }
  return {
    imageId: first.id,
    digest,
    metadata: metadataOf({ config: first.id, digest, names }),
  };
}

/** The documents' format. @throws not-implemented for an index of Docker's format */
function mediaTypesOf({ output, results }: OneExport): { readonly mediaTypes?: "docker" } {
  if (output.kind !== "image" || output.mediaTypes !== "docker") return {};
  if (results.length === 1) return { mediaTypes: "docker" };
  throw new EngineError(
    "not-implemented",
    "oci-mediatypes=false is not supported for several platforms: their index is OCI's",
  );
}

function metadataOf(made: {
  readonly config: Digest;
  readonly digest: Digest;
  readonly names: readonly Reference[];
}): Readonly<Record<string, string>> {
  const { config, digest, names } = made;
  return {
    "containerimage.config.digest": config,
    "containerimage.digest": digest,
    ...(names.length === 0 ? {} : { "image.name": names.map(formatReference).join(",") }),
  };
}

/** The image that this machine runs goes before the others. */
function hostFirst(results: readonly PlatformResult[]): readonly PlatformResult[] {
  const best = choosePlatform(
    hostPlatform(),
    results.map(({ graph }) => graph.platform),
  );
  const first = best === undefined ? undefined : results[best];
  if (first === undefined) return results;
  return [first, ...results.filter((each) => each !== first)];
}

function draftOf(
  how: ExportOptions,
  { graph, result }: PlatformResult,
): { readonly config: ImageConfig; readonly layers: readonly BuiltLayer[] } {
  const { sourceDateEpoch: epochS } = how.request;
  const { layers } = result;
  const epoch = epochS === undefined ? {} : { epochS };
  const config = makeImageConfig(graph.draft, { layers, ...epoch });
  if (how.inlineLayers === undefined) return { config, layers };
  const records = inlineRecords(layers, how.inlineLayers);
  if (records.length === 0) return { config, layers };
  const withCache = { ...config, [inlineCacheField]: encodeInlineCache(records) };
  return { config: withCache, layers };
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

/** An image as an archive; the image store is not touched. */
async function exportArchive(
  how: ExportOptions,
  wanted: ImageExport & { readonly output: Extract<BuildOutput, { kind: "docker" | "oci" }> },
): Promise<Exported> {
  const { vertex, output, results } = wanted;
  if (output.kind === "docker" && results.length > 1) {
    throw new EngineError(
      "invalid-argument",
      "docker exporter does not currently support exporting manifest lists",
    );
  }
  if (!output.isTar) {
    throw new EngineError("not-implemented", "an image layout is exported as a tar only: tar=true");
  }
  const names = wanted.names.map((name) => withDefaultTag(parseReference(name)));
  const annotations = annotationsOf(output);
  checkAnnotations(annotations, {
    platforms: results.map(({ graph }) => graph.platform),
    hasIndex: results.length > 1,
    hasLayout: true,
  });
  vertex.status({ id: "exporting layers", current: 0 });
  const packing = { ...output, leaseId: how.leaseId, signal: how.signal };
  const archive = openArchive(how.options, {
    images: await Promise.all(
      results.map(async (each) => {
        const { config, layers } = draftOf(how, each);
        const packed = await packForArchive(how.options, layers, packing);
        return { config, layers: packed, platform: each.graph.platform };
      }),
    ),
    names,
    annotations,
    isDocker: output.kind === "docker",
    signal: how.signal,
  });
  vertex.status({ id: "exporting layers", current: 0, isCompleted: true });
  const { configDigest: config, digest } = archive;
  vertex.status({ id: `exporting manifest ${digest}`, current: 0, isCompleted: true });
  vertex.status({ id: `exporting config ${config}`, current: 0, isCompleted: true });
  vertex.status({ id: "sending tarball", current: 0 });
  await how.request.client.sendTar(archive.stream, { index: wanted.index });
  vertex.status({ id: "sending tarball", current: 0, isCompleted: true });
  return { digest, metadata: metadataOf({ config, digest, names }) };
}

async function exportTar(
  how: ExportOptions,
  wanted: OneExport & { readonly vertex: VertexProgress },
): Promise<void> {
  const [only, ...more] = wanted.results;
  if (only === undefined) return;
  if (more.length > 0) {
    throw new EngineError("not-implemented", "a tar of several platforms is not written yet");
  }
  const chainId = chainIdOf(only.result);
  wanted.vertex.status({ id: "sending tarball", current: 0 });
  const tar =
    chainId === undefined
      ? new Blob([new Uint8Array(1024)]).stream()
      : openDiff(
          { ...how.options.snapshots.layersOf(chainId), content: "tree" },
          { signal: how.signal },
        );
  await how.request.client.sendTar(tar, { index: wanted.index });
  wanted.vertex.status({ id: "sending tarball", current: 0, isCompleted: true });
}

async function exportFolder(
  how: ExportOptions,
  wanted: OneExport & { readonly vertex: VertexProgress },
): Promise<void> {
  const root = join(how.options.execRoot, "builds", createId());
  mkdirSync(root, { recursive: true, mode: 0o755 });
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rmSync(root, { recursive: true, force: true }));
  const splits = wanted.results.length > 1;
  let path = root;
  for (const { graph, result } of wanted.results) {
    const name = formatPlatform(graph.platform).replaceAll("/", "_");
    const target = splits ? join(root, name) : join(root, "files");
    mkdirSync(target, { mode: 0o755 });
    path = splits ? root : target;
    const shown = showFiles(how, { result, target });
    if (shown !== undefined) undo.defer(shown.close);
    if (shown !== undefined && !splits) path = shown.path;
  }
  wanted.vertex.status({ id: "copying files", current: 0 });
  await how.request.client.sendFolder(path, { index: wanted.index });
  wanted.vertex.status({ id: "copying files", current: 0, isCompleted: true });
}

/** Shows a result's files as one folder at `target`; undefined for none. */
function showFiles(
  how: ExportOptions,
  wanted: { readonly result: StepResult; readonly target: string },
): { readonly path: string; readonly close: () => void } | undefined {
  const chainId = chainIdOf(wanted.result);
  if (chainId === undefined) return undefined;
  const { kind, dir, parentDirs } = how.options.snapshots.layersOf(chainId);
  if (kind === "copy") return { path: dir, close: () => undefined };
  const lowerDirs = [dir, ...parentDirs];
  mountOverlay({ lowerDirs, target: wanted.target });
  return { path: wanted.target, close: () => void unmount(wanted.target, { detach: true }) };
}
