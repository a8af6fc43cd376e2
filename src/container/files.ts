/** The files of a container: what it has changed, and all that it sees without its mounts. */
import type { FilesystemChange } from "../api/container.ts";
import { EngineError } from "../lib/errors.ts";
import { toReadableStream } from "../lib/stream-limit.ts";
import { listChanges, openDiff } from "../snapshot/diff/diff-client.ts";
import type { Change, DiffRequest } from "../snapshot/diff/diff.ts";
import { type Context, publish } from "./context.ts";
import type { LiveContainer } from "./record/live-container.ts";

/** As the wire numbers them. @see Engine API v1.51, ChangeType */
const kindNumbers: Readonly<Record<Change["kind"], FilesystemChange["Kind"]>> = {
  modified: 0,
  added: 1,
  removed: 2,
};

/** Where the files lie that a container has written over its image's. */
export function writtenFiles(context: Context, container: LiveContainer): DiffRequest {
  return { ...context.snapshots.layersOf(container.id), omitsEngineFiles: true };
}

/** Lists what a container has changed, by path. */
export async function listContainerChanges(
  context: Context,
  container: LiveContainer,
  options: { readonly signal?: AbortSignal },
): Promise<readonly FilesystemChange[]> {
  const changes = await listChanges(writtenFiles(context, container), options);
  refuseGone(context, container);
  return changes.map(({ kind, path }) => ({ Path: path, Kind: kindNumbers[kind] }));
}

/**
 * Streams all files of a container as a tar, mounts left out. A container that is removed
 * meanwhile ends the stream with a failure.
 *
 * @throws conflict for a container that is being removed
 */
export function exportContainer(
  context: Context,
  container: LiveContainer,
  options: { readonly signal?: AbortSignal },
): ReadableStream<Uint8Array> {
  refuseRemoving(container, "export");
  const files: DiffRequest = { ...context.snapshots.layersOf(container.id), content: "tree" };
  const tar = openDiff(files, options);
  publish(context, container, { action: "export" });
  return toReadableStream(
    (async function* () {
      yield* tar;
      refuseGone(context, container);
    })(),
  );
}

/** @throws conflict in Docker's words */
export function refuseRemoving(container: LiveContainer, verb: "commit" | "export"): void {
  const { id, phase } = container.record;
  if (phase === "dead") {
    throw new EngineError("conflict", `You cannot ${verb} container ${id} which is Dead`);
  }
  if (!container.isRemoving && phase !== "removing") return;
  throw new EngineError("conflict", `You cannot ${verb} container ${id} which is being removed`);
}

/** What was read while its files went is not whole. */
export function refuseGone(context: Context, container: LiveContainer): void {
  if (context.snapshots.find(container.id) !== undefined) return;
  throw new EngineError(
    "conflict",
    `the container ${container.id} was removed while its files were read`,
  );
}
