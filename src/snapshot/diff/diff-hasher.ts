/** Hashes the changes of snapshots in processes that stay: for who hashes one layer after another. */
import { openHelperPool } from "../../sys/process/helper-pool.ts";
import { decodeHashed, encodeDiffMessage } from "./_diff-protocol.ts";
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
/** An answer is one line; anything longer is not one. */
const answerSizeMaxBytes = 64 * 1024;

/** Opens a hasher. The first layer starts its process; the next ones find it there. */
export function openDiffHasher(options: DiffHasherOptions = {}): DiffHasher {
  const pool = openHelperPool({
    argv: options.command ?? diffHelperCommand(),
    what: "hash layer",
    helpersMax: options.processCountMax ?? processCountDefault,
    idleMs: options.idleMs ?? idleDefaultMs,
    answerSizeMaxBytes,
  });
  return {
    hash: async (request, call) => {
      const question = encodeDiffMessage({ operation: "hash", request }).trimEnd();
      return decodeHashed(await pool.ask(question, call));
    },
    [Symbol.asyncDispose]: async () => await pool[Symbol.asyncDispose](),
  };
}
