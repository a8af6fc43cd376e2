import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { withDeadline } from "../lib/concurrency/deadline.ts";
import { codeOf, EngineError } from "../lib/errors.ts";

/** How long one command may take; thousands of elements take a quarter of a second. */
const commandTimeoutMs = 10_000;
/** The child is not kept longer without work. */
const idleTimeoutMs = 60_000;
/** nft keeps memory of past commands: a child that did so many is replaced. */
const commandCountMax = 5_000;
/** Of error text kept; the rest of an endless complaint is dropped. */
const errorSizeMax = 64 * 1024;

/**
 * One long-lived `nft -i`, fed line by line: a change costs a tenth of what a process costs.
 *
 * nft says nothing about success. So each line is followed by a marker that it cannot parse: what it
 * complains of before it complains of the marker is the failure of the line. Lines run one at a
 * time, in the order asked, each as one transaction. A child that died or hangs is replaced.
 */
export class NftSession implements AsyncDisposable {
  readonly #program: string;
  #child: ChildProcessWithoutNullStreams | undefined;
  #stderr = "";
  #onOutput: (() => void) | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #markerCount = 0;
  #commandCount = 0;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(program = "nft") {
    this.#program = program;
  }

  /**
   * Runs the commands as one transaction.
   *
   * @param commands statements separated by `;` or newlines; no comments
   * @returns what nft complained of; empty when all of it took effect
   * @throws unavailable when nft cannot be started, dies or hangs: what took effect is unknown
   */
  async run(commands: string): Promise<string> {
    const turn = this.#tail.then(() => this.#run(commands.replaceAll("\n", " ")));
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** Ends the child; the next command starts another. */
  async close(): Promise<void> {
    await this.#tail;
    this.#end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(line: string): Promise<string> {
    clearTimeout(this.#idleTimer);
    this.#commandCount += 1;
    if (this.#commandCount > commandCountMax) this.#end();
    const child = this.#child ?? (await this.#start());
    this.#markerCount += 1;
    const marker = `tugmark${this.#markerCount}`;
    this.#stderr = "";
    try {
      const answer = this.#waitFor(child, marker);
      child.stdin.write(`${line}\n${marker}\n`);
      return await withDeadline(answer, commandTimeoutMs, "change the packet filter: nft hangs");
    } catch (error) {
      this.#end();
      throw new EngineError("unavailable", "change the packet filter: nft does not answer", {
        cause: error,
      });
    } finally {
      this.#idleTimer = setTimeout(() => this.#end(), idleTimeoutMs);
      this.#idleTimer.unref();
    }
  }

  async #start(): Promise<ChildProcessWithoutNullStreams> {
    const child = spawn(this.#program, ["-i"], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", LC_ALL: "C" },
      cwd: "/",
    });
    const started = Promise.withResolvers<void>();
    child.once("spawn", started.resolve);
    child.once("error", started.reject);
    try {
      await started.promise;
    } catch (error) {
      throw new EngineError("unavailable", startFailure(codeOf(error)), { cause: error });
    }
    child.on("error", () => this.#onOutput?.());
    child.on("exit", () => this.#onOutput?.());
    child.stdin.on("error", () => this.#onOutput?.());
    child.stdout.resume();
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (this.#stderr.length < errorSizeMax) this.#stderr += text;
      else this.#stderr = this.#stderr.slice(errorSizeMax / 2) + text;
      this.#onOutput?.();
    });
    child.unref();
    this.#child = child;
    this.#commandCount = 1;
    return child;
  }

  async #waitFor(child: ChildProcessWithoutNullStreams, marker: string): Promise<string> {
    for (;;) {
      const end = this.#stderr.indexOf(`\n${marker}\n`);
      if (end >= 0) {
        // Before the marker stands the head line of the complaint about it; before the first
        // "Error:" may stand the end of the complaint about the last marker.
        const said = this.#stderr.slice(0, this.#stderr.lastIndexOf("\n", end - 1) + 1);
        const first = said.indexOf("Error:");
        return first < 0 ? "" : said.slice(first).trim();
      }
      if (child.exitCode !== null || child.signalCode !== null || !child.stdin.writable) {
        throw new EngineError("unavailable", `nft ended: ${this.#stderr.slice(0, 500).trim()}`);
      }
      await new Promise<void>((resolve) => {
        this.#onOutput = resolve;
      });
    }
  }

  #end(): void {
    clearTimeout(this.#idleTimer);
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGKILL");
  }
}

function startFailure(code: string | undefined): string {
  if (code === "ENOENT") {
    return "change the packet filter: nft not found, install the package nftables";
  }
  return "change the packet filter: nft does not start";
}
