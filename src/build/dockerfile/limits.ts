/** What a Dockerfile may be at most; more is refused with a sentence. */

/** Of the whole file. */
export const dockerfileBytesMax: number = 16 * 1024 * 1024;
/** Of one line of the file. BuildKit, bufio.MaxScanTokenSize. */
export const lineBytesMax = 65_535;
/** Lines of the file. */
export const linesMax = 1_000_000;
/** Instructions of the file. */
export const instructionsMax = 20_000;
/** Stages of the file. */
export const stagesMax = 1_000;
/** Here-documents of one instruction. */
export const heredocsMax = 100;
/** Words of one instruction: sources, keys, arguments. */
export const wordsMax = 20_000;
/** Flags of one instruction. */
export const flagsMax = 1_000;
/** Variables in one word. */
export const variablesMax = 100_000;
/** Forms inside forms: `${a:-${b:-…}}`. */
export const nestingMax = 100;
/** Characters of a word after its variables were expanded. */
export const expandedCharsMax: number = 1024 * 1024;
/** Characters of a here-document after its variables were expanded. */
export const heredocCharsMax: number = 16 * 1024 * 1024;
/** Steps of matching one pattern of `${x#pattern}` with one value. */
export const patternStepsMax = 20_000_000;
