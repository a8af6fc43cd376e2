/** One way to authenticate that a server offers. */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** By lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** A header line longer than that is not looked at. */
const headerMaxLength = 16 * 1024;
/** Challenges read of one header. */
const challengesMax = 16;

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const space = /[ \t]*/y;
const separator = /[ \t,]*/y;
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const unquoted = /[^\s,"]+/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;

/**
 * Reads WWW-Authenticate. What is malformed ends the reading; what came before counts.
 *
 * @see RFC 9110, section 11.6.1
 */
export function parseChallenges(header: string): readonly Challenge[] {
  if (header.length > headerMaxLength) return [];
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at += match[0].length;
    return match;
  };
  for (;;) {
    take(separator);
    const name = take(token)?.[0].toLowerCase();
    if (name === undefined) return challenges;
    take(space);
    const current = challenges.at(-1);
    if (header[at] === "=" && current !== undefined) {
      at += 1;
      take(space);
      const text = take(quoted);
      const value = text === null ? take(unquoted)?.[0] : text[1]?.replace(/\\(.)/g, "$1");
      if (value === undefined) return challenges;
      if (!current.parameters.has(name)) current.parameters.set(name, value);
    } else {
      if (challenges.length === challengesMax) return challenges;
      challenges.push({ scheme: name, parameters: new Map() });
      // "Negotiate abc==": credentials of another kind, of no use here.
      if (!/^[\w-]+[ \t]*=[^=]/.test(header.slice(at, at + 64))) take(token68);
    }
  }
}
