/** COPY, ADD and WORKDIR: what a helper writes into a step's snapshot. */
import { EngineError } from "../lib/errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { SnapshotMount } from "../snapshot/snapshotter.ts";
import type { CopySource } from "./copy/copy.ts";
import type { BuildServiceOptions } from "./environment.ts";
import { treeOf } from "./_step-contents.ts";
import type { CopyAction, Step, StepResult } from "./step.ts";

interface FileStepRequest {
  /** Key of the active snapshot. */
  readonly snapshotKey: string;
  readonly epochS?: number;
  readonly signal: AbortSignal;
}

/** Does a COPY or ADD. @throws what the copier says */
export async function copyStep(
  options: Pick<BuildServiceOptions, "copier" | "snapshots">,
  request: FileStepRequest & {
    readonly copy: CopyAction;
    readonly results: ReadonlyMap<Step, StepResult>;
    /** The file system below, whose users `--chown` means. */
    readonly usersFrom?: Digest;
  },
): Promise<void> {
  const { copy, results, snapshotKey, signal, usersFrom } = request;
  const files = copy.sources.filter((source) => source.kind === "files");
  const sources = copy.sources.map((source): CopySource => {
    if (source.kind === "content") return source;
    const tree = treeOf(options, results.get(source.from));
    if (tree === undefined) throw new EngineError("not-found", "copy: the source is empty");
    const { paths, excludes, hasParents, isLiteral, unpack } = source;
    return {
      kind: "files",
      selection: { tree, paths, excludes, hasParents, isLiteral },
      unpack,
    };
  });
  const mount = options.snapshots.mounts(snapshotKey);
  await options.copier.copy(
    {
      target: copy.isLink ? withoutParents(mount) : mount,
      steps: [
        {
          kind: "copy",
          sources,
          destination: copy.destination,
          ...(copy.chown === undefined ? {} : { chown: copy.chown }),
          ...(copy.chmod === undefined ? {} : { chmod: copy.chmod }),
          resetsOwners: files.every(({ resetsOwners }) => resetsOwners),
        },
      ],
      ...(copy.isLink && usersFrom !== undefined
        ? { usersFrom: { kind: "snapshot", mount: options.snapshots.mounts(usersFrom) } }
        : {}),
      ...(request.epochS === undefined ? {} : { epochS: request.epochS }),
    },
    { signal },
  );
}

/** Makes a working folder. */
export async function folderStep(
  options: Pick<BuildServiceOptions, "copier" | "snapshots">,
  request: FileStepRequest & { readonly path: string; readonly user: string },
): Promise<void> {
  const { path, user, snapshotKey, signal } = request;
  await options.copier.copy(
    {
      target: options.snapshots.mounts(snapshotKey),
      steps: [{ kind: "folder", path, ...(user === "" ? {} : { chown: user }) }],
      ...(request.epochS === undefined ? {} : { epochS: request.epochS }),
    },
    { signal },
  );
}

/** The layer alone, as if nothing were below it. */
function withoutParents(mount: SnapshotMount): SnapshotMount {
  if (mount.type === "bind" || mount.upperDir === undefined) return mount;
  return { type: "bind", source: mount.upperDir, isReadOnly: false };
}
