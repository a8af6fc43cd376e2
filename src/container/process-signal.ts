import { EngineError } from "../lib/errors.ts";
import { isSameProcess, signalProcess } from "../sys/process/process.ts";
import type { LiveContainer } from "./record/live-container.ts";

/** A process that is told from a later one of its PID. */
export interface ProcessMark {
  readonly pid: number;
  readonly pidStartTime: string;
}

/** The first process of a running container. @throws internal when the record lacks it */
export function processOf(container: LiveContainer): ProcessMark {
  const { task, id } = container.record;
  if (task?.pid === undefined || task.pidStartTime === undefined) {
    throw new EngineError("internal", `container ${id} has no process`);
  }
  return { pid: task.pid, pidStartTime: task.pidStartTime };
}

/** Sends a signal to exactly that process; false when it is gone. */
export function signalMark(mark: ProcessMark, signal: number | string): boolean {
  return signalProcess(mark.pid, signal, { startTime: BigInt(mark.pidStartTime) });
}

/** Whether exactly that process runs. */
export function isAlive(mark: ProcessMark): boolean {
  return isSameProcess(mark.pid, BigInt(mark.pidStartTime));
}
