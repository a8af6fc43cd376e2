/** The files of results, as a folder or a tar of the client's. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createId } from "../../lib/id.ts";
import { digestOf } from "../../oci/digest.ts";
import { formatPlatform } from "../../oci/platform.ts";
import { openDiff } from "../../snapshot/diff/diff-client.ts";
import { mountOverlay, unmount } from "../../sys/mount/mount.ts";
import { attestResult, isAttested } from "../attestation/attest.ts";
import { sbomType } from "../attestation/sbom.ts";
import type { VertexProgress } from "../progress/progress.ts";
import { chainIdOf, type StepResult } from "../step.ts";
import type { ExportOptions, PlatformResult } from "./result.ts";

/** How files go out. */
export interface FilesExport {
  readonly results: readonly PlatformResult[];
  /** Number of the output. */
  readonly index: number;
  /** Whether each platform has a folder of its own; so when absent and there are several. */
  readonly splitsPlatforms?: boolean;
  readonly vertex: VertexProgress;
}

/** Sends a tar of the files. */
export async function exportTar(how: ExportOptions, wanted: FilesExport): Promise<void> {
  const { request, options, signal } = how;
  wanted.vertex.status({ id: "sending tarball", current: 0 });
  const [only, ...others] = wanted.results;
  const chainId = only === undefined ? undefined : chainIdOf(only.result);
  const isPlain = others.length === 0 && wanted.splitsPlatforms !== true && !isAttested(how);
  await using shown = isPlain && chainId !== undefined ? undefined : await showResults(how, wanted);
  const tar = openDiff(
    shown === undefined
      ? { ...options.snapshots.layersOf(chainId ?? ""), content: "tree" }
      : { kind: "copy", dir: shown.path, parentDirs: [], content: "tree" },
    { signal },
  );
  await request.client.sendTar(tar, { index: wanted.index });
  wanted.vertex.status({ id: "sending tarball", current: 0, isCompleted: true });
}

/** Sends the files themselves. */
export async function exportFolder(how: ExportOptions, wanted: FilesExport): Promise<void> {
  await using shown = await showResults(how, wanted);
  wanted.vertex.status({ id: "copying files", current: 0 });
  await how.request.client.sendFolder(shown.path, { index: wanted.index });
  wanted.vertex.status({ id: "copying files", current: 0, isCompleted: true });
}

interface ShownFolder extends AsyncDisposable {
  readonly path: string;
}

/** One folder with the files of all results, and with what is attested of them. */
async function showResults(how: ExportOptions, wanted: FilesExport): Promise<ShownFolder> {
  const root = join(how.options.execRoot, "builds", createId());
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, "files"), { recursive: true, mode: 0o755 });
  const splits = wanted.splitsPlatforms ?? wanted.results.length > 1;
  let path = join(root, "files");
  for (const [number, each] of wanted.results.entries()) {
    const name = formatPlatform(each.graph.platform).replaceAll("/", "_");
    const target = splits ? join(root, "files", name) : join(root, "files");
    const added = join(root, `added${number}`);
    mkdirSync(target, { recursive: true, mode: 0o755 });
    mkdirSync(added, { mode: 0o755 });
    const hasAdded = await writeAttestations(how, { result: each, folder: added });
    const below = hasAdded ? added : undefined;
    const shown = showFiles(how, { result: each.result, target, below });
    if (shown === undefined) continue;
    undo.defer(shown.close);
    if (!splits) path = shown.path;
  }
  const kept = undo.move();
  return { path, [Symbol.asyncDispose]: async () => await kept.disposeAsync() };
}

/** Writes statements as files. @returns whether there are any */
async function writeAttestations(
  how: ExportOptions,
  wanted: { readonly result: PlatformResult; readonly folder: string },
): Promise<boolean> {
  const { result, folder } = wanted;
  const subject = {
    names: [],
    digest: digestOf(chainIdOf(result.result) ?? ""),
    platform: result.graph.platform,
  };
  const made = await attestResult(how, result, subject);
  for (const { predicateType, statement } of made) {
    const name = predicateType === sbomType ? "sbom.spdx.json" : "provenance.json";
    writeFileSync(join(folder, name), statement, { mode: 0o644 });
  }
  return made.length > 0;
}

/** Shows a result's files at `target`, with those of `below`; undefined for none. */
function showFiles(
  how: ExportOptions,
  wanted: {
    readonly result: StepResult;
    readonly target: string;
    readonly below: string | undefined;
  },
): { readonly path: string; readonly close: () => void } | undefined {
  const { target, below } = wanted;
  const chainId = chainIdOf(wanted.result);
  const more = below === undefined ? [] : [below];
  const stack = chainId === undefined ? undefined : how.options.snapshots.layersOf(chainId);
  const lowerDirs = [...more, ...(stack === undefined ? [] : stackDirs(stack))];
  if (lowerDirs.length === 0) return undefined;
  mountOverlay({ lowerDirs, target });
  return { path: target, close: () => void unmount(target, { detach: true }) };
}

function stackDirs(stack: {
  readonly kind: "overlay" | "copy";
  readonly dir: string;
  readonly parentDirs: readonly string[];
}): readonly string[] {
  return stack.kind === "copy" ? [stack.dir] : [stack.dir, ...stack.parentDirs];
}
