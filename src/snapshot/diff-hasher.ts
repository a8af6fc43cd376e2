/** Hashes the changes of snapshots in processes that stay: for who hashes one layer after another. */
import { closeSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import {
  type FdReader,
  type FdWriter,
  makePipe,
  openFdReader,
  openFdWriter,
} from "../sys/fd-stream.ts";
import { run } from "../sys/process.ts";
import { decodeHashed, encodeDiffMessage, failureOfEnd } from "./_diff-protocol.ts";
import { diffHelperCommand } from "./diff-client.ts";
import type { DiffRequest, HashedDiff } from "./diff.ts";

/** Hashes layers without their bytes ever coming to this process. */
export interface DiffHasher extends AsyncDisposable {
  /**
   * Hashes what `openDiff` of the same request streams.
   *
   * @throws what `writeDiff` throws; canceled; internal when the helper died
   */
  hash(request: DiffRequest, options?: { readonly signal?: AbortSignal }): Promise<HashedDiff>;
}

/** How `openDiffHasher` works. */
export interface DiffHasherOptions {
  /** The helper's argv; this program's when absent. */
  readonly command?: readonly string[];
  /** Layers hashed at the same time; more wait. */
  readonly processCountMax?: number;
  /** After so long without work a process ends. */
  readonly idleMs?: number;
}

const processCountDefault = 2;
const idleDefaultMs = 60_000;

/** Opens a hasher. The first layer starts its process; the next ones find it there. */
export function openDiffHasher(options: DiffHasherOptions = {}): DiffHasher {
  return new ProcessHasher({
    command: options.command ?? diffHelperCommand(),
    processCountMax: options.processCountMax ?? processCountDefault,
    idleMs: options.idleMs ?? idleDefaultMs,
  });
}

interface Job {
  readonly request: DiffRequest;
  readonly signal: AbortSignal | undefined;
  readonly done: PromiseWithResolvers<HashedDiff>;
}

class ProcessHasher implements DiffHasher {
  readonly #options: Required<DiffHasherOptions>;
  readonly #idle: HashProcess[] = [];
  readonly #processes = new Set<HashProcess>();
  readonly #waiting: Job[] = [];
  #isClosed = false;

  constructor(options: Required<DiffHasherOptions>) {
    this.#options = options;
  }

  hash(request: DiffRequest, options: { readonly signal?: AbortSignal } = {}): Promise<HashedDiff> {
    if (this.#isClosed || options.signal?.aborted === true) return Promise.reject(canceled());
    const job = { request, signal: options.signal, done: Promise.withResolvers<HashedDiff>() };
    this.#waiting.push(job);
    this.#next();
    return job.done.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const job of this.#waiting.splice(0)) job.done.reject(canceled());
    const processes = [...this.#processes];
    for (const process of processes) process.close();
    await Promise.all(processes.map((process) => process.ended));
  }

  #next(): void {
    while (this.#waiting.length > 0) {
      const free = this.#idle.pop() ?? this.#start();
      if (free === undefined) return;
      const job = this.#waiting.shift();
      if (job !== undefined) this.#run(free, job);
    }
  }

  #start(): HashProcess | undefined {
    if (this.#processes.size >= this.#options.processCountMax) return undefined;
    const process = new HashProcess(this.#options.command);
    this.#processes.add(process);
    void process.ended.then(() => {
      this.#processes.delete(process);
      const index = this.#idle.indexOf(process);
      if (index >= 0) this.#idle.splice(index, 1);
      if (!this.#isClosed) this.#next();
    });
    return process;
  }

  #run(process: HashProcess, { request, signal, done }: Job): void {
    const abort = (): void => {
      // It cannot be interrupted: the next layer gets a new process.
      done.reject(canceled());
      process.close();
    };
    if (signal?.aborted === true) abort();
    signal?.addEventListener("abort", abort, { once: true });
    void process
      .ask(request)
      .finally(() => {
        signal?.removeEventListener("abort", abort);
        if (!process.isOpen) return;
        process.rest(this.#options.idleMs);
        this.#idle.push(process);
        this.#next();
      })
      .then(done.resolve, done.reject);
  }
}

/** One helper; asked one thing at a time. */
class HashProcess {
  /** Resolves when it has ended; never rejects. */
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  readonly #input: FdWriter;
  readonly #output: FdReader;
  #received = "";
  #answer: PromiseWithResolvers<HashedDiff> | undefined;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  isOpen = true;

  constructor(command: readonly string[]) {
    const requests = makePipe();
    const answers = makePipe();
    this.ended = run({
      argv: command,
      stdio: { stdin: requests.read, stdout: answers.write },
      signal: this.#stop.signal,
    }).then(
      (end) => this.#finish(failureOfEnd(end)),
      (error: unknown) => this.#finish(error),
    );
    closeSync(requests.read);
    closeSync(answers.write);
    this.#input = openFdWriter(requests.write);
    this.#output = openFdReader(answers.read, {
      onData: (chunk) => this.#take(Buffer.from(chunk).toString()),
      onEnd: () => undefined,
    });
  }

  ask(request: DiffRequest): Promise<HashedDiff> {
    clearTimeout(this.#idleTimer);
    const answer = Promise.withResolvers<HashedDiff>();
    if (!this.isOpen) return Promise.reject(canceled());
    this.#answer = answer;
    this.#input.write(Buffer.from(encodeDiffMessage({ operation: "hash", request })));
    return answer.promise;
  }

  /** Ends it after a while, unless it is asked again. */
  rest(idleMs: number): void {
    this.#idleTimer = setTimeout(() => this.close(), idleMs);
    this.#idleTimer.unref();
  }

  close(): void {
    this.isOpen = false;
    clearTimeout(this.#idleTimer);
    this.#stop.abort();
  }

  #take(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf("\n");
    if (end < 0) return;
    const line = this.#received.slice(0, end);
    this.#received = this.#received.slice(end + 1);
    const answer = this.#answer;
    this.#answer = undefined;
    try {
      answer?.resolve(decodeHashed(line));
    } catch (error) {
      answer?.reject(error);
    }
  }

  #finish(reason: unknown): void {
    this.isOpen = false;
    clearTimeout(this.#idleTimer);
    this.#input.close();
    this.#output.close();
    this.#answer?.reject(reason);
    this.#answer = undefined;
  }
}

function canceled(): EngineError {
  return new EngineError("canceled", "hash layer: canceled");
}
