/** Keys of JSON objects, before a parser keeps the last of two. */

/**
 * The first key that an object has twice; undefined when there is none.
 *
 * @param text valid JSON: what `JSON.parse` takes
 */
export function duplicateKeyOf(text: string): string | undefined {
  // Keys of the objects around, innermost last; lists have none.
  const around: (Set<string> | undefined)[] = [];
  for (const [token, quoted, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*(:?)|[{}[\]]/g)) {
    if (token === "{") around.push(new Set());
    else if (token === "[") around.push(undefined);
    else if (token === "}" || token === "]") around.pop();
    else if (quoted !== undefined && colon === ":") {
      const key = String(JSON.parse(quoted));
      const keys = around.at(-1);
      if (keys?.has(key) === true) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
