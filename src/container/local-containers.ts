import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ContainerCreateOptions } from "../api/container.ts";
import type { ExecConfig } from "../api/exec.ts";
import type { EventBus } from "../event/event-bus.ts";
import type { ImageService, ImageUsers } from "../image/image-service.ts";
import { containerNotRunning, emptyName, renameFailed, sameName } from "../lib/docker-messages.ts";
import { EngineError, isKind } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/concurrency/keyed-mutex.ts";
import type { Logger } from "../lib/log.ts";
import { TaskGroup } from "../lib/concurrency/task-group.ts";
import type { Metadata } from "../metadata/metadata.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { SeccompPrograms } from "../runtime/seccomp/seccomp-programs.ts";
import type { HostFacts } from "../runtime/spec/host-facts.ts";
import type { ShimPool } from "../runtime/shim.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { VolumeService } from "../volume/volume-service.ts";
import { attachToContainer } from "./stream/attach.ts";
import { type ContainerDefaults, type Context, publish, systemClock } from "./context.ts";
import { type CommitOptions, commitContainer } from "./commit.ts";
import { ContainerStore } from "./record/container-store.ts";
import type {
  AttachQuery,
  Attachment,
  ContainerService,
  FilterMap,
  LogQuery,
  WaitResult,
} from "./container-service.ts";
import { createContainer } from "./lifecycle/create.ts";
import { attachExec, createExec, inspectExec, resizeExec, startExec } from "./process/exec.ts";
import { ExecStore } from "./process/exec-store.ts";
import { exportContainer, listContainerChanges } from "./files.ts";
import { inspectContainer } from "./status/inspect.ts";
import { type ListOptions, listContainers } from "./status/list.ts";
import type { LiveContainer } from "./record/live-container.ts";
import { openLogStream } from "./stream/logs.ts";
import { parseName } from "./record/names.ts";
import { pauseContainer, unpauseContainer } from "./lifecycle/pause.ts";
import { pruneContainers } from "./lifecycle/prune.ts";
import { recoverContainers } from "./lifecycle/recover.ts";
import { removeByRequest } from "./lifecycle/remove.ts";
import { checkImage } from "./lifecycle/check-image.ts";
import { startContainer } from "./lifecycle/start.ts";
import { killContainer, stopContainer } from "./lifecycle/stop.ts";
import { listProcesses } from "./process/top.ts";
import { waitForContainer } from "./lifecycle/wait.ts";

export type { ContainerDefaults } from "./context.ts";

/** What the containers of a data root need. */
export interface ContainersOptions {
  readonly dataRoot: string;
  /** Short: sockets lie below it. */
  readonly execRoot: string;
  readonly metadata: Metadata;
  readonly events: EventBus;
  readonly images: Pick<ImageService, "resolve" | "isCalled" | "checkUse" | "commit">;
  readonly snapshots: Snapshotter;
  readonly shims: ShimPool;
  readonly networks: NetworkService;
  readonly volumes: VolumeService;
  readonly host: HostFacts;
  /** Compiled filters; without them the runtime compiles each anew. */
  readonly seccompPrograms?: SeccompPrograms;
  readonly defaults: ContainerDefaults;
  readonly logger: Logger;
  /** Nanoseconds since 1970; the system's when absent. */
  readonly clock?: () => bigint;
}

/** The containers of one daemon. */
export interface Containers extends ContainerService, ImageUsers {
  /** Once, before anything else: joins what runs, concludes what ended, sweeps what was begun. */
  recover(): Promise<void>;
  /**
   * Ends all containers, each as `stop` does, or leaves them to the next daemon.
   *
   * @param options.timeoutMs after which what still runs is killed
   */
  shutdown(options: { readonly timeoutMs: number; readonly keepRunning: boolean }): Promise<void>;
}

/** Opens the containers of a data root; nothing is touched before `recover`. */
export function openContainers(options: ContainersOptions): Containers {
  return new LocalContainers(options);
}

class LocalContainers implements Containers {
  readonly #context: Context;

