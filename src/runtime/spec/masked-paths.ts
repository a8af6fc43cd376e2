import { existsSync } from "node:fs";

/** Paths that a container sees as empty. Docker: same list, seen in 28.5 */
export const defaultMaskedPaths: readonly string[] = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];

/** Paths that a container cannot write to. */
export const defaultReadonlyPaths: readonly string[] = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/**
 * The masked paths of a container on this host: the default ones, and what tells of each CPU's
 * heat where the kernel has it (a side channel, as /proc/interrupts).
 */
export function maskedPathsOf(possibleCpus: readonly number[]): readonly string[] {
  const throttles = possibleCpus
    .map((cpu) => `/sys/devices/system/cpu/cpu${cpu}/thermal_throttle`)
    .filter((path) => existsSync(path));
  return [...defaultMaskedPaths, ...throttles];
}
