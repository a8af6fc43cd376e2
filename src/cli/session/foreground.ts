/** A container with this process's streams joined to it, from before its start to its end. */
import {
  actOnContainer,
  attachContainer,
  type ContainerWait,
  inspectContainer,
  resizeContainer,
  waitForContainer,
} from "../../client/containers.ts";
import type { Transport } from "../../client/transport.ts";
import type { ContainerWaitResponse } from "../../api/container.ts";
import { EngineError } from "../../lib/errors.ts";
import { valueWithin } from "../../lib/concurrency/deadline.ts";
import { startFailureCode, withExitCode } from "../errors.ts";
import { followSize } from "./resize.ts";
import { openSession, type Session } from "./session.ts";
import { forwardSignals } from "./signals.ts";

/** How to join. */
export interface ForegroundOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly isTty: boolean;
  readonly detachKeys: string;
  readonly proxiesSignals: boolean;
  /** What the end is: removal when the engine removes it by itself. */
  readonly condition: "next-exit" | "removed" | "not-running";
  /** Start it after joining; otherwise it runs already. */
  readonly starts: boolean;
  /** Called once it has started. */
  readonly onStarted?: () => void;
}

/**
 * Joins, starts, waits.
 *
 * @returns the container's exit code; 0 when the detach keys were typed
 * @throws the engine's refusal to start, with the exit code that Docker gives it
 */
export async function runForeground(
  transport: Transport,
  container: string,
  options: ForegroundOptions,
): Promise<number> {
  const cleanups: (() => void)[] = [];
  if (options.proxiesSignals && !options.isTty) {
    cleanups.push(forwardSignals(transport, container));
  }
  try {
    await using wait = await waitForContainer(transport, container, {
      condition: options.condition,
    });
    const hijacked = await attachContainer(transport, container, {
      stdin: options.stdin,
      stdout: options.stdout,
      stderr: options.stderr,
      detachKeys: options.detachKeys,
    });
    await using session = openSession(hijacked, {
      hasInput: options.stdin,
      hasOutput: options.stdout || options.stderr,
      isTty: options.isTty,
      detachKeys: options.detachKeys,
    });
    if (options.starts) await start(transport, container, { wait, options });
    options.onStarted?.();
    if (options.isTty) {
      cleanups.push(followSize((size) => resizeContainer(transport, container, size)));
    }
    return await finish(transport, container, { session, wait, options });
  } finally {
    for (const cleanup of cleanups) cleanup();
  }
}

async function start(
  transport: Transport,
  container: string,
  around: { readonly wait: ContainerWait; readonly options: ForegroundOptions },
): Promise<void> {
  try {
    await actOnContainer(transport, container, { action: "start" });
  } catch (error) {
    // The engine removes what was to be removed; the next command must not meet it.
    if (around.options.condition === "removed") await settled(around.wait.result);
    throw withExitCode(error, startFailureCode(error));
  }
}

/** How long the exit may follow the end of the output before the engine is asked. */
const exitLagMs = 300;

async function finish(
  transport: Transport,
  container: string,
  ending: {
    readonly session: Session;
    readonly wait: ContainerWait;
    readonly options: ForegroundOptions;
  },
): Promise<number> {
  const { session, wait, options } = ending;
  if ((await session.ended) === "detached") return 0;
  if (!options.stdout && !options.stderr) return 0;
  const result = await valueWithin(wait.result, exitLagMs);
  if (result !== undefined) return exitCodeIn(result);
  // The stream has ended and the container may not: then the engine saw the detach keys.
  if (options.isTty && (await isRunning(transport, container))) return 0;
  return exitCodeIn(await wait.result);
}

async function isRunning(transport: Transport, container: string): Promise<boolean> {
  try {
    return (await inspectContainer(transport, container)).State.Running;
  } catch (error) {
    if (error instanceof EngineError && error.kind === "not-found") return false;
    throw error;
  }
}

function exitCodeIn(result: ContainerWaitResponse): number {
  const failure = result.Error?.Message;
  if (failure !== undefined && failure !== "") {
    throw new EngineError("internal", `Error waiting for container: ${failure}`, {
      details: { exitCode: 125 },
    });
  }
  return result.StatusCode;
}

/** Longest wait for the engine to remove what did not start. */
const settleMaxMs = 5000;

async function settled(promise: Promise<unknown>): Promise<void> {
  await valueWithin(
    promise.catch(() => undefined),
    settleMaxMs,
  );
}
