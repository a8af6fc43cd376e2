/** One layer in place of all that a build has made. */
import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createId } from "../lib/id.ts";
import { nowNs } from "../lib/time.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { openDiff } from "../snapshot/diff/diff-client.ts";
import { unpackSnapshot } from "../snapshot/unpack/unpack-snapshot.ts";
import { mountOverlay, unmount } from "../sys/mount/mount.ts";
import { removeTree } from "../sys/fs/fs.ts";
import type { BuildServiceOptions } from "./environment.ts";
import type { PlatformResult } from "./export/result.ts";
import { type MadeLayer, stepSnapshotPrefix } from "./step.ts";

type SquashOptions = Pick<
  BuildServiceOptions,
  "snapshots" | "unpacker" | "hasher" | "leases" | "dataRoot"
>;

/** What is to become one layer. */
interface Span {
  /** Chain ID of the uppermost layer. */
  readonly top: Digest;
  /** Chain ID of the base's; undefined when there is none. */
  readonly below: Digest | undefined;
  readonly epochS?: number;
}

/**
 * Makes one layer, on the base image's own, of all that a build has made: what it took away within is
 * in no layer any more.
 *
 * The history stays to be read; its last entry tells of the merge and has the layer.
 */
export async function squashResult(
  options: SquashOptions,
  wanted: {
    readonly solved: PlatformResult;
    /** Holds the layer. */
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<PlatformResult> {
  const { solved, leaseId, signal } = wanted;
  const { layers } = solved.result;
  const made = layers.filter((layer) => "createdNs" in layer);
  const top = made.at(-1);
  if (top === undefined || made.length === 1) return solved;
  const kept = layers.slice(0, -made.length);
  const span: Span = {
    top: top.chainId,
    below: kept.at(-1)?.chainId,
    ...(top.epochS === undefined ? {} : { epochS: top.epochS }),
  };
  const scratch = join(options.dataRoot, "build", "scratch", createId());
  mkdirSync(scratch, { recursive: true, mode: 0o700 });
  try {
    const blobPath = join(scratch, "layer.tar");
    await writeChanges(options, { span, scratch, blobPath, signal });
    const layer = await makeLayer(options, { span, blobPath, leaseId, signal });
    const { below } = span;
    const comment =
      below === undefined ? `create new from ${span.top}` : `merge ${span.top} to ${below}`;
    return {
      graph: { ...solved.graph, draft: solved.graph.draft.squash(comment) },
      result: { layers: [...kept, layer], isCached: false },
    };
  } finally {
    await removeTree(scratch);
  }
}

/** Writes how what shows at the top differs from what shows at the base, as a layer's archive. */
async function writeChanges(
  { snapshots }: SquashOptions,
  how: {
    readonly span: Span;
    readonly scratch: string;
    readonly blobPath: string;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  using mounts = new DisposableStack();
  const show = (chainId: Digest): string => {
    const { kind, dir, parentDirs } = snapshots.layersOf(chainId);
    if (kind === "copy" || parentDirs.length === 0) return dir;
    const target = join(how.scratch, createId());
    mkdirSync(target);
    mountOverlay({ lowerDirs: [dir, ...parentDirs], target });
    mounts.defer(() => void unmount(target, { detach: true }));
    return target;
  };
  const { top, below } = how.span;
  const parentDirs = below === undefined ? [] : [show(below)];
  const tar = openDiff({ dir: show(top), parentDirs, kind: "copy" }, { signal: how.signal });
  await using file = await open(how.blobPath, "wx", 0o600);
  for await (const chunk of tar) await file.writeFile(chunk);
}

async function makeLayer(
  options: SquashOptions,
  how: {
    readonly span: Span;
    readonly blobPath: string;
    readonly leaseId: string;
    readonly signal: AbortSignal;
  },
): Promise<MadeLayer> {
  const { snapshots, hasher, leases } = options;
  const { below, epochS } = how.span;
  const { blobPath, signal } = how;
  const epoch = epochS === undefined ? {} : { epochS };
  const settle = async ({ key }: { readonly key: string }): Promise<MadeLayer> => {
    const made = await hasher.hash({ ...snapshots.layersOf(key), ...epoch }, { signal });
    const { diffId, tarSizeBytes, sizeBytes } = made;
    const chainId = below === undefined ? diffId : digestOf(`${below} ${diffId}`);
    leases.add(how.leaseId, `snapshot:${chainId}`);
    const createdNs = nowNs().toString();
    return { diffId, chainId, tarSizeBytes, sizeBytes, createdNs, ...epoch };
  };
  const wanted = { blobPath, below, keyPrefix: stepSnapshotPrefix, settle };
  return (await unpackSnapshot(options, wanted, { signal })).layer;
}
