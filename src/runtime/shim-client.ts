/** A shim as the daemon sees it, over its socket. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { withDeadline } from "../lib/concurrency/deadline.ts";
import { codeOf, EngineError, isKind, messageOf } from "../lib/errors.ts";
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
  ShimRequest,
  ShimState,
  StartOrder,
  StartRequest,
  StartResult,
} from "./shim-protocol.ts";

/** How long a shim may take to answer what it has at hand. */
const answerMaxMs = 5000;
/** And one that has nothing to do. Beyond that it is cheaper to take another. */
const adoptMaxMs = 3000;

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
  #isStartAsked = false;
  /** Resolves when nothing is left of a shim that was killed. */
  #cleanedUp: Promise<void> = Promise.resolve();
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
      onClose: () => this.#closed(),
    });
  }

  get containerId(): string {
    return this.#containerId;
  }

  get isAlive(): boolean {
    return !this.#connection.isClosed;
  }

  /**
   * Makes a spare the shim of a container. Until it has answered nothing is made for the container.
   *
   * @throws unavailable when the spare is gone or does not answer
   */
  async adopt(containerId: string): Promise<void> {
    await this.#soon({ op: "adopt", containerId, logLevel: "info" }, adoptMaxMs);
    this.#containerId = containerId;
  }

  /** Ends a spare that is no good, and removes its directory. */
  async discard(): Promise<void> {
    this.disconnect();
    await cleanUpBehind(this.#options.directory);
    this.onSpareLost();
  }

  /** Takes the word of a shim that has been adopted before. */
  adopted(containerId: string): void {
    this.#containerId = containerId;
    this.#isStartAsked = true;
  }

  listen(listener: ShimListener): void {
    this.#listener = listener;
    for (const tell of this.#early.splice(0)) tell(listener);
  }

  async openSandbox(inside: SandboxWishes): Promise<SandboxResult> {
    const plan = planSandbox(inside);
    if (plan === undefined) return { ports: [] };
    return (await this.#ask({ op: "sandbox", plan })) as SandboxResult;
  }

  async start(request: Omit<StartRequest, "op">): Promise<StartResult> {
    const order = startOrder(request);
    this.#isStartAsked = true;
    return (await this.#ask(order)) as StartResult;
  }

  async attach(options: AttachOptions): Promise<Duplex> {
    const path = join(this.#options.directory, "shim.sock");
    const key = createAttachKey();
    const socket = await connectShim(path, { kind: "attach", ...options, key });
    // The connection to nowhere fails as one to a shim that is just leaving.
    if (socket === undefined) throw this.#unattachable();
    const stream = await awaitAttached(socket);
    setSocketTaker(stream, () => shimAsSocketTaker(this.#connection, key));
    return stream;
  }

  async exec(request: Omit<ExecRequest, "op">): Promise<{ readonly pid: number }> {
    return (await this.#request({ op: "exec", ...request })) as { readonly pid: number };
  }

  async resize(size: {
    readonly execId?: string;
    readonly rows: number;
    readonly columns: number;
  }): Promise<void> {
    await this.#request({ op: "resize", ...size });
  }

  async closeStdin(execId?: string): Promise<void> {
    await this.#request(execId === undefined ? { op: "closeStdin" } : { op: "closeStdin", execId });
  }

  async state(): Promise<ShimState> {
    return (await this.#soon({ op: "state" })) as ShimState;
  }

  async isLostUnstarted(): Promise<boolean> {
    if (this.#isStartAsked) return false;
    try {
      await this.state();
      return false;
    } catch (error) {
      if (isKind(error, "unavailable")) return true;
      if (isKind(error, "deadline-exceeded")) return false;
      throw error;
    }
  }

  async abandon(): Promise<void> {
    this.#isOver = true;
    if (this.#isGivenAway) return;
    const { isClosed } = this.#connection;
    try {
      if (isClosed) return;
      await this.#soon({ op: "abandon" });
    } catch (error) {
      if (!isKind(error)) throw error;
      // Gone, or busy with what nobody wants any more.
      this.#options.logger.debug("abandon shim", { shim: this.name, reason: messageOf(error) });
      await this.#cleanUp();
    } finally {
      this.#connection.close();
      await this.#cleanedUp;
    }
  }

  /**
   * Makes the ended shim a spare that listens at `directory`.
   *
   * @returns the connection to it, which this client gives away
   * @throws conflict, unavailable
   */
  async renew(directory: string): Promise<ShimConnection> {
    // What is sent behind it would reach whom the shim serves next.
    this.#isGivenAway = true;
    try {
      await this.#connection.request({ op: "renew", directory });
    } catch (error) {
      this.#isGivenAway = false;
      throw error;
    }
    return this.#connection;
  }

  /** Hangs up; a shim with a container lives on, a spare ends. */
  disconnect(): void {
    this.#isOver = true;
    if (!this.#isGivenAway) this.#connection.close();
  }

  /** Whoever hears that the shim is gone may begin anew: nothing of it is in the way then. */
  async #ask(request: ShimRequest): Promise<unknown> {
    try {
      return await this.#request(request);
    } catch (error) {
      if (this.#connection.isClosed) await this.#cleanedUp;
      throw error;
    }
  }

  #unattachable(): EngineError {
    const what = `attach to container ${this.#containerId}`;
    if (this.#isStartAsked) return new EngineError("conflict", `${what}: it has ended`);
    return new EngineError("unavailable", `${what}: its shim is gone`);
  }

  /** @throws unavailable once the shim is given away: it may serve another container by now */
  async #request(request: ShimRequest): Promise<unknown> {
    if (this.#isGivenAway) throw new EngineError("unavailable", "ask shim: it is gone");
    return await this.#connection.request(request);
  }

  /** As `#request`, of what takes no time. @throws deadline-exceeded as well */
  async #soon(request: ShimRequest, timeoutMs: number = answerMaxMs): Promise<unknown> {
    const asked = this.#request(request);
    return await withDeadline(asked, timeoutMs, `shim ${this.pid} does not answer`);
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

  #closed(): void {
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
    this.#cleanedUp = this.#lose();
  }

  async #lose(): Promise<void> {
    await this.#cleanUp();
    this.#tell((listener) => listener.lost(`shim ${this.pid} was killed`));
  }

  async #cleanUp(): Promise<void> {
    try {
      await cleanUpBehind(this.#options.directory);
    } catch (error) {
      this.#options.logger.error("clean up behind a shim", { error, shim: this.name });
    }
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
