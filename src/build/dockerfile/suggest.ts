/** How far a word may be from what was meant. BuildKit, util/suggest: less than three edits. */
const distanceMax = 2;
/** Longest word that is compared. */
const comparedCharsMax = 64;

/** Finds the option that was meant; undefined when none is near or one is the word itself. */
export function suggest(word: string, options: Iterable<string>): string | undefined {
  if (word.length > comparedCharsMax) return undefined;
  let best: string | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const option of options) {
    if (option === word) return undefined;
    const distance = editDistance(word, option);
    if (distance > distanceMax) continue;
    const score = distance + (sameLetters(word, option) ? 0 : 0.5);
    if (score >= bestScore) continue;
    best = option;
    bestScore = score;
  }
  return best;
}

/** ` (did you mean option?)` in the case of the word, or nothing. */
export function hint(word: string, options: Iterable<string>, prefix = ""): string {
  const found = suggest(word, options);
  return found === undefined ? "" : ` (did you mean ${prefix}${found}?)`;
}

/** As `hint`, without regard to case; the option is written in the word's case. */
export function hintCaseless(word: string, options: readonly string[]): string {
  const found = suggest(
    word.toLowerCase(),
    options.map((option) => option.toLowerCase()),
  );
  if (found === undefined) return "";
  return ` (did you mean ${word === word.toUpperCase() ? found.toUpperCase() : found}?)`;
}

/** Of several options equally near, one of the same letters was meant: RNU is RUN, not ENV. */
function sameLetters(left: string, right: string): boolean {
  return [...left].sort().join("") === [...right].sort().join("");
}

function editDistance(left: string, right: string): number {
  if (Math.abs(left.length - right.length) > distanceMax) return distanceMax + 1;
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const change = left.charAt(i - 1) === right.charAt(j - 1) ? 0 : 1;
      const above = row[j] ?? 0;
      next.push(Math.min(above + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + change));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
