/** The memory of this process. */
/** Gives memory that is not in use back to the system; costs a few milliseconds. */
export function releaseMemory(): void {
  Bun.gc(true);
  Bun.shrink();
}
