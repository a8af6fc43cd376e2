import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { NamespaceInput, SpecInput } from "../../runtime/spec/spec-input.ts";
import { isMountPoint, mount, mountFlags, unmount } from "../../sys/mount/mount.ts";
import { bundleFolder, type Context } from "../context.ts";
import type { LiveContainer } from "../record/live-container.ts";
import type { ContainerRecord } from "../record/record.ts";
import { processOf } from "../process-signal.ts";

const prefix = "container:";
/** `/dev/shm` of the host. */
const hostSharedMemory = "/dev/shm";

/** The namespaces of a container about to start, and what it shares of others. */
export type ResolvedNamespaces = SpecInput["namespaces"] & {
  /** Whose network it uses. */
  readonly networkOf?: LiveContainer;
  /** Whose shared memory it uses. */
  readonly memoryOf?: LiveContainer;
};

/**
 * Resolves the namespaces that a container asks for; those of other containers by their processes.
 *
 * @throws not-found, conflict when another container cannot lend its namespace
 */
export function resolveNamespaces(context: Context, record: ContainerRecord): ResolvedNamespaces {
  const { NetworkMode, PidMode, IpcMode, UTSMode, CgroupnsMode } = record.hostConfig;
  const lender = (mode: string, what: string): LiveContainer | undefined =>
    mode.startsWith(prefix)
      ? findLender(context, { reference: mode.slice(prefix.length), what, borrower: record.id })
      : undefined;
  const networkOf = lender(NetworkMode, "network");
  const pidOf = lender(PidMode, "PID");
  const memoryOf = lender(IpcMode, "IPC");
  if (memoryOf !== undefined) refuseUnshareable(memoryOf);
  const hostOr = (mode: string): NamespaceInput => ({ kind: mode === "host" ? "host" : "private" });
  return {
    network:
      networkOf !== undefined
        ? lent(networkOf, "net")
        : NetworkMode === "host"
          ? // The shim is in a network namespace of its own: the host's is named by the daemon's.
            { kind: "path", path: `/proc/${process.pid}/ns/net` }
          : { kind: "inherited" },
    pid: pidOf === undefined ? hostOr(PidMode) : lent(pidOf, "pid"),
    ipc:
      memoryOf !== undefined
        ? lent(memoryOf, "ipc")
        : IpcMode === "none"
          ? { kind: "none" }
          : hostOr(IpcMode),
    uts: hostOr(UTSMode),
    cgroup: hostOr(CgroupnsMode),
    user: { kind: "host" },
    ...(networkOf === undefined ? {} : { networkOf }),
    ...(memoryOf === undefined ? {} : { memoryOf }),
  };
}

function lent(lender: LiveContainer, type: string): NamespaceInput {
  return { kind: "path", path: `/proc/${processOf(lender).pid}/ns/${type}` };
}

function findLender(
  context: Context,
  wanted: { readonly reference: string; readonly what: string; readonly borrower: string },
): LiveContainer {
  const { reference, what, borrower } = wanted;
  let lender: LiveContainer;
  try {
    lender = context.store.get(reference);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const message = `joining ${what} namespace of container: ${error.message}`;
    throw new EngineError(error.kind, message, { cause: error });
  }
  if (lender.id === borrower) {
    throw new EngineError("invalid-argument", `cannot join own ${what} namespace`);
  }
  if (!lender.isRunning) {
    throw new EngineError(
      "conflict",
      `joining ${what} namespace of container: cannot join namespace of a non running container: ` +
        `container ${lender.id} is not running`,
    );
  }
  return lender;
}

function refuseUnshareable(lender: LiveContainer): void {
  const mode = lender.record.hostConfig.IpcMode;
  if (mode === "shareable" || mode === "host") return;
  throw new EngineError(
    "invalid-argument",
    `failed to join IPC namespace: container ${lender.id}: non-shareable IPC ` +
      "(hint: use IpcMode:shareable for the donor container)",
  );
}

/**
 * The `/dev/shm` that a container shares: the host's, another's, or its own where others may join.
 *
 * Its own is a tmpfs made here, because one inside the container could not be lent.
 *
 * @returns undefined for a private one
 */
export function openSharedMemory(
  context: Context,
  record: ContainerRecord,
  namespaces: ResolvedNamespaces,
): string | undefined {
  const { IpcMode: mode, ShmSize: sizeBytes } = record.hostConfig;
  const { memoryOf } = namespaces;
  if (memoryOf !== undefined) {
    const isHost = memoryOf.record.hostConfig.IpcMode === "host";
    return isHost ? hostSharedMemory : sharedMemoryPath(context, memoryOf.id);
  }
  if (mode === "host") return hostSharedMemory;
  if (mode !== "shareable") return undefined;
  const target = sharedMemoryPath(context, record.id);
  mkdirSync(target, { recursive: true, mode: 0o700 });
  if (isMountPoint(target)) return target;
  mount({
    source: "shm",
    target,
    type: "tmpfs",
    flags: mountFlags.noSuid | mountFlags.noExec | mountFlags.noDev,
    data: `mode=1777,size=${sizeBytes}`,
  });
  chmodSync(target, 0o1777);
  return target;
}

/** Takes away the tmpfs of `openSharedMemory`; harmless when there is none. */
export function closeSharedMemory(context: Context, record: ContainerRecord): void {
  if (record.hostConfig.IpcMode !== "shareable") return;
  const target = sharedMemoryPath(context, record.id);
  if (isMountPoint(target)) unmount(target, { detach: true });
}

function sharedMemoryPath(context: Context, id: string): string {
  return join(bundleFolder(context, id), "shm");
}
