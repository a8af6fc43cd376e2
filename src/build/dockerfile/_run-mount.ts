/** RUN --mount: `type=cache,target=/root/.cache,sharing=locked`. */
import { EngineError } from "../../lib/errors.ts";
import { findGoBool } from "../../lib/go-bool.ts";
import { parseSize } from "../../lib/size.ts";
import { findUint32, quote } from "./go-text.ts";
import { refuse } from "./refusal.ts";
import { hint } from "./suggest.ts";
import type { RunMount } from "./instruction.ts";

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Draft = Mutable<RunMount> & { isReadOnlyGiven: boolean };

const types = ["bind", "cache", "tmpfs", "secret", "ssh"] as const;
const sharings = ["shared", "private", "locked"] as const;
const keys = [
  "type", "from", "source", "target", "readonly", "id", "sharing", "required",
  "size", "mode", "uid", "gid", "src", "dst", "destination", "ro", "rw", "readwrite", "env",
]; // biome-ignore format: a table

/**
 * Reads a mount.
 *
 * @param expand gives a value its variables; without it, values with variables are left as they are,
 *   and what cannot be understood yet is passed over
 * @throws invalid-argument in BuildKit's words
 */
export function parseRunMount(text: string, expand?: (word: string) => string): RunMount {
  const draft: Draft = { type: "bind", isReadOnly: false, isReadOnlyGiven: false };
  for (const field of splitFields(text)) {
    const at = field.indexOf("=");
    const key = (at < 0 ? field : field.slice(0, at)).toLowerCase();
    if (expand !== undefined) {
      if (at < 0) setBare(draft, { key, field });
      else setValue(draft, { key, field, value: expand(field.slice(at + 1)) });
      continue;
    }
    const value = field.slice(at + 1);
    if (key === "from" && at >= 0 && /\$./.test(value)) {
      throw refuse("'from' doesn't support variable expansion, define alias stage instead");
    }
    tolerate(() =>
      at < 0 ? setBare(draft, { key, field }) : setValue(draft, { key, field, value }),
    );
  }
  if (expand !== undefined) check(draft);
  if (!draft.isReadOnlyGiven) draft.isReadOnly = draft.type !== "cache" && draft.type !== "tmpfs";
  const { isReadOnlyGiven: _, ...mount } = draft;
  return mount;
}

/** Cuts a line of comma separated values. @throws invalid-argument as Go's encoding/csv */
export function splitFields(text: string): readonly string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    const field = text.charAt(at) === '"' ? quotedField(text, at) : bareField(text, at);
    fields.push(field.value);
    if (text.charAt(field.end) !== ",") return fields;
    at = field.end + 1;
  }
}

function bareField(text: string, start: number): { readonly value: string; readonly end: number } {
  const comma = text.indexOf(",", start);
  const end = comma < 0 ? text.length : comma;
  const mark = text.indexOf('"', start);
  if (mark >= 0 && mark < end) throw badCsv(mark, 'bare " in non-quoted-field');
  return { value: text.slice(start, end), end };
}

function quotedField(
  text: string,
  start: number,
): { readonly value: string; readonly end: number } {
  let value = "";
  let at = start + 1;
  for (;;) {
    const mark = text.indexOf('"', at);
    if (mark < 0) throw badCsv(text.length, 'extraneous or missing " in quoted-field');
    value += text.slice(at, mark);
    const following = text.charAt(mark + 1);
    if (following === "" || following === ",") return { value, end: mark + 1 };
    if (following !== '"') throw badCsv(mark, 'extraneous or missing " in quoted-field');
    value += '"';
    at = mark + 2;
  }
}

function badCsv(at: number, reason: string): Error {
  return refuse(`failed to parse csv mounts: parse error on line 1, column ${at + 1}: ${reason}`);
}

function tolerate(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
  }
}

interface Field {
  readonly key: string;
  /** The whole of it, as written. */
  readonly field: string;
}

