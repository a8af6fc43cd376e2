import { EngineError, isKind, messageOf } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import type { FileTree } from "../copy/copy.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { chainIdOf, type CopyActionSource, type Step, type StepResult } from "../step.ts";

/** What reads checksums. */
export type ChecksumReader = Pick<BuildServiceOptions, "copier" | "snapshots"> & {
  readonly signal: AbortSignal;
  /** Told which files a source has, where they are few enough. */
  readonly noteFiles?: (index: number, files: string) => void;
};

/** Files of one source that a list of them may have. */
export const listedFilesMax = 10_000;

/** The files of a step's result; undefined when there are none. */
export function treeOf(
  options: Pick<BuildServiceOptions, "snapshots">,
  result: StepResult | undefined,
): FileTree | undefined {
  if (result?.contextPath !== undefined) {
    // Files of a context are replaced, never written into: a layer may share them.
    return { kind: "folder", path: result.contextPath, isFrozen: true };
  }
  const chainId = result === undefined ? undefined : chainIdOf(result);
  if (chainId === undefined) return undefined;
  return { kind: "snapshot", mount: options.snapshots.mounts(chainId) };
}

/** Digests of all that a step reads beside the file system below, in the action's order. */
export async function readContents(
  reader: ChecksumReader,
  wanted: { readonly step: Step; readonly results: ReadonlyMap<Step, StepResult> },
): Promise<readonly string[]> {
  const { action } = wanted.step;
  if (action.kind === "copy") {
    return await Promise.all(
      action.copy.sources.map(async (source, index) =>
        source.kind === "content"
          ? ""
          : await readSource(reader, {
              source,
              index,
              hasOwner: action.copy.chown !== undefined,
              result: wanted.results.get(source.from),
            }),
      ),
    );
  }
  if (action.kind !== "run") return [];
  return await Promise.all(
    action.run.mounts.map(async (mount, index) => {
      if ((mount.kind !== "bind" && mount.kind !== "cache") || mount.from === undefined) return "";
      const result = wanted.results.get(mount.from);
      const chainId = result === undefined ? undefined : chainIdOf(result);
      // What a cache mount begins with, and a whole stage, are told by their layers.
      if (chainId !== undefined && (mount.kind === "cache" || mount.source === "/")) return chainId;
      const tree = treeOf(reader, result);
      if (tree === undefined) return "";
      return await checksum(reader, {
        index,
        tree,
        paths: [mount.source],
        isLiteral: true,
        ...hashCacheOf(result),
      });
    }),
  );
}

async function readSource(
  reader: ChecksumReader,
  wanted: {
    readonly source: Extract<CopyActionSource, { kind: "files" }>;
    readonly index: number;
    readonly hasOwner: boolean;
    readonly result: StepResult | undefined;
  },
): Promise<string> {
  const { source, index, hasOwner, result } = wanted;
  const tree = treeOf(reader, result);
  if (tree === undefined) throw notFound(source.paths);
  const reading = checksum(reader, {
    index,
    tree,
    paths: source.paths,
    excludes: source.excludes,
    hasParents: source.hasParents,
    isLiteral: source.isLiteral,
    ignoresOwners: hasOwner || source.resetsOwners,
    ...hashCacheOf(result),
  });
  return await reading.catch((error: unknown) => {
    throw tree.kind === "snapshot" ? missingInLayers(error) : error;
  });
}

/** Docker: what a stage has not is told in other words than what a context has not, seen in 28.5 */
function missingInLayers(error: unknown): unknown {
  const path = /: "((?:[^"\\]|\\.)*)": not found$/.exec(messageOf(error))?.[1];
  if (!isKind(error, "not-found") || path === undefined) return error;
  const message = `lstat ${path}: no such file or directory`;
  return new EngineError("not-found", message, { cause: error });
}

/** Where hashes of a result's files are kept. */
export function hashCacheOf(result: StepResult | undefined): { readonly hashCachePath?: string } {
  const path = result?.hashCachePath;
  return path === undefined ? {} : { hashCachePath: path };
}

async function checksum(
  { copier, signal, noteFiles }: ChecksumReader,
  selection: {
    /** Of the source or mount. */
    readonly index: number;
    readonly tree: FileTree;
    readonly paths: readonly string[];
    readonly excludes?: readonly string[];
    readonly hasParents?: boolean;
    readonly isLiteral?: boolean;
    readonly ignoresOwners?: boolean;
    readonly hashCachePath?: string;
  },
): Promise<Digest> {
  const { index, ...asked } = selection;
  const { digest, files } = await copier.checksum(
    {
      excludes: [],
      hasParents: false,
      ...asked,
      ...(noteFiles === undefined ? {} : { listedFilesMax }),
    },
    { signal },
  );
  if (files !== undefined) noteFiles?.(index, files);
  return digest;
}

function notFound(paths: readonly string[]): EngineError {
  const path = paths[0] ?? "/";
  return new EngineError(
    "not-found",
    "failed to compute cache key: failed to calculate checksum of ref: " +
      `${JSON.stringify(path.startsWith("/") ? path : `/${path}`)}: not found`,
  );
}
