import { join } from "node:path";
import type { KeyedMutex } from "../lib/concurrency/keyed-mutex.ts";
import type { Logger } from "../lib/log.ts";
import { nowNs } from "../lib/time.ts";
import type { TaskGroup } from "../lib/concurrency/task-group.ts";
import type { EventBus } from "../event/event-bus.ts";
import type { ImageService } from "../image/image-service.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { SeccompPrograms } from "../runtime/seccomp/seccomp-programs.ts";
import type { HostFacts } from "../runtime/spec/host-facts.ts";
import type { ShimPool } from "../runtime/shim.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { VolumeService } from "../volume/volume-service.ts";
import type { ContainerStore } from "./record/container-store.ts";
import type { LiveContainer } from "./record/live-container.ts";
import type { ExecStore } from "./process/exec-store.ts";
import type { HostConfigDefaults } from "./configuration/host-config.ts";

/** What the engine decides for all containers. */
export interface ContainerDefaults extends HostConfigDefaults {
  /** Binary of the init helper; without one `--init` is refused. */
  readonly initPath?: string;
  /** Absolute path of the cgroup above those of containers, `/tug`. */
  readonly cgroupParent: string;
  /** Limits of containers that ask for none of that name. */
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly hasNoNewPrivileges?: boolean;
  /** Run the init helper unless asked not to. */
  readonly hasInit?: boolean;
  /** How long a container may take to end when the daemon does, unless it says otherwise. */
  readonly shutdownTimeoutS: number;
}

/** What everything about containers works with. */
export interface Context {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly images: Pick<ImageService, "resolve" | "isCalled" | "checkUse" | "commit">;
  readonly snapshots: Snapshotter;
  readonly shims: ShimPool;
  readonly networks: NetworkService;
  readonly volumes: VolumeService;
  readonly events: EventBus;
  readonly host: HostFacts;
  /** Compiled filters; without them the runtime compiles each anew. */
  readonly seccompPrograms?: SeccompPrograms;
  readonly defaults: ContainerDefaults;
  readonly logger: Logger;
  readonly store: ContainerStore;
  readonly execs: ExecStore;
  /** One a container. */
  readonly locks: KeyedMutex;
  /** What goes on after a request has been answered. */
  readonly tasks: TaskGroup;
  /** Nanoseconds since 1970. */
  readonly now: () => bigint;
}

/** The clock unless a test brings one. */
export const systemClock: () => bigint = nowNs;

/** Files of a container that last: log, hosts, resolv.conf, hostname. */
export function containerFolder(context: Pick<Context, "dataRoot">, id: string): string {
  return join(context.dataRoot, "containers", id);
}

/** Files of a container that a reboot may take: bundle, root file system, shared memory. */
export function bundleFolder(context: Pick<Context, "execRoot">, id: string): string {
  return join(context.execRoot, "containers", id);
}

/** Path of a container's log file. */
export function logPath(context: Pick<Context, "dataRoot">, id: string): string {
  return join(containerFolder(context, id), `${id}-json.log`);
}

/** Tells what happened to a container, with its labels, image and name. */
export function publish(
  context: Pick<Context, "events">,
  container: LiveContainer,
  event: { readonly action: string; readonly attributes?: Readonly<Record<string, string>> },
): void {
  const { id, name, config } = container.record;
  context.events.publish({
    type: "container",
    action: event.action,
    id,
    attributes: { ...config.Labels, ...event.attributes, image: config.Image, name },
  });
}
