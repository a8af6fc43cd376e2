/** Reads a Go string or character in quotes; undefined when an escape is none. */
export function unquote(text: string): string | undefined {
  const body = text.slice(1, -1);
  if (text.startsWith("`")) return body;
  let isGood = true;
  const named: Readonly<Record<string, string>> = {
    a: "\x07",
    b: "\b",
    f: "\f",
    n: "\n",
    r: "\r",
    t: "\t",
    v: "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
  };
  const value = body.replace(
    /\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)/gs,
    (whole, code: string) => {
      if (/^[xuU]./.test(code)) {
        const point = Number.parseInt(code.slice(1), 16);
        if (point <= 0x10ffff) return String.fromCodePoint(point);
      } else if (/^[0-7]{3}$/.test(code)) return String.fromCodePoint(Number.parseInt(code, 8));
      const character = named[code];
      if (character === undefined) isGood = false;
      return character ?? whole;
    },
  );
  return isGood ? value : undefined;
}
