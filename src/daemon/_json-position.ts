import { EngineError } from "../lib/errors.ts";

/** Parses JSON. @throws invalid-argument that names path, line, column and the line itself */
export function parseJsonText(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const offset = firstBadOffset(text);
    const before = text.slice(0, offset);
    const line = before.split("\n").length;
    const column = offset - before.lastIndexOf("\n");
    const shown = (text.split("\n")[line - 1] ?? "").trim().slice(0, 80);
    throw new EngineError(
      "invalid-argument",
      `${path}: line ${line}, column ${column}: this is not JSON: ${shown}`,
      { cause: error },
    );
  }
}

/**
 * Offset of the first character that no JSON text could have there: a scan with the grammar of
 * RFC 8259, because engines word their positions differently.
 */
function firstBadOffset(text: string): number {
  const token =
    /\s*(?:("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)|([{}[\],:]))/y;
  const stack: string[] = [];
  let expected = "value";
  let offset = 0;
  for (;;) {
    token.lastIndex = offset;
    const match = token.exec(text);
    const start = offset + (/^\s*/.exec(text.slice(offset))?.[0].length ?? 0);
    if (match === null) return start;
    const kind =
      match[1] !== undefined ? "string" : match[2] !== undefined ? "scalar" : (match[3] ?? "");
    const next = step(stack, { expected, kind });
    if (next === undefined) return start;
    expected = next;
    offset = token.lastIndex;
    if (expected === "end" && text.slice(offset).trim() === "") return offset;
  }
}

function step(
  stack: string[],
  { expected, kind }: { readonly expected: string; readonly kind: string },
): string | undefined {
  const after = (): string => (stack.length === 0 ? "end" : "comma");
  const isValueWanted = expected === "value" || expected === "value or ]";
  if (isValueWanted && (kind === "string" || kind === "scalar")) return after();
  if (isValueWanted && kind === "{") {
    stack.push("}");
    return "key or }";
  }
  if (isValueWanted && kind === "[") {
    stack.push("]");
    return "value or ]";
  }
  if (expected.startsWith("key") && kind === "string") return "colon";
  if (expected === "colon" && kind === ":") return "value";
  if (expected === "comma" && kind === ",") return stack.at(-1) === "}" ? "key" : "value";
  const mayClose = expected === "comma" || expected.endsWith(` ${kind}`);
  if (mayClose && kind !== "" && stack.at(-1) === kind) {
    stack.pop();
    return after();
  }
  return undefined;
}
