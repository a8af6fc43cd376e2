/**
 * Ending a container's process by request. None of it holds the container's lock while it waits:
 * a stop that takes long can be overtaken by a kill.
 */
import {
  cannotKill,
  containerNotRunning,
  invalidSignal,
  unsupportedSignal,
} from "../../lib/docker-messages.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { valueWithin } from "../../lib/concurrency/deadline.ts";
import { signalNumber, signalProcess } from "../../sys/process/process.ts";
import { type Context, publish } from "../context.ts";
import { cgroupPathOf } from "../bundle/spec-plan.ts";
import { thawCgroup } from "./_freezer.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { processOf, signalMark } from "../process-signal.ts";

/** How long a container may take to end after its stop signal, unless it says otherwise. */
export const stopTimeoutDefaultS = 10;
/** How long a killed container may take to be gone. */
const killWaitMs = 10_000;
/** And how long its shim, when that had to be killed as well. */
const lostWaitMs = 10_000;
const killNumber = 9;
const signalMax = 64;

/** What `stop` may be asked. */
export interface StopOptions {
  readonly signal?: string;
  /** −1: however long it takes. */
  readonly timeoutS?: number;
}

/**
 * Ends a container: its stop signal, then, after the timeout, SIGKILL.
 *
 * @throws not-modified when it does not run; invalid-argument for an unknown signal
 */
export async function stopContainer(
  context: Context,
  container: LiveContainer,
  options: StopOptions,
): Promise<void> {
  const { config, id, phase } = container.record;
  if (phase === "starting") await context.locks.run(id, async () => undefined);
  if (!container.isRunning) {
    throw new EngineError("not-modified", `container ${id} is not running`);
  }
  const signal = parseSignal(options.signal ?? config.StopSignal ?? "SIGTERM");
  const timeoutS = options.timeoutS ?? config.StopTimeout ?? stopTimeoutDefaultS;
  const ended = container.next("exit");
  send(context, container, signal);
  if (!(await isSoon(ended, timeoutS < 0 ? undefined : timeoutS * 1000))) {
    await killHard(context, container);
  }
  publish(context, container, { action: "stop" });
}

/**
 * Sends a signal by request.
 *
 * @param find finds the container; asked once the signal is known to be one, as Docker does
 * @param options.name the container as the caller gave it, for the sentence
 * @throws conflict when it does not run; invalid-argument for an unknown signal
 */
export async function killContainer(
  context: Context,
  find: () => LiveContainer,
  options: { readonly signal?: string; readonly name: string },
): Promise<void> {
  try {
    const asked = options.signal ?? "SIGKILL";
    if (/^-?\d{1,9}$/.test(asked)) checkSignalNumber(Number(asked));
    const signal = parseSignal(asked);
    const container = find();
    if (container.record.phase === "starting") {
      await context.locks.run(container.id, async () => undefined);
    }
    if (!container.isRunning) throw containerNotRunning(container.id);
    if (signal === killNumber) await killHard(context, container);
    else send(context, container, signal);
  } catch (error) {
    if (isKind(error)) throw cannotKill(options.name, error);
    throw error;
  }
}

/**
 * Kills a running container and waits until its end is dealt with; its shim too, when that does not
 * tell of the end.
 *
 * @throws internal when even that did not help
 */
export async function killHard(context: Context, container: LiveContainer): Promise<void> {
  if (!container.isRunning) return;
  const ended = container.next("exit");
  send(context, container, killNumber);
  if (await isSoon(ended, killWaitMs)) return;
  const { shim } = container;
  context.logger.error("a killed container did not end: killing its shim", {
    container: container.id,
  });
  if (shim !== undefined) signalProcess(shim.pid, "SIGKILL");
  if (await isSoon(ended, lostWaitMs)) return;
  throw new EngineError("internal", "tried to kill container, but did not receive an exit event");
}

function checkSignalNumber(number: number): void {
  if (number < 0 || number > signalMax) throw unsupportedSignal(number);
}

/** Reads a signal. @throws invalid-argument in Docker's words */
export function parseSignal(text: string): number {
  try {
    return signalNumber(text);
  } catch (error) {
    if (isKind(error)) throw invalidSignal(text);
    throw error;
  }
}

/** Sends a signal to the first process, and lets a frozen container go on when it is to end. */
function send(context: Context, container: LiveContainer, signal: number): void {
  const { record } = container;
  const mark = processOf(container);
  if (signal === killNumber) container.killedPid = mark.pid;
  signalMark(mark, signal);
  publish(context, container, { action: "kill", attributes: { signal: String(signal) } });
  const stopSignal = parseSignal(record.config.StopSignal ?? "SIGTERM");
  if (record.phase !== "paused" || (signal !== killNumber && signal !== stopSignal)) return;
  thawCgroup(cgroupPathOf(context, record));
  context.store.note(container, { phase: "running" });
  publish(context, container, { action: "unpause" });
}

async function isSoon(moment: Promise<void>, timeoutMs: number | undefined): Promise<boolean> {
  if (timeoutMs === undefined) {
    await moment;
    return true;
  }
  const isOver = moment.then(() => true as const);
  return (await valueWithin(isOver, Math.min(timeoutMs, 2 ** 31 - 1))) ?? false;
}
