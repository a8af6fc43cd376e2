/** Finds the shim of a container again that an earlier daemon has left. */
import { join } from "node:path";
import { sleep } from "../lib/concurrency/retry.ts";
import { isKind } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { connectShim, ShimConnection } from "./_shim-connection.ts";
import { cleanUpBehind, isShimAlive, readShimRecord } from "./_shim-cleanup.ts";
import { readExitStatus, type ShimClient } from "./shim-client.ts";
import type { RecoveredShim } from "./shim.ts";
import { type ExitStatus, shimProtocolVersion, type ShimState } from "./shim-protocol.ts";

/** How long a shim that lives may refuse a daemon that comes back. */
const reconnectMaxMs = 5000;
const reconnectLookMs = 50;

/** What was found. */
export type FoundShim =
  | Exclude<RecoveredShim, { readonly kind: "running" }>
  | { readonly kind: "running"; readonly shim: ShimClient; readonly state: ShimState };

/** What recovering works with. */
export interface RecoveryOptions {
  /** Makes the client of a shim that answers; it is given back unless the container runs. */
  readonly open: (connection: ShimConnection, pid: number) => ShimClient;
  readonly logger: Logger;
}

/**
 * Finds the shim of a container. One that is neither running it nor has noted its end is ended, with
 * all that is left of the container.
 */
export async function recoverShim(
  known: { readonly containerId: string; readonly directory: string },
  options: RecoveryOptions,
): Promise<FoundShim> {
  const { containerId, directory } = known;
  const found = await askShim(directory, options);
  if (found.shim !== undefined) {
    const { shim, state } = found;
    return { kind: "running", shim, state };
  }
  const status = found.exit ?? readExitStatus(directory);
  if (status !== undefined) return { kind: "exited", containerId, status };
  const pid = readShimRecord(directory)?.shimPid;
  await cleanUpOrTell(directory, options.logger);
  const reason =
    found.reason ?? (pid === undefined ? "its shim left nothing" : `shim ${pid} was killed`);
  return { kind: "lost", containerId, reason };
}

/** What of one shim cannot be cleaned up must not keep the daemon from its others. */
export async function cleanUpOrTell(directory: string, logger: Logger): Promise<void> {
  try {
    await cleanUpBehind(directory);
  } catch (error) {
    logger.error("clean up behind a shim", { directory, error });
  }
}

/** A shim with a container that runs; or how that ended; or why nothing is known. */
type Asked =
  | { readonly shim: ShimClient; readonly state: ShimState }
  | { readonly shim?: undefined; readonly exit?: ExitStatus; readonly reason?: string };

async function askShim(directory: string, options: RecoveryOptions): Promise<Asked> {
  const shim = await reconnect(directory, options);
  if (shim === undefined) return {};
  try {
    const state = await shim.state();
    if (state.version === shimProtocolVersion && state.phase === "running") return { shim, state };
    shim.disconnect();
    return state.exit === undefined ? {} : { exit: state.exit };
  } catch (error) {
    shim.disconnect();
    if (!isKind(error, "unavailable", "deadline-exceeded")) throw error;
    return error.kind === "unavailable" ? {} : { reason: error.message };
  }
}

async function reconnect(
  directory: string,
  { open }: RecoveryOptions,
): Promise<ShimClient | undefined> {
  const record = readShimRecord(directory);
  if (record === undefined) return undefined;
  const deadline = performance.now() + reconnectMaxMs;
  while (isShimAlive(record) && performance.now() < deadline) {
    const socket = await connectShim(join(directory, "shim.sock"), { kind: "control" });
    if (socket !== undefined) return open(new ShimConnection(socket), record.shimPid);
    // One that has ended leaves when it is done.
    if (readExitStatus(directory) !== undefined) return undefined;
    await sleep(reconnectLookMs);
  }
  return undefined;
}
