import { closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../lib/concurrency/retry.ts";
import { EngineError } from "../lib/errors.ts";
import { isSameProcess, processStartTime, spawnDetached } from "../sys/process/process.ts";
import { cleanUpBehind, noteSpare } from "./_shim-cleanup.ts";
import { connectShim, ShimConnection } from "./_shim-connection.ts";
import type { ShimFolders } from "./_shim-folders.ts";

/** Until a started shim must listen. */
const readyMaxMs = 10_000;
const readyLookMs = 1;

/**
 * Shims are told nothing by the environment of the daemon; what they are told, to be small: no pages
 * kept ready for a heap that hardly grows, and no compiled code (with threads that compile, and a heap
 * each) of what runs at the start alone. The loops that carry output are compiled as ever.
 */
const environmentDefault: Readonly<Record<string, string>> = {
  BUN_JSC_useWarmUpMarkedBlocks: "0",
  BUN_JSC_thresholdForJITAfterWarmUp: "5000",
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};

/** How shims are started. */
export interface ShimProgram {
  /** Argv prefix that starts a shim; the directory is appended. */
  readonly command: readonly string[];
  /** The whole environment of shims; a search path alone when absent. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A shim that answers. */
export interface StartedShim {
  readonly connection: ShimConnection;
  readonly name: string;
  readonly directory: string;
  readonly pid: number;
}

/**
 * Starts a shim and waits until it answers; of one that does not, nothing is left.
 *
 * @throws unavailable when it ends or does not answer
 */
export async function startShim(program: ShimProgram, folders: ShimFolders): Promise<StartedShim> {
  const { name, directory } = folders.make();
  try {
    const pid = spawnShim(program, directory);
    noteSpare(directory, { pid });
    return { connection: await connected(directory, pid), name, directory, pid };
  } catch (error) {
    // One that is late has no business any more.
    await cleanUpBehind(directory);
    await folders.remove(name);
    throw error;
  }
}

function spawnShim({ command, env }: ShimProgram, directory: string): number {
  const log = openSync(join(directory, "shim.log"), "a", 0o600);
  try {
    return spawnDetached({
      argv: [...command, directory],
      cwd: "/",
      env: env ?? environmentDefault,
      stdio: ["ignore", log, log],
    }).pid;
  } finally {
    closeSync(log);
  }
}

async function connected(directory: string, pid: number): Promise<ShimConnection> {
  const deadline = performance.now() + readyMaxMs;
  const path = join(directory, "shim.sock");
  const startTime = processStartTime(pid);
  while (performance.now() < deadline) {
    const socket = existsSync(path) ? await connectShim(path, { kind: "control" }) : undefined;
    if (socket !== undefined) return new ShimConnection(socket);
    if (startTime === undefined || !isSameProcess(pid, startTime)) {
      throw new EngineError("unavailable", `start shim: process ${pid} has ended`);
    }
    await sleep(readyLookMs);
  }
  throw new EngineError("unavailable", `start shim: process ${pid} does not answer`);
}
