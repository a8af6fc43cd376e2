/** What a case of the benchmark is. */
import type { Contestant } from "./engines.ts";

/** One line of the table. */
export interface Case {
  readonly name: string;
  readonly unit: "ms" | "MB";
  /** The figure is to be at or under it. */
  readonly budget?: number;
  readonly rounds: number;
  /** Moves much data: disk and memory are settled, too, before each round, and engines do not take turns. */
  readonly isLarge?: boolean;
  /** Ours may take so many times less than Docker's median, at most. */
  readonly timesDocker?: number;
  /** Ours may take so many times what is bare, at most. */
  readonly timesBare?: number;
  /** Only our own engine is asked. */
  readonly isOursOnly?: boolean;
  /** Done once, before the first round. */
  prepare?(rounds: number): Promise<void>;
  /** Does the work once. @returns the figure, in `unit` */
  measure(contestant: Contestant): Promise<number>;
  /** The same without an engine: what cannot be done without, or another tool's way. */
  bare?(): Promise<number>;
}

/** Milliseconds that some work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}
