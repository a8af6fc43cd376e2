/**
 * Helper processes that stay: each is asked one thing at a time by a line, and answers with a line.
 *
 * For work that must not hold up the event loop and is asked for often: the start of a process is
 * paid once. A helper that is told to stop, says too much or ends is not asked again.
 */
import type { ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { codeOf, EngineError, messageOf } from "../../lib/errors.ts";
import { Semaphore } from "../../lib/concurrency/semaphore.ts";

/** How helpers are kept. */
export interface HelperPoolOptions {
  readonly argv: readonly string[];
  /** What helpers do, for sentences: "unpack layer". */
  readonly what: string;
  /** Helpers at the same time; more who ask wait. */
  readonly helpersMax: number;
  /** How long one helper without work is kept; a further one goes after `furtherIdleMs`. */
  readonly idleMs: number;
  /** An answer that is longer is none. */
  readonly answerSizeMaxBytes: number;
}

/** Helpers of one kind. Closing ends them; who waits is told `canceled`. */
export interface HelperPool extends AsyncDisposable {
  /** Whether who asks now would wait for a helper. */
  readonly isBusy: boolean;
  /** Starts a helper for who will ask in a moment, unless one is idle. */
  warmUp(): void;
  /**
   * Asks a helper.
   *
   * @param question one line, without its end
   * @param options.signal its abort kills the helper
   * @param options.onNews told of lines before the answer that begin with `newsMark`, without it
   * @returns the answer, without the line's end
   * @throws canceled; internal with what the helper printed to stderr when it ended instead
   */
  ask(question: string, options?: AskOptions): Promise<string>;
}

/** How a helper is asked. */
export interface AskOptions {
  readonly signal?: AbortSignal;
  readonly onNews?: (line: string) => void;
}

/** Begins a line of a helper that is not its answer yet. */
export const newsMark = "+";

/** Who asked several at once may do so again in a moment; later one will do to begin with. */
const furtherIdleMs = 2000;

/** Helpers take a third of a contended processor's time: who answers requests goes first. */
const helperNice = 5;

/**
 * The runtime's slowest compiler makes code fast that runs for long: in the second or so that a helper works,
 * it takes more of a processor than it gains.
 */
const helperEnv: Readonly<Record<string, string>> = { BUN_JSC_useFTLJIT: "0" };

const stderrMaxLength = 4000;
const newline = 0x0a;

/** Opens a pool; helpers are started when they are needed. */
export function openHelperPool(options: HelperPoolOptions): HelperPool {
  return new ProcessPool(options);
}

class ProcessPool implements HelperPool {
  readonly #options: HelperPoolOptions;
  readonly #places: Semaphore;
  /** Helpers without work, the one used last at the end. */
  readonly #idle: Helper[] = [];
  readonly #all = new Set<Helper>();
  #isClosed = false;

  constructor(options: HelperPoolOptions) {
    this.#options = options;
    this.#places = new Semaphore(options.helpersMax);
  }

  get isBusy(): boolean {
    return this.#places.isFull;
  }

  warmUp(): void {
    if (this.#isClosed || this.isBusy || this.#idle.length > 0) return;
    this.#keep(this.#take());
  }

  async ask(question: string, { signal, onNews }: AskOptions = {}): Promise<string> {
    return await this.#places.run(async () => {
      if (this.#isClosed || isAborted(signal)) throw this.#canceled(signal);
      const helper = this.#take();
      const onAbort = (): void => helper.kill();
      signal?.addEventListener("abort", onAbort, { once: true });
      try {
        const answer = await helper.ask(question, onNews);
        // One that was killed meanwhile has not ended yet, and would fail whoever asks next.
        if (!isAborted(signal)) this.#keep(helper);
        return answer;
      } catch (error) {
        // An end that was asked for has its own sentence.
        if (this.#isClosed || isAborted(signal)) throw this.#canceled(signal);
        throw error;
      } finally {
        signal?.removeEventListener("abort", onAbort);
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const helpers = [...this.#all];
    for (const helper of helpers) helper.kill();
    await Promise.all(helpers.map(async (helper) => await helper.ended));
  }

  #take(): Helper {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const helper = new Helper(this.#options);
    this.#all.add(helper);
    void helper.ended.then(() => {
      this.#all.delete(helper);
      this.#leave(helper);
    });
    return helper;
  }

  #keep(helper: Helper): void {
    if (this.#isClosed || !helper.isRunning) return;
    const { idleMs } = this.#options;
    const restMs = this.#idle.length === 0 ? idleMs : Math.min(idleMs, furtherIdleMs);
    this.#idle.push(helper);
    helper.rest(restMs, () => {
      if (this.#leave(helper)) helper.kill();
    });
  }

  /** Takes a helper off the shelf. @returns whether it was there */
  #leave(helper: Helper): boolean {
    const at = this.#idle.indexOf(helper);
    if (at >= 0) this.#idle.splice(at, 1);
    return at >= 0;
  }

  #canceled(signal: AbortSignal | undefined): EngineError {
    return new EngineError("canceled", `${this.#options.what}: canceled`, {
      cause: signal?.reason,
    });
  }
}

/** One process. */
class Helper {
  /** Settled when the process has ended; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: HelperPoolOptions;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #waiting: PromiseWithResolvers<string> | undefined;
  #onNews: ((line: string) => void) | undefined;
  #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #stderr = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end: EngineError | undefined;

  constructor(options: HelperPoolOptions) {
    this.#options = options;
    const [program = "", ...args] = options.argv;
    // Helpers load this file too, and start none.
    const { spawn } = process.getBuiltinModule("node:child_process");
    this.#child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...helperEnv },
    });
    giveWay(this.#child.pid);
    const done = Promise.withResolvers<void>();
    this.ended = done.promise;
    const finish = (reason: string): void => {
      this.#finish(reason);
      done.resolve();
    };
    this.#child.on("error", (error) => finish(`did not start: ${messageOf(error)}`));
    this.#child.on("exit", (code, signal) => finish(`ended with ${signal ?? `exit code ${code}`}`));
    // Its end is told by the process, not by the pipe.
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.on("data", (chunk: Buffer) => this.#received(chunk));
    this.#child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-stderrMaxLength);
    });
  }

  get isRunning(): boolean {
    return this.#end === undefined;
  }

  async ask(question: string, onNews: ((line: string) => void) | undefined): Promise<string> {
    clearTimeout(this.#timer);
    if (this.#end !== undefined) throw this.#end;
    this.#onNews = onNews;
    const waiting = Promise.withResolvers<string>();
    this.#waiting = waiting;
    this.#child.stdin.write(`${question}\n`);
    return await waiting.promise;
  }

  /** Calls back when nobody has asked for a while. */
  rest(idleMs: number, onIdle: () => void): void {
    this.#timer = setTimeout(onIdle, idleMs);
    this.#timer.unref();
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #received(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      this.#gather(rest.subarray(0, end));
      this.#line(Buffer.concat(this.#chunks).toString());
      this.#chunks = [];
      this.#sizeBytes = 0;
      rest = rest.subarray(end + 1);
    }
    this.#gather(rest);
  }

  #gather(part: Buffer): void {
    this.#chunks.push(part);
    this.#sizeBytes += part.length;
    if (this.#sizeBytes <= this.#options.answerSizeMaxBytes) return;
    this.#finish("answered too much");
    this.kill();
  }

  #line(line: string): void {
    if (line.startsWith(newsMark)) {
      this.#onNews?.(line.slice(newsMark.length));
      return;
    }
    this.#waiting?.resolve(line);
    this.#waiting = undefined;
  }

  #finish(reason: string): void {
    this.#end ??= new EngineError("internal", `${this.#options.what}: the helper ${reason}`, {
      details: { stderr: this.#stderr },
    });
    clearTimeout(this.#timer);
    this.#waiting?.reject(this.#end);
    this.#waiting = undefined;
  }
}

/** Lowers the priority of a process that has just been started, before it has further threads. */
function giveWay(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.getBuiltinModule("node:os").setPriority(pid, helperNice);
  } catch (error) {
    // It has ended already: its exit tells why.
    if (codeOf(error) !== "ERR_SYSTEM_ERROR") throw error;
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
