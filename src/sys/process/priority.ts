/** Who gets the processor first. */
import { constants, getPriority, setPriority } from "node:os";
import { codeOf } from "../../lib/errors.ts";
import { lazyLibc } from "../libc.ts";

const libc = lazyLibc({ sched_setscheduler: { args: ["i32", "i32", "ptr"], returns: "i32" } });

// linux/sched.h
const schedulingOther = 0;
const schedulingResetOnFork = 0x40000000;

/** Three times the share of a contended processor. */
const promptNice = -5;

/**
 * Has the calling thread go before others: for the one that answers requests.
 *
 * Threads and processes that it starts from now on do not go before others. A process that was given a
 * priority of its own (`nice`, `Nice=` of a service) keeps that one.
 *
 * @returns whether it does; not when it has another priority, nor for who may not set it
 */
export function answerFirst(): boolean {
  if (getPriority() !== constants.priority.PRIORITY_NORMAL) return false;
  // struct sched_param has one number: 0 but for real-time policies.
  const policy = schedulingOther | schedulingResetOnFork;
  if (libc().sched_setscheduler(0, policy, new Int32Array(1)) !== 0) return false;
  try {
    setPriority(promptNice);
    return true;
  } catch (error) {
    if (codeOf(error) === "ERR_SYSTEM_ERROR") return false;
    throw error;
  }
}
