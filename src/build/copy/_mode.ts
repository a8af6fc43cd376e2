import { EngineError } from "../../lib/errors.ts";

/** A `--chmod`. */
export interface ModeChange {
  /** An octal mode holds for made parent folders as well. Docker: seen in 28.5. */
  readonly octal?: number;
  /** The permission bits that something of `mode` gets. */
  apply(mode: number, isFolder: boolean): number;
}

const permissionBits = 0o7777;
const clausesMax = 100;
const clause = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/;
const action = /([-+=])([rwxXst]+|[ugo])?/g;
const shifts: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 };

/**
 * Reads `0755`, or clauses as chmod(1) takes them: `u=rwX,go=rX`. The umask never counts.
 *
 * @throws invalid-argument in BuildKit's words
 */
export function parseMode(text: string): ModeChange {
  if (/^[0-9]/.test(text)) return octalMode(text);
  const clauses = text.split(",");
  if (clauses.length > clausesMax) throw invalidSyntax();
  const changes = clauses.map((part) => parseClause(part));
  return {
    apply: (mode, isFolder) =>
      changes.reduce((result, change) => change(result, isFolder), mode & permissionBits),
  };
}

function octalMode(text: string): ModeChange {
  const octal = /^[0-7]{1,8}$/.test(text) ? Number.parseInt(text, 8) : -1;
  if (octal < 0 || octal > permissionBits) {
    const sentence = `invalid chmod parameter: '${text}'. it should be octal string and between 0 and 07777`;
    throw new EngineError("invalid-argument", sentence);
  }
  return { octal, apply: () => octal };
}

type Change = (mode: number, isFolder: boolean) => number;

function parseClause(text: string): Change {
  const [, who = "", actions = ""] = clause.exec(text) ?? [];
  if (actions === "") throw invalidSyntax();
  const classes = who === "" || who.includes("a") ? "ugo" : who;
  const isAll = who === "" || who.includes("a");
  const changes = [...actions.matchAll(action)].map(([, operator = "", rights = ""]) => {
    return (mode: number, isFolder: boolean): number => {
      const bits = bitsOf({ rights, classes, isAll, mode, isFolder });
      if (operator === "+") return mode | bits;
      if (operator === "-") return mode & ~bits;
      return (mode & ~keptClear(classes, isAll)) | bits;
    };
  });
  return (mode, isFolder) => changes.reduce((result, change) => change(result, isFolder), mode);
}

/** The bits that `=` takes away before it sets others. */
function keptClear(classes: string, isAll: boolean): number {
  let mask = isAll ? 0o1000 : 0;
  for (const name of classes) mask |= 0o7 << (shifts[name] ?? 0);
  if (classes.includes("u")) mask |= 0o4000;
  if (classes.includes("g")) mask |= 0o2000;
  return mask;
}

function bitsOf(change: {
  readonly rights: string;
  readonly classes: string;
  readonly isAll: boolean;
  readonly mode: number;
  readonly isFolder: boolean;
}): number {
  const { rights, classes, mode } = change;
  const source = shifts[rights];
  let triple = source === undefined ? 0 : (mode >> source) & 0o7;
  if (source === undefined) {
    if (rights.includes("r")) triple |= 0o4;
    if (rights.includes("w")) triple |= 0o2;
    const isRun = change.isFolder || (mode & 0o111) !== 0;
    if (rights.includes("x") || (rights.includes("X") && isRun)) triple |= 0o1;
  }
  let bits = 0;
  for (const name of classes) bits |= triple << (shifts[name] ?? 0);
  if (rights.includes("s") && classes.includes("u")) bits |= 0o4000;
  if (rights.includes("s") && classes.includes("g")) bits |= 0o2000;
  if (rights.includes("t") && (change.isAll || classes.includes("o"))) bits |= 0o1000;
  return bits;
}

function invalidSyntax(): EngineError {
  return new EngineError("invalid-argument", "invalid syntax");
}
