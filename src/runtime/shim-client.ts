/** A shim as the daemon sees it, over its socket. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { codeOf, EngineError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { setSocketTaker } from "../lib/socket-taker.ts";
import { awaitAttached, connectShim, type ShimConnection } from "./_shim-connection.ts";
import { createAttachKey, shimAsSocketTaker } from "./_client-handover.ts";
import { cleanUpBehind } from "./_shim-cleanup.ts";
import { planSandbox, type SandboxWishes } from "./sandbox/sandbox-plan.ts";
import { formatRuntimeSpec } from "./spec/rlimits.ts";
import type { AttachOptions, Shim, ShimListener } from "./shim.ts";
import type {
  ExecRequest,
  ExitStatus,
  SandboxResult,
  ShimEvent,
  ShimState,
  StartOrder,
  StartRequest,
  StartResult,
} from "./shim-protocol.ts";

/** What `ShimClient` is made of. */
export interface ShimClientOptions {
  readonly directory: string;
  readonly name: string;
  readonly pid: number;
  readonly logger: Logger;
  /** Containers that its process has served before. */
  readonly servedCount?: number;
  /** Has the shim do something else once its container has ended, or hangs up (`disconnect`). */
  readonly retire?: (shim: ShimClient) => void;
}

/** One shim. Not adopted yet: a spare. */
export class ShimClient implements Shim {
  readonly name: string;
  readonly pid: number;
  readonly servedCount: number;
  readonly #options: ShimClientOptions;
  readonly #connection: ShimConnection;
  readonly #early: ((listener: ShimListener) => void)[] = [];
  #containerId = "";
  #listener: ShimListener | undefined;
  #isOver = false;
  #isGivenAway = false;
  /** Told when a spare is gone. */
  onSpareLost: () => void = () => undefined;

  constructor(connection: ShimConnection, options: ShimClientOptions) {
    this.#options = options;
    this.name = options.name;
    this.pid = options.pid;
    this.servedCount = options.servedCount ?? 0;
    this.#connection = connection;
    connection.listen({
      onEvent: (event) => this.#event(event),
      onClose: () => void this.#closed(),
    });
  }

  get containerId(): string {
    return this.#containerId;
  }

  get isAlive(): boolean {
    return !this.#connection.isClosed;
  }

  /** Makes a spare the shim of a container; all that is asked later comes after it. */
  adopt(containerId: string): void {
    this.#containerId = containerId;
    const { logger } = this.#options;
    this.#connection
      .request({ op: "adopt", containerId, logLevel: "info" })
      .catch((error: unknown) => logger.debug("adopt a container", { shim: this.name, error }));
  }

  /** Takes the word of a shim that has been adopted before. */
  adopted(containerId: string): void {
    this.#containerId = containerId;
  }

  listen(listener: ShimListener): void {
    this.#listener = listener;
    for (const tell of this.#early.splice(0)) tell(listener);
  }

  async openSandbox(inside: SandboxWishes): Promise<SandboxResult> {
    const plan = planSandbox(inside);
    if (plan === undefined) return { ports: [] };
    return (await this.#connection.request({ op: "sandbox", plan })) as SandboxResult;
  }

  async start(request: Omit<StartRequest, "op">): Promise<StartResult> {
    return (await this.#connection.request(startOrder(request))) as StartResult;
  }

  async attach(options: AttachOptions): Promise<Duplex> {
    const path = join(this.#options.directory, "shim.sock");
    const key = createAttachKey();
    const socket = await connectShim(path, { kind: "attach", ...options, key });
    // The connection to nowhere fails as one to a shim that is just leaving.
    if (socket === undefined) throw this.#gone();
    const stream = await awaitAttached(socket);
    setSocketTaker(stream, () => shimAsSocketTaker(this.#connection, key));
    return stream;
  }

  async exec(request: Omit<ExecRequest, "op">): Promise<{ readonly pid: number }> {
    return (await this.#connection.request({ op: "exec", ...request })) as { readonly pid: number };
  }

  async resize(size: {
    readonly execId?: string;
    readonly rows: number;
    readonly columns: number;
  }): Promise<void> {
    await this.#connection.request({ op: "resize", ...size });
  }

  async closeStdin(execId?: string): Promise<void> {
    await this.#connection.request(
      execId === undefined ? { op: "closeStdin" } : { op: "closeStdin", execId },
    );
  }

  async state(): Promise<ShimState> {
    return (await this.#connection.request({ op: "state" })) as ShimState;
  }

  async abandon(): Promise<void> {
    this.#isOver = true;
    if (!this.#connection.isClosed) await this.#connection.request({ op: "abandon" });
    this.#connection.close();
  }

  /**
   * Makes the ended shim a spare that listens at `directory`.
   *
   * @returns the connection to it, which this client gives away
   * @throws conflict, unavailable
   */
  async renew(directory: string): Promise<ShimConnection> {
    await this.#connection.request({ op: "renew", directory });
    this.#isGivenAway = true;
    return this.#connection;
  }

  /** Hangs up; a shim with a container lives on, a spare ends. */
  disconnect(): void {
    this.#isOver = true;
    if (!this.#isGivenAway) this.#connection.close();
  }

  #gone(): EngineError {
    return new EngineError("conflict", `attach to container ${this.#containerId}: it has ended`);
  }

  #event(event: ShimEvent): void {
    switch (event.event) {
      case "exit":
        this.#exited(event.status);
        break;
      case "oom":
        this.#tell((listener) => listener.oomKilled());
        break;
      case "execExit":
        this.#tell((listener) => listener.execExited(event.execId, event.status));
        break;
      case "warning":
        this.#options.logger.warn(event.message, { container: this.#containerId });
        break;
    }
  }

  #exited(status: ExitStatus): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#tell((listener) => listener.exited(status));
    // The shim waits for either before it goes.
    if (this.#options.retire === undefined) this.#connection.close();
    else this.#options.retire(this);
  }

  #tell(tell: (listener: ShimListener) => void): void {
    if (this.#listener === undefined) this.#early.push(tell);
    else tell(this.#listener);
  }

  async #closed(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#containerId === "") {
      this.onSpareLost();
      return;
    }
    const status = readExitStatus(this.#options.directory);
    if (status !== undefined) {
      this.#tell((listener) => listener.exited(status));
      return;
    }
    try {
      await cleanUpBehind(this.#options.directory);
    } catch (error) {
      this.#options.logger.error("clean up behind a killed shim", { error, shim: this.name });
    }
    this.#tell((listener) => listener.lost(`shim ${this.pid} was killed`));
  }
}

/** What is sent for a start. */
function startOrder(request: Omit<StartRequest, "op">): StartOrder {
  const { spec, ...others } = request;
  const cgroupsPath = spec.linux?.cgroupsPath;
  return {
    op: "start",
    ...others,
    config: formatRuntimeSpec(spec),
    facts: {
      command: spec.process?.args[0] ?? "",
      cwd: spec.process?.cwd ?? "/",
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
      hasMemoryLimit: spec.linux?.resources?.memory?.limit !== undefined,
      hasPoststopHooks: (spec.hooks?.poststop?.length ?? 0) > 0,
    },
  };
}

/** The status that a shim has stored; undefined when it has not. */
export function readExitStatus(directory: string): ExitStatus | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, "exit.json"), "utf8")) as ExitStatus;
  } catch (error) {
    // Written by temp and rename: one that is not JSON was damaged later and tells nothing.
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
