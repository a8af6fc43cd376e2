/** COPY, ADD and WORKDIR: what a helper writes into a step's snapshot. */
import { EngineError } from "../../lib/errors.ts";
import type { Checksum, ChecksumHow, CopySource } from "../copy/copy.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { treeOf } from "./_step-contents.ts";
import type { CopyAction, Step, StepResult } from "../step.ts";

interface FileStepRequest {
  /** Key of the active snapshot. */
  readonly snapshotKey: string;
  readonly epochS?: number;
  readonly signal: AbortSignal;
}

/**
 * Does a COPY or ADD.
 *
 * @param request.sum asks for the checksum of each source of files
 * @throws what the copier says
 */
export async function copyStep(
  options: Pick<BuildServiceOptions, "copier" | "snapshots">,
  request: FileStepRequest & {
    readonly copy: CopyAction;
    readonly results: ReadonlyMap<Step, StepResult>;
    readonly sum?: ChecksumHow;
  },
): Promise<readonly Checksum[]> {
  const { copy, results, snapshotKey, signal } = request;
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
      ...(request.sum === undefined ? {} : { sum: request.sum }),
    };
  });
  const { checksums } = await options.copier.copy(
    {
      target: options.snapshots.mounts(snapshotKey),
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
      ...(request.epochS === undefined ? {} : { epochS: request.epochS }),
    },
    { signal },
  );
  return checksums;
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
