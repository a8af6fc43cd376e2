/** The container of one shim: start, processes added, end. */
import { closeSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { valueWithin } from "../../lib/concurrency/deadline.ts";
import { nowNs } from "../../lib/time.ts";
import { oomKillCount, watchOom } from "../../sys/cgroup.ts";
import { writeFileAtomic } from "../../sys/fs/fs.ts";
import { systemCode } from "../../sys/libc.ts";
import type { WaitStatus } from "../../sys/process/process.ts";
import { expectStart } from "../cgroup-warmth.ts";
import { removeRemains } from "./cgroup-remains.ts";
import { deleteContainer, endRuntimeCalls } from "./runtime-call.ts";
import {
  configureSandbox,
  mountRootfs,
  setNetworkSysctls,
  unmountRootfs,
} from "../sandbox/sandbox.ts";
import type { SandboxServices } from "../sandbox/sandbox-services.ts";
import { exitStatusOf, ShimProcess } from "./_shim-process.ts";
import { type JsonFileWriter, type LogState, openJsonFileWriter } from "../log/json-file-writer.ts";
import type { BoundPort, SandboxPlan } from "../sandbox/sandbox-plan.ts";
import type {
  ExecRequest,
  LogPlan,
  SandboxResult,
  ShimEvent,
  ShimState,
  StartOrder,
  StartResult,
} from "../shim-protocol.ts";
import { shimProtocolVersion } from "../shim-protocol.ts";

/** Execs a container may have at a time, ended ones that were not asked after included. */
const execCountMax = 10_000;
/** How long the end of a container waits for that of its execs. */
const execEndMaxMs = 1000;
/** Ended execs whose status is kept for `state`. */
const endedExecCountMax = 256;

/** What a container needs of its shim. */
export interface ShimContainerOptions {
  readonly directory: string;
  /** The network namespace of the host. */
  readonly hostNetworkFd: number;
  readonly tell: (event: ShimEvent) => void;
  /** The container has ended and its status is stored. */
  readonly onOver: () => void;
}

/** What a daemon reads of a shim that is gone, to clean up behind it: `<directory>/shim.json`. */
export interface ShimRecord {
  readonly shimPid: number;
  readonly shimStartTime: string;
  readonly containerId: string;
  readonly rootfs?: string;
  readonly bundle?: string;
  readonly runtime?: StartOrder["runtime"];
  readonly cgroupsPath?: string;
}

/** What of an order lasts as long as the container; the spec does not. */
type KeptOrder = Omit<StartOrder, "config">;

/** The container of one shim. */
export class ShimContainer {
  readonly main: ShimProcess = new ShimProcess();
  readonly #options: ShimContainerOptions;
  readonly #execs = new Map<string, ShimProcess>();
  readonly #keptRoots: number[] = [];
  #phase: ShimState["phase"] = "spare";
  #containerId: string | undefined;
  #request: KeptOrder | undefined;
  #startedAtNs: string | undefined;
  #ports: readonly BoundPort[] = [];
  #services: SandboxServices | undefined;
  /** Clients of its ports have what it sent. */
  #portsDelivered: Promise<void> = Promise.resolve();
  #log: JsonFileWriter | undefined;
  #oomWatch: { close(): void } | undefined;
  #isOomKilled = false;

  constructor(options: ShimContainerOptions) {
    this.#options = options;
  }

  get phase(): ShimState["phase"] {
    return this.#phase;
  }

  /** From now on the shim is this container's. */
  adopt(containerId: string, shim: { readonly pid: number; readonly startTime: string }): void {
    if (this.#phase !== "spare") {
      throw new EngineError("conflict", `adopt container ${containerId}: the shim is taken`);
    }
    this.#note({ shimPid: shim.pid, shimStartTime: shim.startTime, containerId });
    this.#containerId = containerId;
    this.#phase = "adopted";
  }

  /** @throws as `Shim.openSandbox` */
  async openSandbox(plan: SandboxPlan): Promise<SandboxResult> {
    if (this.#phase !== "adopted" || this.#services !== undefined) {
      throw new EngineError("conflict", `open sandbox: the shim is ${this.#phase}`);
    }
    configureSandbox(plan);
    if (plan.ports.length > 0 || plan.dns !== undefined) {
      const { startSandboxServices } = await import("../sandbox/sandbox-services.ts");
      this.#services = await startSandboxServices(plan, {
        hostNetworkFd: this.#options.hostNetworkFd,
        onWarning: (message) => this.#options.tell({ event: "warning", message }),
      });
      this.#ports = this.#services.ports;
    }
    return { ports: this.#ports };
  }

  /** @throws as `Shim.start`; everything is undone then, the sandbox too */
  async start(order: StartOrder): Promise<StartResult> {
    if (this.#phase !== "adopted") {
      throw new EngineError("conflict", `start container: the shim is ${this.#phase}`);
    }
    this.#phase = "starting";
    expectStart();
    const { config, ...request } = order;
    this.#request = request;
    try {
      this.#note(this.#record(request));
      const prepared = this.#prepare(request, config);
      await this.main.start(prepared);
    } catch (error) {
      await this.#attempt("undo start", () => this.#undo(request));
      this.#phase = "adopted";
      throw error;
    }
    this.#phase = "running";
    this.#startedAtNs = String(nowNs());
    this.#watchMemory(request);
    return { pid: this.main.pid ?? 0, pidStartTime: this.main.startTime };
  }

  /** @throws as `Shim.exec` */
  async exec(request: ExecRequest): Promise<{ readonly pid: number }> {
    const container = this.#request;
    if (this.#phase !== "running" || container === undefined) {
      throw new EngineError("conflict", `container ${this.#containerId ?? ""} is not running`);
    }
    const process = this.process(request.execId);
    if (process.isStarting || process.exit !== undefined) {
      throw new EngineError("conflict", `exec ${request.execId} has already run`);
    }
    expectStart();
    const scratch = join(container.bundle, `exec-${request.execId.slice(0, 32)}`);
    const specPath = `${scratch}.json`;
    writeFileSync(specPath, JSON.stringify(request.process));
    try {
      await process.start({
        program: container.runtime,
        verb: ["exec", "--detach", "--process", specPath],
        id: container.containerId,
        scratch,
        stdio: request.stdio,
        sink: () => undefined,
        command: {
          verb: "exec",
          command: request.process.args[0] ?? "",
          cwd: request.process.cwd,
        },
        onExit: (status) => void this.#execExited(request.execId, process, status),
      });
    } catch (error) {
      this.#execs.delete(request.execId);
      throw error;
    } finally {
      rmSync(specPath, { force: true });
    }
    return { pid: process.pid ?? 0 };
  }

  /** The process of an exec, made when it is named first; the container's own without an id. */
  process(execId: string | undefined): ShimProcess {
    if (execId === undefined) return this.main;
    const known = this.#execs.get(execId);
    if (known !== undefined) return known;
    if (!/^[\w.-]{1,128}$/.test(execId)) {
      throw new EngineError("invalid-argument", `exec ${JSON.stringify(execId)}: not an id`);
    }
    if (this.#execs.size >= execCountMax) {
      throw new EngineError("unavailable", `exec ${execId}: more than ${execCountMax} execs`);
    }
    const made = new ShimProcess();
    this.#execs.set(execId, made);
    return made;
  }

  state(): ShimState {
    const { pid, startTime, exit } = this.main;
    return {
      version: shimProtocolVersion,
      phase: this.#phase,
      ...(this.#containerId === undefined ? {} : { containerId: this.#containerId }),
      ...(pid === undefined ? {} : { pid, pidStartTime: startTime }),
      ...(this.#startedAtNs === undefined ? {} : { startedAtNs: this.#startedAtNs }),
      ports: this.#ports,
      ...(exit === undefined ? {} : { exit }),
      execs: [...this.#execs].map(([execId, exec]) => ({
        execId,
        ...(exec.pid === undefined ? {} : { pid: exec.pid }),
        ...(exec.exit === undefined ? {} : { exit: exec.exit }),
      })),
    };
  }

  /** Forgets an exec that was attached to and never run. */
  forgetIdle(execId: string): void {
    const exec = this.#execs.get(execId);
    if (exec === undefined || exec.pid !== undefined || exec.isStarting) return;
    if (exec.io.attachmentCount === 0) this.#execs.delete(execId);
  }

  logState(): LogState {
    return this.#log?.state() ?? { writtenBytes: 0, droppedBytes: 0, rotationCount: 0 };
  }

  /** Resolves when no client is attached any more, nor has to get something from a port. */
  async clientsGone(): Promise<void> {
    const processes = [this.main, ...this.#execs.values()];
    // Attached to and never run: nothing else would end them.
    for (const { io } of processes) if (!io.isOver) io.abandon();
    await Promise.all(processes.map((process) => process.io.attachmentsGone()));
    await this.#portsDelivered;
  }

  /** In the order that fails early and spawns soon; `main.start` follows. */
  #prepare(request: KeptOrder, config: string): Parameters<ShimProcess["start"]>[0] {
    mkdirSync(request.bundle, { recursive: true, mode: 0o711 });
    this.#log = openLog(request.log, (message) =>
      this.#options.tell({ event: "warning", message }),
    );
    setNetworkSysctls(request.networkSysctls);
    mountRootfs(request.rootfs);
    writeFileSync(join(request.bundle, "config.json"), config, { mode: 0o600 });
    const log = this.#log;
    return {
      program: request.runtime,
      verb: ["run", "--detach", "--bundle", request.bundle],
      id: request.containerId,
      scratch: join(request.bundle, "init"),
      stdio: request.stdio,
      sink: log === undefined ? () => undefined : (stream, chunk) => log.write(stream, chunk),
      command: { verb: "create", command: request.facts.command, cwd: request.facts.cwd },
      onExit: (status) => void this.#exited(request, status),
    };
  }

  async #undo(request: KeptOrder): Promise<void> {
    this.#services?.close();
    this.#forgetServices();
    this.#log?.close();
    await this.#attempt("remove container", () => this.#removeFromRuntime(request, true));
    this.#unmountRoot(request);
    rmSync(join(request.bundle, "config.json"), { force: true });
  }

  /** Lets go of what the end of the process would have let go of. May wait for the disk. */
  release(): void {
    for (const fd of this.#keptRoots.splice(0)) closeSync(fd);
  }

  #unmountRoot(request: KeptOrder): void {
    const kept = unmountRootfs(request.rootfs.target, { keepsOpen: true });
    if (kept !== undefined) this.#keptRoots.push(kept);
  }

  /** The ports are free then; the container's last bytes go on to their clients. */
  async #endServices(): Promise<void> {
    const end = this.#services?.end();
    this.#forgetServices();
    if (end === undefined) return;
    this.#portsDelivered = end.delivered;
    await end.received;
  }

  #forgetServices(): void {
    this.#services = undefined;
    this.#ports = [];
  }

  async #exited(request: KeptOrder, status: WaitStatus): Promise<void> {
    await this.#attempt("look at memory", () => {
      if (!this.#isOomKilled && this.#oomCount(request) > 0) this.#oomHappened();
    });
    const exit = exitStatusOf(status, this.#isOomKilled);
    this.#oomWatch?.close();
    // Before the output is complete: what is left may hold its pipes open.
    await this.#attempt("remove container", () => this.#removeFromRuntime(request, false));
    await this.main.io.exited();
    await this.#attempt("close log", () => this.#log?.close());
    await this.#endServices();
    await this.#attempt("unmount root file system", () => this.#unmountRoot(request));
    rmSync(join(request.bundle, "config.json"), { force: true });
    await this.#execsOver();
    this.main.setExit(exit);
    this.#phase = "exited";
    await this.#attempt("store exit status", () =>
      // For the next daemon; the exec root is that of one boot of the machine, and needs no sync.
      writeFileAtomic(join(this.#options.directory, "exit.json"), JSON.stringify(exit), {
        durable: false,
      }),
    );
    this.#options.tell({ event: "exit", status: exit });
    this.#options.onOver();
  }

  /** The execs die with the container, and are told before it. */
  async #execsOver(): Promise<void> {
    const running = [...this.#execs.values()].filter((exec) => exec.pid !== undefined);
    if (running.length === 0) return;
    await valueWithin(Promise.all(running.map((exec) => exec.ended)), execEndMaxMs);
  }

  async #execExited(execId: string, process: ShimProcess, status: WaitStatus): Promise<void> {
    const exit = exitStatusOf(status, false);
    await process.io.exited();
    process.setExit(exit);
    this.#options.tell({ event: "execExit", execId, status: exit });
    const ended = [...this.#execs].filter(([, exec]) => exec.exit !== undefined);
    for (const [id] of ended.slice(0, -endedExecCountMax)) this.#execs.delete(id);
  }

  #watchMemory(request: KeptOrder): void {
    const { cgroupsPath: cgroup, hasMemoryLimit } = request.facts;
    // Without a limit the kernel's own shortage is the only one; it is seen at the end.
    if (cgroup === undefined || !hasMemoryLimit) return;
    try {
      this.#oomWatch = watchOom(cgroup, () => this.#oomHappened());
    } catch (error) {
      // The container has ended already, and its cgroup with it.
      if (systemCode(error) === "ENOENT") return;
      this.#options.tell({ event: "warning", message: `watch memory: ${messageOf(error)}` });
    }
  }

  #oomHappened(): void {
    this.#isOomKilled = true;
    this.#options.tell({ event: "oom" });
  }

  #oomCount(request: KeptOrder): number {
    const cgroup = request.facts.cgroupsPath;
    return cgroup === undefined ? 0 : oomKillCount(cgroup);
  }

  /** Kills what is left, removes cgroup and the runtime's state. */
  async #removeFromRuntime(request: KeptOrder, isFailure: boolean): Promise<void> {
    const { cgroupsPath: cgroup, hasPoststopHooks } = request.facts;
    const { runtime: program, containerId } = request;
    if (!isFailure && !hasPoststopHooks && cgroup !== undefined) {
      try {
        await removeRemains({ cgroupsPath: cgroup, program, containerId });
        return;
      } catch (error) {
        this.#options.tell({ event: "warning", message: messageOf(error) });
      }
    }
    // One that was killed has left its child, which may still wait for it.
    if (isFailure) await endRuntimeCalls(program, containerId);
    await deleteContainer(program, { containerId, logFolder: request.bundle });
    if (cgroup !== undefined) await removeRemains({ cgroupsPath: cgroup, program, containerId });
  }

  async #attempt(what: string, work: () => void | Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.tell({ event: "warning", message: `${what}: ${messageOf(error)}` });
    }
  }

  #record(request: KeptOrder): ShimRecord {
    const cgroup = request.facts.cgroupsPath;
    return {
      ...this.#shim,
      rootfs: request.rootfs.target,
      bundle: request.bundle,
      runtime: request.runtime,
      ...(cgroup === undefined ? {} : { cgroupsPath: cgroup }),
    };
  }

  #shim: ShimRecord = { shimPid: 0, shimStartTime: "0", containerId: "" };

  #note(record: ShimRecord): void {
    this.#shim = record;
    const path = join(this.#options.directory, "shim.json");
    writeFileAtomic(path, JSON.stringify(record), { durable: false, mode: 0o600 });
  }
}

function openLog(plan: LogPlan, onWarning: (message: string) => void): JsonFileWriter | undefined {
  if (plan.driver === "none" || plan.path === undefined) return undefined;
  try {
    return openJsonFileWriter({ plan: { ...plan, path: plan.path }, onWarning });
  } catch (error) {
    throw new EngineError("unavailable", `open log: ${codeOf(error) ?? messageOf(error)}`, {
      cause: error,
    });
  }
}
