/**
 * Says what is wrong with a text that is not JSON, in the words of Go's encoding/json.
 *
 * Runs only after `JSON.parse` has refused the text, so it builds nothing and need not be fast.
 */

/** What the scanner found: the end of a whole value, or a fault. */
type Scan = { readonly next: number } | { readonly fault: string };

const truncated: Scan = { fault: "unexpected EOF" };

/** The fault of `text`; "" when its first value is whole and something follows it. */
export function findJsonFault(text: string): string {
  const scan = scanValue(text, skipSpace(text, 0));
  return "fault" in scan ? scan.fault : "";
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && " \t\r\n".includes(text.charAt(at))) at += 1;
  return at;
}

function scanValue(text: string, at: number): Scan {
  const first = text.charAt(at);
  if (first === "") return truncated;
  if (first === "{") return scanObject(text, at + 1);
  if (first === "[") return scanArray(text, at + 1);
  if (first === '"') return scanText(text, at + 1);
  if (first === "-" || isDigit(first)) return scanNumber(text, at);
  for (const literal of ["true", "false", "null"]) {
    if (first === literal.charAt(0)) return scanLiteral(text, { at, literal });
  }
  return wrong(text, at, "looking for beginning of value");
}

function scanObject(text: string, from: number): Scan {
  let at = skipSpace(text, from);
  if (text.charAt(at) === "}") return { next: at + 1 };
  for (;;) {
    if (text.charAt(at) !== '"') {
      return wrong(text, at, "looking for beginning of object key string");
    }
    const key = scanText(text, at + 1);
    if ("fault" in key) return key;
    at = skipSpace(text, key.next);
    if (text.charAt(at) !== ":") return wrong(text, at, "after object key");
    const value = scanValue(text, skipSpace(text, at + 1));
    if ("fault" in value) return value;
    at = skipSpace(text, value.next);
    if (text.charAt(at) === "}") return { next: at + 1 };
    if (text.charAt(at) !== ",") return wrong(text, at, "after object key:value pair");
    at = skipSpace(text, at + 1);
  }
}

function scanArray(text: string, from: number): Scan {
  let at = skipSpace(text, from);
  if (text.charAt(at) === "]") return { next: at + 1 };
  for (;;) {
    const value = scanValue(text, at);
    if ("fault" in value) return value;
    at = skipSpace(text, value.next);
    if (text.charAt(at) === "]") return { next: at + 1 };
    if (text.charAt(at) !== ",") return wrong(text, at, "after array element");
    at = skipSpace(text, at + 1);
  }
}

function scanText(text: string, from: number): Scan {
  for (let at = from; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === '"') return { next: at + 1 };
    if (char < " ") return wrong(text, at, "in string literal");
    if (char !== "\\") continue;
    at += 1;
    const escaped = text.charAt(at);
    if (escaped === "u") {
      for (let digit = 0; digit < 4; digit += 1) {
        at += 1;
        if (!/^[0-9a-fA-F]$/.test(text.charAt(at))) {
          return wrong(text, at, "in \\u hexadecimal character escape");
        }
      }
    } else if (escaped === "" || !'"\\/bfnrt'.includes(escaped)) {
      return wrong(text, at, "in string escape code");
    }
  }
  return truncated;
}

function scanNumber(text: string, from: number): Scan {
  let at = text.charAt(from) === "-" ? from + 1 : from;
  if (!isDigit(text.charAt(at))) return wrong(text, at, "in numeric literal");
  if (text.charAt(at) === "0") at += 1;
  else at = skipDigits(text, at);
  if (text.charAt(at) === ".") {
    if (!isDigit(text.charAt(at + 1))) {
      return wrong(text, at + 1, "after decimal point in numeric literal");
    }
    at = skipDigits(text, at + 1);
  }
  if (text.charAt(at) === "e" || text.charAt(at) === "E") {
    at += "+-".includes(text.charAt(at + 1) || " ") ? 2 : 1;
    if (!isDigit(text.charAt(at))) return wrong(text, at, "in exponent of numeric literal");
    at = skipDigits(text, at);
  }
  return { next: at };
}

function scanLiteral(text: string, from: { at: number; literal: string }): Scan {
  for (let index = 1; index < from.literal.length; index += 1) {
    const wanted = from.literal.charAt(index);
    if (text.charAt(from.at + index) !== wanted) {
      return wrong(text, from.at + index, `in literal ${from.literal} (expecting '${wanted}')`);
    }
  }
  return { next: from.at + from.literal.length };
}

function wrong(text: string, at: number, where: string): Scan {
  const code = text.codePointAt(at);
  if (code === undefined) return truncated;
  return { fault: `invalid character ${quote(String.fromCodePoint(code))} ${where}` };
}

function quote(char: string): string {
  if (char === "'") return "'\\''";
  if (char === '"') return "'\"'";
  return `'${JSON.stringify(char).slice(1, -1)}'`;
}

function isDigit(char: string): boolean {
  return char >= "0" && char <= "9" && char.length === 1;
}

function skipDigits(text: string, from: number): number {
  let at = from;
  while (isDigit(text.charAt(at))) at += 1;
  return at;
}
