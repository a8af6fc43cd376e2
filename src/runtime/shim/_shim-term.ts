/**
 * One term of a shim: a directory, a socket, a container.
 *
 * A shim serves a container to its end. Then the daemon hangs up, and the shim ends; or it asks for a
 * *renewal*, and the shim begins a new term as a spare: another directory, another network namespace,
 * nothing left of the container before. That saves the start of a process a container.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { unreachable } from "../../lib/assert.ts";
import { withDeadline } from "../../lib/concurrency/deadline.ts";
import { EngineError } from "../../lib/errors.ts";
import { releaseMemory } from "../../sys/memory.ts";
import { processStartTime } from "../../sys/process/process.ts";
import { ShimContainer } from "./shim-container.ts";
import type { ShimServer, ShimServerOptions } from "./_shim-server.ts";
import type { NumberedRequest, StartOrder, StartResult } from "../shim-protocol.ts";

/** How long a shim without a container waits for a daemon. */
const lonelyMaxMs = 8_000;
/** How long an ended shim waits for the daemon to take the status and hang up. */
const farewellMaxMs = 5000;
/** How long a renewal waits for clients that still read. */
const clientsMaxMs = 1000;
/** After this long a container is no short one: the memory of its start is given back. */
const settledMs = 1000;

/** What a term needs of the shim. */
export interface ShimTermOptions {
  /** Exists, and is this term's alone. */
  readonly directory: string;
  readonly hostNetworkFd: number;
  /** Has the shim's socket served by this term. */
  readonly serve: (options: ShimServerOptions) => ShimServer;
  /** Opens the sandbox and the term of another directory. */
  readonly renew: (directory: string) => void;
  /** The shim is to end. */
  readonly onEnd: (how: { readonly removesDirectory: boolean }) => void;
}

/** One term; it lives by its socket. */
export class ShimTerm {
  readonly #options: ShimTermOptions;
  readonly #container: ShimContainer;
  readonly #server: ShimServer;
  #controlCount = 0;
  #lonely: ReturnType<typeof setTimeout> | undefined;
  #settled: ReturnType<typeof setTimeout> | undefined;
  #onHangUp: () => void = () => undefined;
  #isRenewed = false;

  constructor(options: ShimTermOptions) {
    this.#options = options;
    const { directory, hostNetworkFd } = options;
    this.#container = new ShimContainer({
      directory,
      hostNetworkFd,
      tell: (event) => this.#server.tell(event),
      onOver: () => void this.#leave(),
    });
    this.#server = options.serve({
      path: join(directory, "shim.sock"),
      handle: (request) => this.#handle(request),
      io: (execId) => this.#container.process(execId).io,
      onAttachmentClosed: (execId) => {
        if (execId !== undefined) this.#container.forgetIdle(execId);
      },
      onControlCount: (count) => this.#controlsChanged(count),
    });
    if (this.#controlCount === 0) this.#armLonely();
  }

  async #handle(request: NumberedRequest): Promise<unknown> {
    const container = this.#container;
    switch (request.op) {
      case "adopt":
        container.adopt(request.containerId, {
          pid: process.pid,
          startTime: String(processStartTime(process.pid) ?? 0),
        });
        return null;
      case "sandbox":
        return await container.openSandbox(request.plan);
      case "start":
        this.#settled = setTimeout(releaseMemory, settledMs).unref();
        return await this.#start(request);
      case "exec":
        return await container.exec(request);
      case "resize":
        container.process(request.execId).resize(request.rows, request.columns);
        return null;
      case "closeStdin":
        container.process(request.execId).io.closeStdin();
        return null;
      case "takeClient":
        return this.#server.takeClient(request);
      case "serveClient":
        await this.#server.serveClient(request);
        return null;
      case "endClient":
        this.#server.endClient(request.key);
        return null;
      case "state":
        return container.state();
      case "logState":
        return container.logState();
      case "abandon":
        this.#abandon();
        return null;
      case "renew":
        await this.#renew(request.directory);
        return null;
      default:
        return unreachable(request);
    }
  }

  async #start(request: StartOrder): Promise<StartResult> {
    try {
      return await this.#container.start(request);
    } catch (error) {
      // The daemon may have gone meanwhile, and nobody is left to abandon this shim.
      if (this.#controlCount === 0) this.#armLonely();
      throw error;
    }
  }

  #abandon(): void {
    const { phase } = this.#container;
    if (phase !== "spare" && phase !== "adopted") {
      throw new EngineError("conflict", `abandon shim: its container is ${phase}`);
    }
    // After the answer has been written.
    setTimeout(() => this.#end({ removesDirectory: true }), 0);
  }

  /** @throws conflict while the container or a client is there: nothing has changed then */
  async #renew(directory: string): Promise<void> {
    if (this.#container.phase !== "exited" || this.#isRenewed) {
      throw new EngineError("conflict", `renew shim: its container is ${this.#container.phase}`);
    }
    const late = `renew shim: clients still read after ${clientsMaxMs} ms`;
    await withDeadline(this.#container.clientsGone(), clientsMaxMs, late);
    this.#isRenewed = true;
    try {
      // Who cleans up behind the container must not take this process for its shim any more.
      rmSync(join(this.#options.directory, "shim.json"), { force: true });
      this.#container.release();
      this.#options.renew(directory);
      this.#onHangUp();
    } catch (error) {
      setTimeout(() => this.#end({ removesDirectory: false }), 0);
      throw error;
    }
  }

  #controlsChanged(count: number): void {
    this.#controlCount = count;
    clearTimeout(this.#lonely);
    if (count > 0) return;
    this.#onHangUp();
    const { phase } = this.#container;
    if (phase === "spare") this.#end({ removesDirectory: true });
    else if (phase === "adopted") this.#armLonely();
  }

  #armLonely(): void {
    clearTimeout(this.#lonely);
    this.#lonely = setTimeout(() => {
      const { phase } = this.#container;
      if (phase === "spare" || phase === "adopted") this.#end({ removesDirectory: true });
    }, lonelyMaxMs);
    // It listens while it waits; once it has ended, the timer must not keep the process.
    this.#lonely.unref();
  }

  /** The status is stored: clients are served to their end, the daemon hangs up. */
  async #leave(): Promise<void> {
    clearTimeout(this.#settled);
    const { promise: hungUp, resolve } = Promise.withResolvers<void>();
    this.#onHangUp = resolve;
    // Left running, the timer would keep the process.
    const timer = setTimeout(resolve, farewellMaxMs);
    if (this.#controlCount === 0) resolve();
    await Promise.all([hungUp, this.#container.clientsGone()]);
    clearTimeout(timer);
    if (!this.#isRenewed) this.#end({ removesDirectory: false });
  }

  #end(how: { readonly removesDirectory: boolean }): void {
    this.#server.close();
    this.#options.onEnd(how);
  }
}
