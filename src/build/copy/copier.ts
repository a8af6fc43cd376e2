import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { Semaphore } from "../../lib/semaphore.ts";
import { selfExecutable } from "../../sys/process.ts";
import { layersOfTree } from "./_merged-tree.ts";
import { type Answer, decodeAnswer, encodeJob, type Job, lineMaxBytes } from "./_protocol.ts";
import type {
  Checksum,
  ChecksumRequest,
  Copier,
  CopyCall,
  CopyRequest,
  CopyResult,
  FileTree,
} from "./copy.ts";

/** How helpers are kept. */
export interface CopierOptions {
  /** The helper's argv; this program's `copy` when absent. */
  readonly helper?: readonly string[];
  /** Jobs that run at once; two when absent. */
  readonly helpersMax?: number;
  /**
   * A folder for the hashes of trees' files, made when missing: those of each tree that is read more
   * than once. Without it a checksum remembers only what its `hashCachePath` says.
   */
  readonly hashesRoot?: string;
  /** How long a helper without work is kept; half a minute when absent. */
  readonly idleMs?: number;
}

const helpersMaxDefault = 2;
const idleMsDefault = 30_000;
/** Trees whose hashes are kept. */
const hashFilesMax = 256;
const stderrMaxBytes = 4000;

/** Opens a copier; helpers are started as they are needed. */
export function openCopier(options: CopierOptions = {}): Copier {
  return new HelperCopier(options);
}

class HelperCopier implements Copier {
  readonly #argv: readonly string[];
  readonly #idleMs: number;
  readonly #hashesRoot: string | undefined;
  /** Trees that were read since the last clearing. */
  readonly #hashNames = new Set<string>();
  readonly #places: Semaphore;
  /** Helpers without a job, the one used last at the end. */
  readonly #idle: Helper[] = [];
  readonly #all = new Set<Helper>();
  #isClosed = false;

  constructor(options: CopierOptions) {
    this.#argv = options.helper ?? [...selfExecutable(), "copy"];
    this.#idleMs = options.idleMs ?? idleMsDefault;
    this.#hashesRoot = options.hashesRoot;
    if (options.hashesRoot !== undefined) clearHashes(options.hashesRoot);
    this.#places = new Semaphore(options.helpersMax ?? helpersMaxDefault);
  }

  async checksum(request: ChecksumRequest, call: CopyCall = {}): Promise<Checksum> {
    const job: Job = { kind: "checksum", request: this.#withHashes(request) };
    const answer = await this.#run(job, call);
    if (answer.kind === "checksum") return answer.checksum;
    throw wrongAnswer();
  }

  async copy(request: CopyRequest, call: CopyCall = {}): Promise<CopyResult> {
    const answer = await this.#run({ kind: "copy", request }, call);
    if (answer.kind === "copy") return answer.result;
    throw wrongAnswer();
  }

  async readFile(
    tree: FileTree,
    options: CopyCall & { readonly path: string; readonly sizeMaxBytes: number },
  ): Promise<Uint8Array | undefined> {
    const { path, sizeMaxBytes, ...call } = options;
    const answer = await this.#run({ kind: "read", tree, path, sizeMaxBytes }, call);
    if (answer.kind === "read") return answer.bytes;
    throw wrongAnswer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const helpers = [...this.#all];
    for (const helper of helpers) helper.kill();
    await Promise.all(helpers.map((helper) => helper.ended));
  }

  async #run(job: Job, { signal }: CopyCall): Promise<Answer> {
    return this.#places.run(async () => {
      if (isAborted(signal)) throw canceled(signal);
      if (this.#isClosed) throw new EngineError("canceled", "copy files: closing");
      const helper = this.#take();
      const onAbort = (): void => helper.kill();
      signal?.addEventListener("abort", onAbort, { once: true });
      try {
        const line = await helper.ask(encodeJob(job));
        this.#keep(helper);
        return decodeAnswer(line);
      } catch (error) {
        // Another end than the one that was asked for has its own sentence.
        if (isAborted(signal)) throw canceled(signal);
        throw error;
      } finally {
        signal?.removeEventListener("abort", onAbort);
      }
    });
  }

