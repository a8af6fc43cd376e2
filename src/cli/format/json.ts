/** JSON text, laid out without being read: numbers and escapes stay as they were written. */

const unit = "    ";

/** Indents as Go's json.Indent with four spaces. The text must be valid JSON. */
export function indentJson(json: string): string {
  const parts: string[] = [];
  let depth = 0;
  const newline = (): string => `\n${unit.repeat(depth)}`;
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs) ?? [];
  for (const [at, token] of tokens.entries()) {
    const before = tokens[at - 1];
    if (token === "}" || token === "]") {
      depth -= 1;
      const isEmpty = before === "{" || before === "[";
      parts.push(isEmpty ? token : `${newline()}${token}`);
      continue;
    }
    if (before === "{" || before === "[") parts.push(newline());
    if (token === "{" || token === "[") depth += 1;
    if (token === ",") parts.push(`,${newline()}`);
    else parts.push(token === ":" ? ": " : token);
  }
  return parts.join("");
}
