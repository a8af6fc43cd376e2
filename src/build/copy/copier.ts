import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { type HelperPool, openHelperPool } from "../../sys/process/helper-pool.ts";
import { selfExecutable } from "../../sys/process/process.ts";
import { layersOfTree } from "../tree/merged-tree.ts";
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

/** Opens a copier; helpers are started as they are needed. */
export function openCopier(options: CopierOptions = {}): Copier {
  return new HelperCopier(options);
}

class HelperCopier implements Copier {
  readonly #pool: HelperPool;
  readonly #hashesRoot: string | undefined;
  /** Trees that were read since the last clearing. */
  readonly #hashNames = new Set<string>();

  constructor(options: CopierOptions) {
    this.#pool = openHelperPool({
      argv: options.helper ?? [...selfExecutable(), "copy"],
      what: "copy files",
      helpersMax: options.helpersMax ?? helpersMaxDefault,
      idleMs: options.idleMs ?? idleMsDefault,
      answerSizeMaxBytes: lineMaxBytes,
    });
    this.#hashesRoot = options.hashesRoot;
    if (options.hashesRoot !== undefined) clearHashes(options.hashesRoot);
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
    await this.#pool[Symbol.asyncDispose]();
  }

  async #run(job: Job, call: CopyCall): Promise<Answer> {
    return decodeAnswer(await this.#pool.ask(encodeJob(job), call));
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

function wrongAnswer(): EngineError {
  return new EngineError("internal", "copy files: the helper's answer is to another question");
}
