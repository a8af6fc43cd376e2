/** Flags of an instruction: `--name=value`. */
import { refuse } from "./refusal.ts";
import { hint } from "./suggest.ts";

/** Flags that an instruction knows, each with what it takes. */
export type FlagTable = Readonly<Record<string, "bool" | "text" | "texts">>;

/** Flags that were given. */
export interface Flags {
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  bool(name: string): boolean | undefined;
}

/** Reads the flags. @throws invalid-argument in BuildKit's words */
export function parseFlags(given: readonly string[], table: FlagTable): Flags {
  const values = new Map<string, string[]>();
  for (const flag of given) {
    const at = flag.indexOf("=");
    const name = at < 0 ? flag.slice(2) : flag.slice(2, at);
    const value = at < 0 ? undefined : flag.slice(at + 1);
    const kind = Object.hasOwn(table, name) ? table[name] : undefined;
    if (kind === undefined) {
      throw refuse(`unknown flag: --${name}${hint(name, Object.keys(table))}`);
    }
    const known = values.get(name);
    if (known !== undefined && kind !== "texts") {
      throw refuse(`duplicate flag specified: --${name}`);
    }
    const text = kind === "bool" ? readBool(name, value) : need(name, value);
    if (known === undefined) values.set(name, [text]);
    else known.push(text);
  }
  return {
    text: (name) => values.get(name)?.[0],
    texts: (name) => values.get(name) ?? [],
    bool: (name) => (values.has(name) ? values.get(name)?.[0] === "true" : undefined),
  };
}

function need(name: string, value: string | undefined): string {
  if (value === undefined) throw refuse(`missing a value on flag: --${name}`);
  return value;
}

function readBool(name: string, value: string | undefined): string {
  if (value === undefined) return "true";
  if (value === "") throw refuse(`missing a value on flag: --${name}`);
  const lower = value.toLowerCase();
  if (lower === "true" || lower === "false") return lower;
  throw refuse(`expecting boolean value for flag --${name}, not: ${value}`);
}
