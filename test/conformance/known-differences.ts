/** Where Tug answers otherwise than Docker, and why. Nothing else may differ. */

/** A justified difference: it applies where all of its patterns match. */
export interface KnownDifference {
  /** Matches the step's label and the path inside its answer. */
  readonly where: RegExp;
  /** Matches what Docker said, when the difference is about that. */
  readonly peer?: RegExp;
  /** Matches what Tug said. */
  readonly tug?: RegExp;
  readonly why: string;
}

/** The table. */
export const knownDifferences: readonly KnownDifference[] = [];
