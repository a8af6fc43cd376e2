/** The program `tug shim <directory>`: see `shim-protocol.ts` for what it does. */
import { closeSync, rmSync } from "node:fs";
import { join } from "node:path";
import { unreachable } from "../lib/assert.ts";
import { EngineError } from "../lib/errors.ts";
import { releaseMemory } from "../sys/memory.ts";
import { openNamespace, unshareNetwork } from "../sys/namespace.ts";
import { becomeSubreaper, processStartTime } from "../sys/process.ts";
import { watchOrphans } from "./_orphans.ts";
import { setLoopbackUp } from "./_sandbox.ts";
import { ShimContainer } from "./_shim-container.ts";
import { ShimServer } from "./_shim-server.ts";
import { warmProcessStart } from "./_shim-process.ts";
import type { NumberedRequest, StartRequest, StartResult } from "./shim-protocol.ts";

/** How long a shim without a container waits for a daemon. */
const lonelyMaxMs = 8_000;
/** How long an ended shim waits for the daemon to take the status and hang up. */
const farewellMaxMs = 5000;
/** After this long a container is no short one: the memory of its start is given back. */
const settledMs = 1000;

/**
 * Runs a shim until its container has ended, or nobody wants it.
 *
 * @param argv the directory: it exists, and is the shim's alone
 * @returns the exit code
 */
export async function shimMain(argv: readonly string[]): Promise<number> {
  const [directory] = argv;
  if (directory === undefined || argv.length !== 1) return 2;
  const shim = new ShimProgram(directory);
  await shim.over;
  return 0;
}

class ShimProgram {
  readonly #directory: string;
  readonly #container: ShimContainer;
  readonly #server: ShimServer;
  readonly #over = Promise.withResolvers<void>();
  readonly #hostNetworkFd: number;
  #controlCount = 0;
  #lonely: ReturnType<typeof setTimeout> | undefined;
  #onHangUp: () => void = () => undefined;

  constructor(directory: string) {
    this.#directory = directory;
    process.chdir("/");
    becomeSubreaper();
    this.#hostNetworkFd = openNamespace("/proc/thread-self/ns/net");
    unshareNetwork();
    setLoopbackUp();
    warmProcessStart();
    watchOrphans();
    // Ending is the container's business, not that of a terminal or a session.
    for (const signal of ["SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE"] as const) {
      process.on(signal, () => undefined);
    }
    this.#container = new ShimContainer({
      directory,
      hostNetworkFd: this.#hostNetworkFd,
      tell: (event) => this.#server.tell(event),
      onOver: () => void this.#leave(),
    });
    this.#server = new ShimServer({
      path: join(directory, "shim.sock"),
      handle: (request) => this.#handle(request),
      io: (execId) => this.#container.process(execId).io,
      onAttachmentClosed: (execId) => {
        if (execId !== undefined) this.#container.forgetIdle(execId);
      },
      onControlCount: (count) => this.#controlsChanged(count),
    });
    this.#armLonely();
  }

  get over(): Promise<void> {
    return this.#over.promise;
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
      case "start":
        setTimeout(releaseMemory, settledMs).unref();
        return await this.#start(request);
      case "exec":
        return await container.exec(request);
      case "resize":
        container.process(request.execId).resize(request.rows, request.columns);
        return null;
      case "closeStdin":
        container.process(request.execId).io.closeStdin();
        return null;
      case "state":
        return container.state();
      case "logState":
        return container.logState();
      case "abandon":
        this.#abandon();
        return null;
      default:
        return unreachable(request);
    }
  }

  async #start(request: StartRequest): Promise<StartResult> {
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
    setTimeout(() => this.#end(true), 0);
  }

  #controlsChanged(count: number): void {
    this.#controlCount = count;
    clearTimeout(this.#lonely);
    if (count > 0) return;
    this.#onHangUp();
    const { phase } = this.#container;
    if (phase === "spare") this.#end(true);
    else if (phase === "adopted") this.#armLonely();
  }

  #armLonely(): void {
    clearTimeout(this.#lonely);
    this.#lonely = setTimeout(() => {
      const { phase } = this.#container;
      if (phase === "spare" || phase === "adopted") this.#end(true);
    }, lonelyMaxMs);
    // It listens while it waits; once it has ended, the timer must not keep the process.
    this.#lonely.unref();
  }

  /** The status is stored: clients are served to their end, the daemon hangs up. */
  async #leave(): Promise<void> {
    const { promise: hungUp, resolve } = Promise.withResolvers<void>();
    this.#onHangUp = resolve;
    // Left running, the timer would keep the process.
    const timer = setTimeout(resolve, farewellMaxMs);
    if (this.#controlCount === 0) resolve();
    await Promise.all([hungUp, this.#container.clientsGone()]);
    clearTimeout(timer);
    this.#end(false);
  }

  #end(removesDirectory: boolean): void {
    this.#server.close();
    if (removesDirectory) rmSync(this.#directory, { recursive: true, force: true });
    closeSync(this.#hostNetworkFd);
    this.#over.resolve();
  }
}

if (import.meta.main) process.exit(await shimMain(process.argv.slice(2)));
