/** `--mount`: fields of CSV, each `key=value` or a key alone. */
import { resolve } from "node:path";
import type { Mount } from "../../api/container-config.ts";
import { EngineError } from "../../lib/errors.ts";
import { findGoBool } from "../../lib/go-bool.ts";
import { parseSize } from "../../lib/size.ts";
import { fault } from "./fault.ts";

/** A mount while its fields are read. */
interface Draft {
  type: string;
  source?: string;
  target?: string;
  readOnly?: boolean;
  consistency?: string;
  bind?: Record<string, unknown>;
  volume?: Record<string, unknown>;
  image?: Record<string, unknown>;
  tmpfs?: Record<string, unknown>;
  bindRecursive?: string;
}

interface Field {
  readonly key: string;
  readonly value: string;
  readonly text: string;
}

/** Reads one `--mount`. @throws invalid-argument with Docker's sentence */
export function parseMount(text: string): Mount {
  const fields = splitCsv(text);
  if (fields.length === 0) throw fault("value is empty");
  const draft: Draft = { type: "volume" };
  for (const field of fields) take(draft, readField(field));
  return finish(draft);
}

/** Splits a line of CSV: fields in double quotes may hold commas, and quotes doubled. */
export function splitCsv(text: string): readonly string[] {
  if (text === "") return [];
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] === '"') {
      const match = /"((?:[^"]|"")*)"(,|$)/y;
      match.lastIndex = at;
      const found = match.exec(text);
      if (found === null)
        throw fault(
          `parse error on line 1, column ${at + 1}: extraneous or missing " in quoted-field`,
        );
      fields.push((found[1] ?? "").replaceAll('""', '"'));
      if (found[2] === "") return fields;
      at = match.lastIndex;
      continue;
    }
    const comma = text.indexOf(",", at);
    const field = text.slice(at, comma < 0 ? text.length : comma);
    const quote = field.indexOf('"');
    if (quote >= 0)
      throw fault(`parse error on line 1, column ${at + quote + 1}: bare " in non-quoted-field`);
    fields.push(field);
    if (comma < 0) return fields;
    at = comma + 1;
  }
}

const bareKeys = new Set(["readonly", "ro", "volume-nocopy", "bind-nonrecursive"]);

function readField(text: string): Field {
  const split = text.indexOf("=");
  const key = (split < 0 ? text : text.slice(0, split)).toLowerCase();
  if (split < 0) {
    if (!bareKeys.has(key)) throw fault(`invalid field '${text}' must be a key=value pair`);
    return { key, value: "true", text };
  }
  return { key, value: text.slice(split + 1), text };
}

function take(draft: Draft, field: Field): void {
  const { key, value } = field;
  switch (key) {
    case "type":
      draft.type = value.toLowerCase();
      return;
    case "source":
    case "src":
      draft.source =
        value === "." || value.startsWith("./") || value.startsWith("../") ? resolve(value) : value;
      return;
    case "target":
    case "dst":
    case "destination":
      draft.target = value;
      return;
    case "readonly":
    case "ro":
      draft.readOnly = readBoolean(field);
      return;
    case "consistency":
      draft.consistency = value.toLowerCase();
      return;
    default:
      takeOption(draft, field);
  }
}

function takeOption(draft: Draft, field: Field): void {
  const { key, value } = field;
  switch (key) {
    case "bind-propagation":
      optionsOf(draft, "bind")["Propagation"] = value.toLowerCase();
      return;
    case "bind-nonrecursive":
      optionsOf(draft, "bind")["NonRecursive"] = readBoolean(field);
      return;
    case "bind-recursive":
      takeRecursive(draft, field);
      return;
    case "volume-subpath":
      optionsOf(draft, "volume")["Subpath"] = value;
      return;
    case "volume-nocopy":
      optionsOf(draft, "volume")["NoCopy"] = readBoolean(field);
      return;
    case "volume-label":
      takePair(optionsOf(draft, "volume"), "Labels", value);
      return;
    case "volume-driver":
      driverOf(draft)["Name"] = value;
      return;
    case "volume-opt":
      takePair(driverOf(draft), "Options", value);
      return;
    case "image-subpath":
      optionsOf(draft, "image")["Subpath"] = value;
      return;
    case "tmpfs-size":
      optionsOf(draft, "tmpfs")["SizeBytes"] = readSize(field);
      return;
    case "tmpfs-mode":
      if (!/^[0-7]{1,10}$/.test(value)) throw invalid(field);
      optionsOf(draft, "tmpfs")["Mode"] = Number.parseInt(value, 8);
      return;
    default:
      throw fault(`unexpected key '${key}' in '${field.text}'`);
  }
}

