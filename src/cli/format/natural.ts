/** Orders names as people do: numbers in them by value. */
export function compareNaturally(left: string, right: string): number {
  const parts = (text: string): readonly string[] => text.match(/\d+|\D+/g) ?? [];
  const [lefts, rights] = [parts(left), parts(right)];
  for (let at = 0; at < Math.min(lefts.length, rights.length); at += 1) {
    const [one = "", other = ""] = [lefts[at], rights[at]];
    if (one === other) continue;
    const isNumeric = /^\d/.test(one) && /^\d/.test(other);
    if (isNumeric && BigInt(one) !== BigInt(other)) return BigInt(one) < BigInt(other) ? -1 : 1;
    return one < other ? -1 : 1;
  }
  return lefts.length - rights.length;
}
