/**
 * The shell-like language inside a word: quotes, escapes and variables.
 *
 * @see BuildKit, frontend/dockerfile/shell
 */
import { hasSpace, isSpace, quote } from "./go-text.ts";
import { refuse } from "./refusal.ts";
import { replacePattern, trimPrefix, trimSuffix } from "./_shell-pattern.ts";
import { expandedCharsMax, nestingMax, variablesMax } from "./limits.ts";

/** How a word is read. */
export interface LexerOptions {
  readonly escape: "\\" | "`";
  /** Undefined for a name without value. */
  readonly lookup: (name: string) => string | undefined;
  /** Quotes are text like any other: the content of a here-document. */
  readonly ignoresQuotes?: boolean;
  /** Quotes stay in the result, and so do escapes. */
  readonly keepsQuotes?: boolean;
  readonly keepsEscapes?: boolean;
  /** Variables without value stay as they are written. */
  readonly keepsUndefined?: boolean;
  readonly charsMax?: number;
}

/** A word that was read. */
export interface LexedWord {
  readonly text: string;
  /** `text` cut at spaces that are not quoted. */
  readonly words: readonly string[];
}

const letter = /^[\p{L}_]$/u;
const digit = /^\p{Nd}$/u;
/** POSIX shell, 2.5.2 Special Parameters. */
const specials = "@*#?-$!0";
/** What BuildKit's scanner gives at the end of a text. */
const endMark = "\ufffd";

/** Reads a word. @throws invalid-argument, told with the word */
export function lexWord(word: string, options: LexerOptions): LexedWord {
  return new WordLexer(word, options).run();
}

class WordLexer {
  readonly #word: string;
  readonly #options: LexerOptions;
  readonly #charsMax: number;
  #at = 0;
  #depth = 0;
  #variables = 0;
  #keepsEscapes: boolean;

  constructor(word: string, options: LexerOptions) {
    this.#word = word;
    this.#options = options;
    this.#charsMax = options.charsMax ?? expandedCharsMax;
    this.#keepsEscapes = options.keepsEscapes ?? false;
  }

  run(): LexedWord {
    return this.#until(undefined, this.#keepsEscapes);
  }