function setBare(draft: Draft, { key, field }: Field): void {
  if (key === "readonly" || key === "ro" || key === "readwrite" || key === "rw") {
    draft.isReadOnly = key.startsWith("readonly") || key === "ro";
    draft.isReadOnlyGiven = true;
  } else if (key === "required") {
    setRequired(draft, true);
  } else {
    throw refuse(`invalid field '${field}' must be a key=value pair`);
  }
}

function setValue(draft: Draft, given: Field & { readonly value: string }): void {
  const { key, value } = given;
  switch (key) {
    case "type":
      draft.type = choose(value, types, "mount type");
      return;
    case "from":
    case "id":
    case "env":
      draft[key] = value;
      return;
    case "source":
    case "src":
      draft.source = value;
      return;
    case "target":
    case "dst":
    case "destination":
      draft.target = value;
      return;
    case "readonly":
    case "ro":
    case "readwrite":
    case "rw":
      draft.isReadOnly = readBool(key, value) === (key === "readonly" || key === "ro");
      draft.isReadOnlyGiven = true;
      return;
    case "required":
      setRequired(draft, readBool(key, value));
      return;
    case "sharing":
      draft.sharing = choose(value, sharings, "sharing value");
      return;
    default:
      setNumber(draft, given);
  }
}

function setNumber(draft: Draft, given: Field & { readonly value: string }): void {
  const { key, field, value } = given;
  switch (key) {
    case "size":
      if (draft.type !== "tmpfs") throw unexpected(key, draft);
      draft.sizeBytes = readSize(value);
      return;
    case "mode":
      draft.mode = readNumber(key, value);
      return;
    case "uid":
      draft.uid = readNumber(key, value);
      return;
    case "gid":
      draft.gid = readNumber(key, value);
      return;
    default:
      throw refuse(`unexpected key '${key}' in '${field}'${hint(key, keys)}`);
  }
}

function setRequired(draft: Draft, isRequired: boolean): void {
  if (draft.type !== "secret" && draft.type !== "ssh") throw unexpected("required", draft);
  draft.isRequired = isRequired;
}

function check(mount: RunMount): void {
  const hasOwner = mount.type === "secret" || mount.type === "ssh" || mount.type === "cache";
  for (const key of ["mode", "uid", "gid"] as const) {
    if (!hasOwner && mount[key] !== undefined) {
      throw refuse(`${key} not allowed for "${mount.type}" type mounts`);
    }
  }
  if (mount.type === "secret") checkSecret(mount);
  if (mount.sharing !== undefined && mount.type !== "cache") {
    throw refuse(`invalid cache sharing set for ${mount.type} mount`);
  }
}

function checkSecret(mount: RunMount): void {
  const { from = "", source = "", target = "", id = "" } = mount;
  if (from !== "") throw refuse("secret mount should not have a from");
  if (mount.sharing !== undefined) throw refuse("secret mount should not define sharing");
  if (source === "" && target === "" && id === "") {
    throw refuse("invalid secret mount. one of source, target required");
  }
  if (source !== "" && id !== "") throw refuse("both source and id can't be set");
}

function choose<T extends string>(value: string, options: readonly T[], what: string): T {
  const found = options.find((option) => option === value.toLowerCase());
  if (found !== undefined) return found;
  throw refuse(`unsupported ${what} ${quote(value)}${hint(value, options)}`);
}

function readBool(key: string, value: string): boolean {
  const answer = findGoBool(value);
  if (answer === undefined) throw refuse(`invalid value for ${key}: ${value}`);
  return answer;
}

function readNumber(key: "mode" | "uid" | "gid", value: string): number {
  const number = findUint32(value, key === "mode" ? 8 : 10);
  if (number === undefined) throw refuse(`invalid value ${value} for ${key}`);
  return number;
}

function readSize(value: string): number {
  try {
    return parseSize(value);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw refuse(`invalid value for size: ${value}`);
  }
}

function unexpected(key: string, mount: RunMount): Error {
  return refuse(`unexpected key '${key}' for mount type '${mount.type}'`);
}
