/** `key=value` texts. */

/** A record of `key=value`; a key alone has an empty value, the last one wins. */
export function keyValues(values: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(values.map(splitPair));
}

/** Splits at the first `=`. */
export function splitPair(text: string): readonly [key: string, value: string] {
  const split = text.indexOf("=");
  return split < 0 ? [text, ""] : [text.slice(0, split), text.slice(split + 1)];
}
