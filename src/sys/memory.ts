/** The memory of this process. */
import { readFileSync } from "node:fs";
import { lazyLibc } from "./libc.ts";

const libc = lazyLibc({ madvise: { args: ["u64", "u64", "i32"], returns: "i32" } });
const adviceDontNeed = 4; // asm-generic/mman-common.h

/** Gives memory that is not in use back to the system; costs a few milliseconds. */
export function releaseMemory(): void {
  Bun.gc(true);
  Bun.shrink();
}

/**
 * Unmaps the pages of the program's own file that have been read so far: the start reads far more of
 * it than the rest of the life. What is needed again comes back from the page cache.
 *
 * Only mappings that cannot be written to and hold no page of the process's own are touched, so
 * nothing can be lost. Costs about a millisecond.
 */
export function releaseFilePages(): void {
  for (const { start, end } of cleanFileMappings(readFileSync("/proc/self/smaps", "latin1"))) {
    // A mapping that the kernel will not let go of stays: no harm.
    libc().madvise(start, end - start, adviceDontNeed);
  }
}

/**
 * Finds mappings of files, not writable and without pages of the process's own.
 *
 * @param smaps as in /proc/<pid>/smaps, man 5 proc
 */
export function cleanFileMappings(
  smaps: string,
): readonly { readonly start: bigint; readonly end: bigint }[] {
  const mappings: { start: bigint; end: bigint }[] = [];
  const head = /^([\da-f]+)-([\da-f]+) (\S{4}) [\da-f]+ \S+ (\d+) +(\/\S.*)$/;
  let current: { start: bigint; end: bigint } | undefined;
  for (const line of smaps.split("\n")) {
    const match = head.exec(line);
    if (match !== null) {
      const [, start = "0", end = "0", permissions = ""] = match;
      const isCandidate = permissions.startsWith("r") && permissions[1] === "-";
      current = isCandidate ? { start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) } : undefined;
    } else if (/^[\da-f]+-[\da-f]+ /.test(line)) {
      current = undefined;
    } else if (/^(?:Anonymous|Private_Dirty|Shared_Dirty|Swap|Locked): +[1-9]/.test(line)) {
      current = undefined;
    } else if (line.startsWith("VmFlags:") && current !== undefined) {
      mappings.push(current);
      current = undefined;
    }
  }
  return mappings;
}