function takeRecursive(draft: Draft, field: Field): void {
  const bind = optionsOf(draft, "bind");
  switch (field.value) {
    case "enabled":
      bind["NonRecursive"] = false;
      break;
    case "disabled":
      bind["NonRecursive"] = true;
      break;
    case "writable":
      bind["ReadOnlyNonRecursive"] = true;
      break;
    case "readonly":
      bind["ReadOnlyForceRecursive"] = true;
      break;
    default:
      throw fault(
        `invalid value for bind-recursive: ${field.value} ` +
          '(must be "enabled", "disabled", "writable", or "readonly")',
      );
  }
  draft.bindRecursive = field.value;
}

function finish(draft: Draft): Mount {
  const { type, target = "" } = draft;
  if (type === "") throw fault("type is required");
  if (target === "") throw fault("target is required");
  for (const [options, own] of [
    ["volume", "volume"],
    ["image", "image"],
    ["bind", "bind"],
    ["tmpfs", "tmpfs"],
  ] as const) {
    if (draft[options] !== undefined && type !== own) {
      throw fault(`cannot mix '${options}-*' options with mount type '${type}'`);
    }
  }
  if (draft.bindRecursive === "readonly" || draft.bindRecursive === "writable")
    checkRecursive(draft);
  const options = {
    ...(draft.bind === undefined ? {} : { BindOptions: prune(draft.bind) }),
    ...(draft.volume === undefined ? {} : { VolumeOptions: prune(draft.volume) }),
    ...(draft.image === undefined ? {} : { ImageOptions: prune(draft.image) }),
    ...(draft.tmpfs === undefined ? {} : { TmpfsOptions: prune(draft.tmpfs) }),
  };
  return {
    Type: type,
    ...(draft.source === undefined || draft.source === "" ? {} : { Source: draft.source }),
    Target: target,
    ...(draft.readOnly === true ? { ReadOnly: true } : {}),
    ...(draft.consistency === undefined ? {} : { Consistency: draft.consistency }),
    ...options,
  };
}

function checkRecursive(draft: Draft): void {
  const { bindRecursive } = draft;
  if (draft.readOnly !== true) {
    throw fault(
      `option 'bind-recursive=${bindRecursive}' requires 'readonly' to be specified in conjunction`,
    );
  }
  if (bindRecursive === "readonly" && draft.bind?.["Propagation"] !== "rprivate") {
    throw fault(
      "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
    );
  }
}

/** Leaves out what Go's omitempty leaves out. */
function prune(options: Record<string, unknown>): Record<string, unknown> {
  const isEmpty = (value: unknown): boolean => value === false || value === "" || value === 0;
  return Object.fromEntries(Object.entries(options).filter(([, value]) => !isEmpty(value)));
}

function optionsOf(
  draft: Draft,
  kind: "bind" | "volume" | "image" | "tmpfs",
): Record<string, unknown> {
  draft[kind] ??= {};
  return draft[kind];
}

function driverOf(draft: Draft): Record<string, unknown> {
  const volume = optionsOf(draft, "volume");
  const driver = volume["DriverConfig"];
  if (typeof driver === "object" && driver !== null) return driver as Record<string, unknown>;
  const fresh: Record<string, unknown> = {};
  volume["DriverConfig"] = fresh;
  return fresh;
}

function takePair(record: Record<string, unknown>, name: string, text: string): void {
  const split = text.indexOf("=");
  const pair = split < 0 ? { [text]: "" } : { [text.slice(0, split)]: text.slice(split + 1) };
  const old = record[name];
  record[name] = { ...(typeof old === "object" ? old : {}), ...pair };
}

function readBoolean(field: Field): boolean {
  const value = findGoBool(field.value);
  if (value === undefined) throw invalid(field);
  return value;
}

function readSize(field: Field): number {
  try {
    return parseSize(field.value);
  } catch (error) {
    if (error instanceof EngineError) throw invalid(field);
    throw error;
  }
}

function invalid(field: Field): EngineError {
  return fault(`invalid value for ${field.key}: ${field.value}`);
}