  /** Names of a tree's own: its folder, or its uppermost layer. */
  #withHashes(request: ChecksumRequest): ChecksumRequest {
    const root = this.#hashesRoot;
    if (root === undefined || request.hashCachePath !== undefined) return request;
    const path = layersOfTree(request.tree)[0] ?? "";
    const name = createHash("sha256").update(path).digest("hex");
    this.#hashNames.add(name);
    if (this.#hashNames.size > hashFilesMax) {
      clearHashes(root);
      this.#hashNames.clear();
    }
    return { ...request, hashCachePath: join(root, name) };
  }

  #take(): Helper {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const helper = new Helper(this.#argv);
    this.#all.add(helper);
    void helper.ended.then(() => {
      this.#all.delete(helper);
      const at = this.#idle.indexOf(helper);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    return helper;
  }

  #keep(helper: Helper): void {
    if (this.#isClosed || !helper.isRunning) return;
    this.#idle.push(helper);
    helper.rest(this.#idleMs, () => {
      const at = this.#idle.indexOf(helper);
      if (at < 0) return;
      this.#idle.splice(at, 1);
      helper.kill();
    });
  }
}

/** One helper process: one job at a time. */
class Helper {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Settled when the process has ended. */
  readonly ended: Promise<void>;
  #waiting: PromiseWithResolvers<string> | undefined;
  #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #stderr = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end: EngineError | undefined;

  constructor(argv: readonly string[]) {
    const [program = "", ...args] = argv;
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    const done = Promise.withResolvers<void>();
    this.ended = done.promise;
    const finish = (reason: string): void => {
      this.#end ??= new EngineError("internal", `copy files: the helper ${reason}`, {
        details: { stderr: this.#stderr.slice(-stderrMaxBytes) },
      });
      clearTimeout(this.#timer);
      this.#waiting?.reject(this.#end);
      this.#waiting = undefined;
      done.resolve();
    };
    this.#child.on("error", (error) => finish(`did not start: ${messageOf(error)}`));
    this.#child.on("exit", (code, signal) => finish(`ended with ${signal ?? `exit code ${code}`}`));
    // Its end is told by the process, not by the pipe.
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-stderrMaxBytes);
    });
  }

  get isRunning(): boolean {
    return this.#end === undefined;
  }

  /** Gives a job and waits for the line that answers it. */
  async ask(line: string): Promise<string> {
    clearTimeout(this.#timer);
    if (this.#end !== undefined) throw this.#end;
    const waiting = Promise.withResolvers<string>();
    this.#waiting = waiting;
    this.#child.stdin.write(line);
    return waiting.promise;
  }

  /** Calls back when no job has come for a while; the next `ask` takes that back. */
  rest(idleMs: number, onIdle: () => void): void {
    this.#timer = setTimeout(onIdle, idleMs);
    this.#timer.unref();
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #take(chunk: Buffer): void {
    const end = chunk.indexOf("\n");
    this.#chunks.push(end < 0 ? chunk : chunk.subarray(0, end));
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > lineMaxBytes) this.kill();
    if (end < 0) return;
    const line = Buffer.concat(this.#chunks).toString();
    this.#chunks = [];
    this.#sizeBytes = 0;
    this.#waiting?.resolve(line);
    this.#waiting = undefined;
  }
}

/** Makes the folder, and forgets the trees that were not read for longest. */
function clearHashes(root: string): void {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const files = readdirSync(root).map((name) => {
    const path = join(root, name);
    return { path, mtimeMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 };
  });
  const old = files.toSorted((left, right) => right.mtimeMs - left.mtimeMs).slice(hashFilesMax);
  for (const { path } of old) rmSync(path, { recursive: true, force: true });
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function canceled(signal: AbortSignal | undefined): EngineError {
  return new EngineError("canceled", "copy files: canceled", { cause: signal?.reason });
}

function wrongAnswer(): EngineError {
  return new EngineError("internal", "copy files: the helper's answer is to another question");
}