  get #peek(): string | undefined {
    return this.#at < this.#word.length ? this.#word.charAt(this.#at) : undefined;
  }

  #next(): string | undefined {
    const char = this.#peek;
    if (char !== undefined) this.#at += 1;
    return char;
  }

  /** Reads to the end, or behind the next `stop` of this depth. */
  #until(stop: string | undefined, keepsEscapes: boolean): LexedWord {
    if (this.#depth >= nestingMax) throw this.#refuse("substitutions are nested too deep");
    const outer = this.#keepsEscapes;
    this.#keepsEscapes = keepsEscapes;
    this.#depth += 1;
    const output = new Output(this.#charsMax);
    for (let char = this.#peek; char !== undefined; char = this.#peek) {
      if (char === stop) {
        this.#at += 1;
        this.#keepsEscapes = outer;
        this.#depth -= 1;
        return output.end();
      }
      if (!this.#step(char, output)) throw this.#refuse("expands to too much text");
    }
    if (stop === undefined) return output.end();
    throw this.#refuse(`unexpected end of statement while looking for matching ${stop}`);
  }

  #step(char: string, output: Output): boolean {
    if (char === "$") return output.addExpanded(this.#dollar());
    const isQuote = char === "'" || char === '"';
    if (isQuote && this.#options.ignoresQuotes !== true) {
      return output.addQuoted(char === "'" ? this.#singleQuoted() : this.#doubleQuoted());
    }
    if (char !== this.#options.escape) return output.addPlain(this.#plain());
    this.#at += 1;
    const escaped = this.#next();
    return output.addQuoted((this.#keepsEscapes ? char : "") + (escaped ?? ""));
  }

  /** A space, or all up to the next character that may mean something. */
  #plain(): string {
    const start = this.#at;
    this.#at += 1;
    if (isSpace(this.#word.charAt(start))) return this.#word.charAt(start);
    while (this.#at < this.#word.length && !isMark(this.#word.charCodeAt(this.#at))) this.#at += 1;
    return this.#word.slice(start, this.#at);
  }

  #singleQuoted(): string {
    const end = this.#word.indexOf("'", this.#at + 1);
    if (end < 0) {
      this.#at = this.#word.length;
      throw this.#refuse("unexpected end of statement while looking for matching single-quote");
    }
    const inner = this.#word.slice(this.#at + 1, end);
    this.#at = end + 1;
    return this.#options.keepsQuotes === true ? `'${inner}'` : inner;
  }

  #doubleQuoted(): string {
    const mark = this.#options.keepsQuotes === true ? '"' : "";
    const output = new Output(this.#charsMax);
    output.addQuoted(mark);
    this.#at += 1;
    for (let char = this.#peek; char !== undefined; char = this.#peek) {
      if (char === '"') {
        this.#at += 1;
        return output.end().text + mark;
      }
      const text = char === "$" ? this.#dollar() : this.#charInQuotes(char);
      if (!output.addQuoted(text)) throw this.#refuse("expands to too much text");
    }
    throw this.#refuse("unexpected end of statement while looking for matching double-quote");
  }

  #charInQuotes(char: string): string {
    this.#at += 1;
    if (char !== this.#options.escape) return char;
    const kept = this.#keepsEscapes ? char : "";
    const following = this.#peek;
    if (following === undefined) return kept;
    if (following !== '"' && following !== "$" && following !== char) return kept + char;
    this.#at += 1;
    return kept + following;
  }

  #dollar(): string {
    this.#at += 1;
    this.#variables += 1;
    if (this.#variables > variablesMax) throw this.#refuse("too many variables in one word");
    if (this.#peek === "{") {
      this.#at += 1;
      return this.#braced();
    }
    const name = this.#name();
    if (name === "") return "$";
    const value = this.#options.lookup(name);
    return value ?? (this.#options.keepsUndefined === true ? `$${name}` : "");
  }

  #braced(): string {
    const first = this.#peek;
    if (first === undefined) throw this.#refuse("syntax error: missing '}'");
    if (first === "{" || first === "}" || first === ":") {
      throw this.#refuse("syntax error: bad substitution");
    }
    const name = this.#name();
    const mark = this.#next() ?? endMark;
    if (mark === "}") {
      const value = this.#options.lookup(name);
      return value ?? (this.#options.keepsUndefined === true ? `\${${name}}` : "");
    }
    if (mark === "/") return this.#replaced(name);
    if (mark === ":") {
      const modifier = this.#next() ?? endMark;
      return this.#modified(name, { modifier, isNullUnset: true });
    }
    if ("+-?#%".includes(mark)) return this.#modified(name, { modifier: mark, isNullUnset: false });
    throw this.#refuse(`unsupported modifier (${mark}) in substitution`);
  }

  #modified(
    name: string,
    form: { readonly modifier: string; readonly isNullUnset: boolean },
  ): string {
    const { modifier, isNullUnset } = form;
    const isPattern = modifier === "#" || modifier === "%";
    const word = this.#operand("}", { keepsEscapes: isPattern, missing: "missing '}'" });
    const shown = (isNullUnset ? ":" : "") + modifier;
    const value = this.#options.lookup(name);
    if (value === undefined && this.#options.keepsUndefined === true) {
      return `\${${name}${shown}${word}}`;
    }
    const isUnset = value === undefined || (isNullUnset && value === "");
    switch (modifier) {
      case "-":
        return isUnset ? word : value;
      case "+":
        return isUnset ? "" : word;
      case "?": {
        if (!isUnset) return value;
        const reason = value === undefined ? "unset" : "empty";
        throw this.#refuse(`${name}: ${word === "" ? `is not allowed to be ${reason}` : word}`);
      }
      case "#":
      case "%": {
        const isGreedy = word.startsWith(modifier);
        const pattern = isGreedy ? word.slice(1) : word;
        return this.#matched(() =>
          (modifier === "#" ? trimPrefix : trimSuffix)(pattern, value ?? "", isGreedy),
        );
      }
      default:
        throw this.#refuse(`unsupported modifier (${shown}) in substitution`);
    }
  }

  #replaced(name: string): string {
    const isAll = this.#peek === "/";
    if (isAll) this.#at += 1;
    const pattern = this.#operand("/", { keepsEscapes: true, missing: "missing '/' in ${}" });
    const replacement = this.#operand("}", { keepsEscapes: true, missing: "missing '}'" });
    const value = this.#options.lookup(name);
    if (value === undefined && this.#options.keepsUndefined === true) {
      return `\${${name}/${isAll ? "/" : ""}${pattern}/${replacement}}`;
    }
    return this.#matched(() => replacePattern(pattern, value ?? "", { replacement, isAll }));
  }

  #operand(
    stop: string,
    options: { readonly keepsEscapes: boolean; readonly missing: string },
  ): string {
    try {
      return this.#until(stop, options.keepsEscapes).text;
    } catch (error) {
      if (this.#at >= this.#word.length && !(error instanceof RangeError)) {
        throw this.#refuse(`syntax error: ${options.missing}`);
      }
      throw error;
    }
  }

  #matched(work: () => string): string {
    try {
      return work();
    } catch (error) {
      throw error instanceof Error ? this.#refuse(error.message) : error;
    }
  }

  #name(): string {
    const start = this.#at;
    const first = this.#peek ?? "";
    if (digit.test(first)) {
      while (digit.test(this.#peek ?? "")) this.#at += 1;
    } else if (first !== "" && specials.includes(first)) {
      this.#at += 1;
    } else {
      for (let char = first; letter.test(char) || digit.test(char); char = this.#peek ?? "") {
        this.#at += 1;
      }
    }
    return this.#word.slice(start, this.#at);
  }

  #refuse(sentence: string): Error {
    return refuse(`failed to process ${quote(this.#word)}: ${sentence}`);
  }
}

/** Letters, digits and the like never mean anything; whatever else is looked at one by one. */
function isMark(code: number): boolean {
  const isUpper = code >= 0x40 && code <= 0x5a;
  const isLower = code >= 0x61 && code <= 0x7a;
  const isDigit = code >= 0x30 && code <= 0x3b;
  return !(isUpper || isLower || isDigit || code === 0x2d || code === 0x2e || code === 0x5f);
}

/** What a word becomes, and the words that it falls into. */
class Output {
  readonly #charsMax: number;
  readonly #text: string[] = [];
  readonly #words: string[] = [];
  #word: string[] = [];
  #wordChars = 0;
  #chars = 0;

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  /** False when that is too much; so for all. */
  addQuoted(text: string): boolean {
    this.#word.push(text);
    this.#wordChars += text.length;
    return this.#add(text);
  }

  /** One space, or text without any. */
  addPlain(text: string): boolean {
    if (isSpace(text)) this.#cut();
    else this.#push(text);
    return this.#add(text);
  }

  /** A variable's value: cut at its spaces too. */
  addExpanded(text: string): boolean {
    if (!hasSpace(text)) {
      this.#push(text);
      return this.#add(text);
    }
    for (const char of text) {
      if (isSpace(char)) this.#cut();
      else this.#push(char);
    }
    return this.#add(text);
  }

  end(): LexedWord {
    this.#cut();
    return { text: this.#text.join(""), words: this.#words };
  }

  #push(char: string): void {
    this.#word.push(char);
    this.#wordChars += char.length;
  }

  #cut(): void {
    if (this.#wordChars > 0) this.#words.push(this.#word.join(""));
    this.#word = [];
    this.#wordChars = 0;
  }

  #add(text: string): boolean {
    this.#text.push(text);
    this.#chars += text.length;
    return this.#chars <= this.#charsMax;
  }
}
