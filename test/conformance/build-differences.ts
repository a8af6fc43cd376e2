/** Where Tug's builds come to something else than BuildKit's, and why. Nothing else may differ. */
import type { BuildClientName } from "./build-side.ts";

/** A justified difference: it applies where all of its patterns match. */
export interface BuildDifference {
  /** Matches the case's name, and the path inside its summary. */
  readonly where: RegExp;
  readonly clients?: readonly BuildClientName[];
  /** Matches what BuildKit came to, as JSON. */
  readonly peer?: RegExp;
  /** Matches what Tug came to. */
  readonly tug?: RegExp;
  readonly why: string;
}

/** The table. */
export const buildDifferences: readonly BuildDifference[] = [];