  constructor(options: ContainersOptions) {
    const { metadata, logger, clock, ...rest } = options;
    mkdirSync(join(options.dataRoot, "containers"), { recursive: true, mode: 0o710 });
    mkdirSync(join(options.execRoot, "containers"), { recursive: true, mode: 0o711 });
    this.#context = {
      ...rest,
      logger,
      store: new ContainerStore({ metadata, logger }),
      execs: new ExecStore(),
      locks: new KeyedMutex(),
      tasks: new TaskGroup({ onError: (error, name) => logger.error(name, { error }) }),
      now: clock ?? systemClock,
    };
  }

  async recover(): Promise<void> {
    await recoverContainers(this.#context);
  }

  async shutdown(options: {
    readonly timeoutMs: number;
    readonly keepRunning: boolean;
  }): Promise<void> {
    const { store, tasks } = this.#context;
    if (!options.keepRunning) {
      const running = store.all().filter((container) => container.isRunning);
      await Promise.all(running.map((container) => this.#end(container, options.timeoutMs)));
      await tasks.idle();
    }
    await tasks.close();
    store.close();
  }

  async #end(container: LiveContainer, timeoutMs: number): Promise<void> {
    const { StopTimeout } = container.record.config;
    const wantedS = StopTimeout ?? this.#context.defaults.shutdownTimeoutS;
    const mostS = timeoutMs / 1000;
    try {
      await stopContainer(this.#context, container, {
        timeoutS: wantedS < 0 ? mostS : Math.min(wantedS, mostS),
      });
    } catch (error) {
      if (isKind(error, "not-modified")) return;
      this.#context.logger.error("stop container", { container: container.id, error });
    }
  }

  containersOf(id: string): readonly { readonly id: string; readonly isRunning: boolean }[] {
    return this.#context.store
      .all()
      .filter(({ record }) => record.image.id === id)
      .map((container) => ({ id: container.id, isRunning: container.isRunning }));
  }

  counts(): { readonly running: number; readonly paused: number; readonly stopped: number } {
    const phases = this.#context.store.all().map(({ record }) => record.phase);
    const running = phases.filter((phase) => phase === "running").length;
    const paused = phases.filter((phase) => phase === "paused").length;
    return { running, paused, stopped: phases.length - running - paused };
  }

  async create(
    request: ContainerCreateOptions,
    options: { readonly name?: string; readonly platform?: string },
  ): Promise<{ readonly Id: string; readonly Warnings: readonly string[] }> {
    return await createContainer(this.#context, request, options);
  }

  async list(options: ListOptions): ReturnType<ContainerService["list"]> {
    return await listContainers(this.#context, options);
  }

  async inspect(
    id: string,
    options: { readonly size: boolean },
  ): ReturnType<ContainerService["inspect"]> {
    return await inspectContainer(this.#context, this.#get(id), options);
  }

  async top(id: string, options: { readonly psArgs: string }): ReturnType<ContainerService["top"]> {
    return await listProcesses(this.#context, this.#get(id), options);
  }

  async logs(id: string, query: LogQuery): ReturnType<ContainerService["logs"]> {
    const container = this.#get(id);
    const stream = openLogStream(this.#context, container, query);
    return { hasTty: container.record.config.Tty, stream };
  }

  async start(id: string, options: { readonly detachKeys?: string } = {}): Promise<void> {
    const container = this.#get(id);
    void options;
    await this.#locked(container, () => startContainer(this.#context, container));
  }

  async stop(
    id: string,
    options: { readonly signal?: string; readonly timeoutS?: number },
  ): Promise<void> {
    try {
      await stopContainer(this.#context, this.#get(id), options);
    } catch (error) {
      if (!isKind(error, "invalid-argument")) throw error;
      const message = `cannot stop container: ${id}: ${error.message}`;
      throw new EngineError(error.kind, message, { cause: error });
    }
  }

  async restart(
    id: string,
    options: { readonly signal?: string; readonly timeoutS?: number },
  ): Promise<void> {
    const container = this.#get(id);
    const context = this.#context;
    // What is refused goes on as it runs.
    await checkImage(context, container);
    try {
      await stopContainer(context, container, options);
    } catch (error) {
      if (!isKind(error, "not-modified")) throw error;
    }
    try {
      await this.#locked(container, () => startContainer(context, container));
    } catch (error) {
      // Somebody else was faster.
      if (!isKind(error, "not-modified")) throw error;
    }
    publish(context, container, { action: "restart" });
  }

  async kill(id: string, options: { readonly signal?: string }): Promise<void> {
    await killContainer(this.#context, () => this.#get(id), { ...options, name: id });
  }

  async rename(id: string, options: { readonly name: string }): Promise<void> {
    if (options.name === "") throw emptyName();
    const container = this.#get(id);
    const { store } = this.#context;
    await this.#locked(container, async () => {
      const oldName = container.record.name;
      const bare = options.name.startsWith("/") ? options.name.slice(1) : options.name;
      if (bare === oldName) throw sameName();
      const name = this.#takeName(container, bare);
      try {
        store.update(container, { name });
      } catch (error) {
        store.names.release(name, container.id);
        throw error;
      }
      store.names.release(oldName, container.id);
      await store.flush();
      publish(this.#context, container, {
        action: "rename",
        attributes: { oldName: `/${oldName}` },
      });
    });
  }

  #takeName(container: LiveContainer, wanted: string): string {
    try {
      const name = parseName(`/${wanted}`);
      this.#context.store.names.reserve(name, container.id);
      return name;
    } catch (error) {
      if (isKind(error)) throw renameFailed(error);
      throw error;
    }
  }

  async pause(id: string): Promise<void> {
    const container = this.#get(id);
    await this.#locked(container, () => pauseContainer(this.#context, container));
  }

  async unpause(id: string): Promise<void> {
    const container = this.#get(id);
    await this.#locked(container, async () => unpauseContainer(this.#context, container));
  }

  async attach(id: string, query: AttachQuery): Promise<Attachment> {
    return await attachToContainer(this.#context, this.#get(id), { query, name: id });
  }

  async resize(
    id: string,
    size: { readonly rows: number; readonly columns: number },
  ): Promise<void> {
    const container = this.#get(id);
    const { shim } = container;
    if (!container.isRunning || shim === undefined) throw containerNotRunning(container.id);
    await shim.resize(size);
    publish(this.#context, container, {
      action: "resize",
      attributes: { height: String(size.rows), width: String(size.columns) },
    });
  }

  async wait(
    id: string,
    options: {
      readonly condition: "not-running" | "next-exit" | "removed";
      readonly accepted: () => void;
      readonly signal?: AbortSignal;
    },
  ): Promise<WaitResult> {
    return await waitForContainer(this.#get(id), options);
  }

  async remove(
    id: string,
    options: { readonly volumes: boolean; readonly force: boolean; readonly link: boolean },
  ): Promise<void> {
    await removeByRequest(this.#context, this.#get(id), { ...options, name: id });
  }

  async prune(filters: FilterMap): ReturnType<ContainerService["prune"]> {
    return await pruneContainers(this.#context, filters);
  }

  async changes(
    id: string,
    options: { readonly signal?: AbortSignal } = {},
  ): ReturnType<ContainerService["changes"]> {
    return await listContainerChanges(this.#context, this.#get(id), options);
  }

  async export(
    id: string,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ReadableStream<Uint8Array>> {
    await Promise.resolve();
    return exportContainer(this.#context, this.#get(id), options);
  }

  async commit(id: string, options: CommitOptions): Promise<string> {
    return await commitContainer(this.#context, this.#get(id), options);
  }

  async execCreate(id: string, config: ExecConfig): Promise<{ readonly Id: string }> {
    return { Id: createExec(this.#context, this.#get(id), { config, name: id }) };
  }

  async execStart(
    execId: string,
    options: { readonly rows?: number; readonly columns?: number },
  ): Promise<void> {
    await startExec(this.#context, this.#context.execs.get(execId), options);
  }

  async execAttach(
    execId: string,
    options: Parameters<ContainerService["execAttach"]>[1],
  ): Promise<Attachment> {
    return await attachExec(this.#context, this.#context.execs.get(execId), options);
  }

  async execResize(
    execId: string,
    size: { readonly rows: number; readonly columns: number },
  ): Promise<void> {
    await resizeExec(this.#context.execs.get(execId), size);
  }

  async execInspect(execId: string): ReturnType<ContainerService["execInspect"]> {
    return await inspectExec(this.#context.execs.get(execId));
  }

  #get(reference: string): LiveContainer {
    return this.#context.store.get(reference);
  }

  async #locked<T>(container: LiveContainer, work: () => Promise<T>): Promise<T> {
    const { locks, store } = this.#context;
    return await locks.run(container.id, async () => {
      // It may have gone while this waited.
      if (!store.has(container.id)) store.get(container.id);
      return await work();
    });
  }
}
