/** Text rules of Go's standard library that the language leans on. */

// unicode.IsSpace: White_Space, which JavaScript's \s differs from by U+0085 and U+FEFF.
const spaces =
  "\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const spacePattern = new RegExp(`[${spaces}]`);

/** Whether Go calls the character a space. */
export function isSpace(char: string): boolean {
  const code = char.charCodeAt(0);
  if (code < 0x80) return code === 0x20 || (code >= 0x09 && code <= 0x0d);
  return spacePattern.test(char);
}

/** Whether Go calls any character of a text a space. */
export function hasSpace(text: string): boolean {
  return spacePattern.test(text);
}

/** Removes spaces at the start. */
export function trimStart(text: string): string {
  let start = 0;
  while (start < text.length && isSpace(text.charAt(start))) start += 1;
  return text.slice(start);
}

/** Removes spaces at both ends. */
export function trimSpace(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text.charAt(end - 1))) end -= 1;
  return trimStart(text.slice(0, end));
}

/** Cuts at runs of blanks (`[\t\v\f\r ]+`), into at most `countMax` parts. */
export function splitBlanks(text: string, countMax: number = Number.MAX_SAFE_INTEGER): string[] {
  const parts: string[] = [];
  let start = 0;
  const blanks = /[\t\v\f\r ]+/g;
  while (parts.length < countMax - 1) {
    const match = blanks.exec(text);
    if (match === null) break;
    parts.push(text.slice(start, match.index));
    start = match.index + match[0].length;
  }
  parts.push(text.slice(start));
  return parts;
}

/** Longest text that a sentence quotes whole. */
const quotedCharsMax = 200;

/** Renders text as %q does; a long one is cut. */
export function quote(text: string): string {
  const cut = text.length > quotedCharsMax ? `${text.slice(0, quotedCharsMax)}…` : text;
  return JSON.stringify(cut)
    .replace(/\\u00([01][0-9a-f])/g, "\\x$1")
    .replaceAll("\u007f", "\\x7f")
    .replace(/[\u0080-\u00a0\u00ad\u2028\u2029\ufeff]/g, (char) => {
      return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
    });
}

/** Reads an unsigned number of 32 bits in a base; undefined for anything else. */
export function findUint32(text: string, base: 8 | 10): number | undefined {
  const digits = base === 8 ? /^[0-7]{1,20}$/ : /^[0-9]{1,20}$/;
  if (!digits.test(text)) return undefined;
  const value = Number.parseInt(text, base);
  return value <= 0xffff_ffff ? value : undefined;
}
