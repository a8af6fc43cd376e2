/** Pictures of a place in a text, such as a Dockerfile. */

/** Lines of a text, from 1, both included. */
export interface LineRange {
  readonly startLine: number;
  readonly endLine: number;
}

/** Lines shown before and after a place of one line, and of several. BuildKit, solver/errdefs */
const paddingOfLine = 2;
const paddingOfLines = 1;
/** Characters of a line that are shown. */
const shownCharsMax = 1_000;
const ruler = "--------------------";

/**
 * Draws the lines of a place and some around it, each of the place marked with `>>>`.
 *
 * ```
 * Dockerfile:2
 * --------------------
 *    1 |     FROM scratch
 *    2 | >>> FOO bar
 *    3 |
 * --------------------
 * ```
 *
 * @param options.name what the file is called; `Dockerfile` when absent
 */
export function pictureOf(
  lines: readonly string[],
  location: LineRange,
  options: { readonly name?: string } = {},
): string {
  const start = Math.max(1, Math.min(location.startLine, lines.length));
  const end = Math.max(start, Math.min(location.endLine, lines.length));
  const { first, last } = pad({ start, end, lineCount: lines.length });
  const drawn = lines.slice(first - 1, last).map((line, index) => {
    const number = first + index;
    const mark = number >= start && number <= end ? ">>>" : "   ";
    return `${String(number).padStart(4)} | ${mark} ${line.slice(0, shownCharsMax)}`;
  });
  return [`${options.name ?? "Dockerfile"}:${location.startLine}`, ruler, ...drawn, ruler].join(
    "\n",
  );
}

/** Widens a place at both ends: by two lines when it is one line, by one when it is more. */
function pad(place: { readonly start: number; readonly end: number; readonly lineCount: number }): {
  readonly first: number;
  readonly last: number;
} {
  const by = place.start === place.end ? paddingOfLine : paddingOfLines;
  return {
    first: Math.max(1, place.start - by),
    last: Math.min(place.lineCount, place.end + by),
  };
}
