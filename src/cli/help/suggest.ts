/** What somebody may have meant. */

/** How many letters may differ. */
const distanceMax = 2;

/** Candidates near `word`, nearest first; those that begin with it count as near. */
export function suggest(word: string, candidates: readonly string[]): readonly string[] {
  const wanted = word.toLowerCase();
  if (wanted.length < 2) return [];
  return [...new Set(candidates)]
    .map((candidate) => ({ candidate, distance: nearness(wanted, candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= distanceMax)
    .sort(
      (left, right) =>
        left.distance - right.distance || (left.candidate < right.candidate ? -1 : 1),
    )
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

/** The number of letters to add, drop, change or swap. */
export function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, at) => at);
  for (let row = 1; row <= left.length; row += 1) {
    const next = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const isSame = left[row - 1] === right[column - 1];
      let cost = Math.min(
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isSame ? 0 : 1),
      );
      const isSwapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && isSwapped)
        cost = Math.min(cost, (beforeLast[column - 2] ?? 0) + 1);
      next.push(cost);
    }
    beforeLast = last;
    last = next;
  }
  return last[right.length] ?? 0;
}

function nearness(wanted: string, candidate: string): number {
  if (candidate.startsWith(wanted) || wanted.startsWith(`${candidate}-`)) return 0.5;
  const limit = Math.max(1, Math.floor(Math.max(wanted.length, candidate.length) / 3));
  const distance = editDistance(wanted, candidate);
  return distance <= limit ? distance : Number.POSITIVE_INFINITY;
}
