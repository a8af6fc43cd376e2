/** Tells code from comments and strings, for checks that read source as text. */

/** One text in two readings of the same length and lines; what does not belong is blank. */
export interface SourceMask {
  /** Without comments, and with empty strings, templates and regular expressions. */
  readonly code: string;
  /** Comments alone. */
  readonly comments: string;
}

const blank = " ";
/** Stands for whatever string or expression was read last. */
const quoteMark = '"';
/** As much code as `beforeRegExp` looks at, blanks included. */
const beforeLength = 64;
/** A slash after one of these begins a regular expression, not a division. */
const beforeRegExp =
  /(?:^|[=([{,;:!&|?+\-*%<>~^}]|\b(?:return|typeof|case|of|in|do|else|yield|await))$/;

/** Reads TypeScript. Nesting of templates is followed; types need no care. */
export function maskSource(text: string): SourceMask {
  const reader = new MaskReader(text);
  reader.read();
  return { code: reader.code.join(""), comments: reader.comments.join("") };
}

class MaskReader {
  readonly code: string[];
  readonly comments: string[];
  readonly #text: string;
  /** Braces open in each template expression that is open. */
  readonly #depths: number[] = [];
  /** The last code read, to tell a regular expression from a division. */
  #before = "";
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.code = blankOf(text);
    this.comments = blankOf(text);
  }

  read(): void {
    while (this.#at < this.#text.length) {
      const two = this.#text.slice(this.#at, this.#at + 2);
      const one = two.charAt(0);
      if (two === "//") this.#comment(/\n|$/g, 0);
      else if (two === "/*") this.#comment(/\*\/|$/g, 2);
      else if (one === '"' || one === "'") this.#quoted(one);
      else if (one === "`") this.#template();
      else if (one === "/" && beforeRegExp.test(this.#before.trimEnd())) this.#regExp();
      else this.#plain(one);
    }
  }

  #plain(one: string): void {
    const depth = this.#depths.length - 1;
    if (one === "{" && depth >= 0) this.#depths[depth] = (this.#depths[depth] ?? 0) + 1;
    if (one === "}" && depth >= 0) {
      if (this.#depths[depth] === 0) {
        this.#depths.pop();
        this.#at += 1;
        this.#templateText();
        return;
      }
      this.#depths[depth] = (this.#depths[depth] ?? 0) - 1;
    }
    this.#before = (this.#before + one).slice(-beforeLength);
    this.code[this.#at] = one;
    this.#at += 1;
  }

  #comment(end: RegExp, tail: number): void {
    end.lastIndex = this.#at + 2;
    const found = end.exec(this.#text);
    const stop = Math.min((found?.index ?? this.#text.length) + tail, this.#text.length);
    for (let at = this.#at; at < stop; at += 1) this.comments[at] = this.#text.charAt(at);
    this.#at = stop;
  }

  #quoted(quote: string): void {
    this.#string(quote, 1);
    this.#before = quoteMark;
  }

  #template(): void {
    this.code[this.#at] = "`";
    this.#at += 1;
    this.#templateText();
  }

  /** Up to the template's end, or to an expression in it. */
  #templateText(): void {
    while (this.#at < this.#text.length) {
      const two = this.#text.slice(this.#at, this.#at + 2);
      if (two === "${") {
        this.#depths.push(0);
        this.#before = "";
        this.#at += 2;
        return;
      }
      if (two.startsWith("`")) {
        this.code[this.#at] = "`";
        this.#at += 1;
        this.#before = quoteMark;
        return;
      }
      this.#at += two.startsWith("\\") ? 2 : 1;
    }
  }

  #regExp(): void {
    let isClass = false;
    for (this.#at += 1; this.#at < this.#text.length; this.#at += 1) {
      const one = this.#text.charAt(this.#at);
      if (one === "\n") return;
      if (one === "\\") this.#at += 1;
      else if (one === "[") isClass = true;
      else if (one === "]") isClass = false;
      else if (one === "/" && !isClass) break;
    }
    this.#at += 1;
    this.#before = quoteMark;
  }

  #string(quote: string, skip: number): void {
    this.code[this.#at] = quote;
    for (this.#at += skip; this.#at < this.#text.length; this.#at += 1) {
      const one = this.#text.charAt(this.#at);
      if (one === "\\") this.#at += 1;
      else if (one === quote || one === "\n") break;
    }
    this.code[this.#at] = this.#text.charAt(this.#at);
    this.#at += 1;
  }
}

function blankOf(text: string): string[] {
  return text.split("").map((sign) => (sign === "\n" ? sign : blank));
}
