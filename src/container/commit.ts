/** Makes an image of a container's files and configuration. */
import type { ContainerConfig } from "../api/container-config.ts";
import { applyChanges } from "../image/lifecycle/apply-changes.ts";
import type { Digest } from "../oci/digest.ts";
import type { ImageRunConfig } from "../oci/image-config.ts";
import {
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
  withTag,
} from "../oci/reference.ts";
import { type Context, publish } from "./context.ts";
import { refuseGone, refuseRemoving, writtenFiles } from "./files.ts";
import type { LiveContainer } from "./record/live-container.ts";
import { pauseContainer, unpauseContainer } from "./lifecycle/pause.ts";

/** What `commit` may be asked. */
export interface CommitOptions {
  /** "": the image has no name. */
  readonly repo: string;
  readonly tag: string;
  readonly author: string;
  readonly comment: string;
  /** Stops the container's processes while its files are read. */
  readonly isPaused: boolean;
  /** Dockerfile instructions. */
  readonly changes: readonly string[];
  /** In place of the container's own; what it leaves out is taken from there. */
  readonly config?: ContainerConfig;
  readonly signal?: AbortSignal;
}

/** Makes an image of a container, running or not. @returns its ID, once it is durable */
export async function commitContainer(
  context: Context,
  container: LiveContainer,
  options: CommitOptions,
): Promise<Digest> {
  const name = nameOf(options);
  const { record } = container;
  const own = runConfigOf(record.config);
  const asked = options.config === undefined ? own : runConfigOf(options.config);
  const run = mergeRunConfig(applyChanges(asked, options.changes), own);
  refuseRemoving(container, "commit");
  const resume = options.isPaused ? await pauseIfRunning(context, container) : undefined;
  try {
    const { id } = await context.images.commit({
      changes: writtenFiles(context, container),
      onRead: async () => {
        refuseGone(context, container);
        await resume?.();
      },
      ...(record.image.id === "" ? {} : { baseId: record.image.id }),
      run,
      author: options.author,
      comment: options.comment,
      createdBy: (record.config.Cmd ?? []).join(" "),
      containerId: record.id,
      containerConfig: own,
      ...(name === undefined ? {} : { name }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const imageRef = name === undefined ? "" : familiarString(withDefaultTag(name));
    publish(context, container, {
      action: "commit",
      attributes: { comment: options.comment, imageID: id, imageRef },
    });
    return id;
  } finally {
    await resume?.();
  }
}

/** @throws invalid-argument in Docker's words */
function nameOf({ repo, tag }: CommitOptions): Reference | undefined {
  if (repo === "") return undefined;
  const reference = parseReference(repo);
  return tag === "" ? reference : withTag(reference, tag);
}

/** @returns lets the container go on, unless somebody else has; harmless when called again */
async function pauseIfRunning(
  context: Context,
  container: LiveContainer,
): Promise<(() => Promise<void>) | undefined> {
  const { locks, store } = context;
  const isPaused = await locks.run(container.id, async () => {
    if (container.record.phase !== "running") return false;
    // First the record: the daemon may die before it has let the processes go on.
    store.update(container, { isCommitPaused: true });
    await pauseContainer(context, container);
    return true;
  });
  if (!isPaused) return undefined;
  return async () => {
    await locks.run(container.id, async () => {
      await Promise.resolve();
      if (!store.has(container.id) || container.record.isCommitPaused !== true) return;
      if (container.record.phase === "paused") unpauseContainer(context, container);
      store.note(container, { isCommitPaused: undefined });
    });
  };
}

/** A container's configuration as an image has it: what is not said is left out. */
function runConfigOf(config: ContainerConfig): ImageRunConfig {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== null && value !== undefined),
  );
}

/** Docker: the new configuration is completed with the container's as a build's with its base. */
function mergeRunConfig(config: ImageRunConfig, own: ImageRunConfig): ImageRunConfig {
  const nameOfVariable = (entry: string): string => entry.split("=", 1)[0] ?? "";
  const names = new Set((config.Env ?? []).map(nameOfVariable));
  const missing = (own.Env ?? []).filter((entry) => !names.has(nameOfVariable(entry)));
  const hasEntrypoint = (config.Entrypoint ?? []).length > 0;
  const hasCommand = (config.Cmd ?? []).length > 0;
  const merged: ImageRunConfig = {
    ...config,
    User: config.User || (own.User ?? ""),
    WorkingDir: config.WorkingDir || (own.WorkingDir ?? ""),
    Env: [...(config.Env ?? []), ...missing],
    Labels: { ...own.Labels, ...config.Labels },
    ExposedPorts: { ...own.ExposedPorts, ...config.ExposedPorts },
    Volumes: { ...own.Volumes, ...config.Volumes },
    ...(hasEntrypoint || own.Entrypoint === undefined ? {} : { Entrypoint: own.Entrypoint }),
    ...(hasEntrypoint || hasCommand || own.Cmd === undefined ? {} : { Cmd: own.Cmd }),
    ...(config.Healthcheck === undefined && own.Healthcheck !== undefined
      ? { Healthcheck: own.Healthcheck }
      : {}),
    ...(config.StopSignal || own.StopSignal === undefined ? {} : { StopSignal: own.StopSignal }),
  };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => !isEmptySet(value)));
}

/** Sets and lists without members are not said at all. */
function isEmptySet(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
