/**
 * What a terminal may act on or a reader may be misled by: C0, DEL, C1, line and paragraph
 * separators, marks and overrides of writing direction, the byte order mark, halves of surrogate
 * pairs, and the invisible tag characters.
 */
const unsafe =
  // oxlint-disable-next-line no-control-regex -- control characters are the subject
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

/** What `escapeControls` may leave alone. */
export interface EscapeOptions {
  /** Characters that pass as they are, such as "\n\t". */
  readonly keep?: string;
}

/** Makes untrusted text safe to print: ESC becomes `\x1b`, a direction override `\u202e`. */
export function escapeControls(text: string, options: EscapeOptions = {}): string {
  if (isPlain(text)) return text;
  const keep = options.keep ?? "";
  return text.replace(unsafe, (character) => {
    if (keep.includes(character)) return character;
    const code = character.codePointAt(0) ?? 0;
    if (code <= 0xff) return `\\x${hex(code, 2)}`;
    return code <= 0xffff ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 5)}}`;
  });
}

/**
 * Tells whether text is printable ASCII alone, as most is. The pattern for all the rest takes longer to
 * make ready than a short command takes to print.
 */
export function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
