/** From the flags of `build` to what BuildKit's Dockerfile frontend is asked. */
import { resolve } from "node:path";
import type { SolveRequest, TypedAttrs } from "../../api/buildkit/control.ts";
import { EngineError } from "../../lib/errors.ts";
import { formatReference, parseReference, withDefaultTag } from "../../oci/reference.ts";
import type { FlagReader } from "../flag/flag-reader.ts";
import { parsePlatform } from "../image/platform.ts";
import { isInputTerminal } from "../standard-input.ts";
import { splitCsv } from "../options/mount.ts";
import { isRemote } from "./build-context.ts";
import {
  type BuildStores,
  exportLocalCache,
  importLocalCache,
  openLayoutContext,
} from "./build-stores.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/** What flags ask for. */
export interface SolvePart {
  readonly request: Pick<
    SolveRequest,
    "frontend" | "frontendAttrs" | "cache" | "entitlements" | "exporters"
  >;
  /** Folders of named contexts, by the name that the engine asks for. */
  readonly folders: ReadonlyMap<string, string>;
}

/** What the linter and its relatives are called. */
const calls: ReadonlyMap<string, string> = new Map([
  ["build", ""],
  ["check", "frontend.lint"],
  ["lint", "frontend.lint"],
  ["outline", "frontend.outline"],
  ["targets", "frontend.targets"],
]);

/** The call that `--call` or `--check` names; "" builds. @throws invalid-argument */
export function callOf(flags: FlagReader): string {
  const name = flags.isOn("check") ? "check" : flags.text("call") || "build";
  const call = calls.get(name.split(",")[0] ?? "");
  if (call === undefined) {
    throw new EngineError(
      "invalid-argument",
      `invalid call ${JSON.stringify(name)}: one of build, check, outline, targets is wanted`,
    );
  }
  return call;
}

/** Reads the flags. @throws invalid-argument with Docker's sentence */
export function readSolveFlags(
  flags: FlagReader,
  given: {
    readonly context: ReadonlyMap<string, string>;
    readonly exporters: readonly TypedAttrs[];
    readonly variables: Variables;
    /** Takes up what flags ask of the session. */
    readonly stores: BuildStores;
    readonly warn: (sentence: string) => void;
  },
): SolvePart {
  const { variables, stores, warn } = given;
  const call = callOf(flags);
  const named = readNamedContexts(flags.list("build-context"), stores);
  const attrs = new Map([...given.context, ...named.attrs]);
  const set = (key: string, value: string): void => {
    if (value !== "") attrs.set(key, value);
  };
  for (const text of flags.list("build-arg")) setPair(attrs, "build-arg:", text, variables);
  for (const text of flags.list("label")) setPair(attrs, "label:", text, undefined);
  setSourceDate(attrs, variables);
  set("requestid", call);
  set("target", flags.text("target"));
  set("force-network-mode", networkOf(flags.text("network")));
  set("cgroup-parent", flags.text("cgroup-parent"));
  set("add-hosts", flags.list("add-host").map(readHost).join(","));
  set("ulimit", flags.list("ulimit").map(readUlimit).join(","));
  if (flags.isGiven("shm-size")) set("shm-size", String(flags.sizeBytes("shm-size")));
  set("platform", flags.list("platform").flatMap(splitPlatforms).join(","));
  if (flags.isOn("pull")) attrs.set("image-resolve-mode", "pull");
  if (flags.isOn("no-cache")) attrs.set("no-cache", "");
  else
    set(
      "no-cache",
      flags
        .list("no-cache-filter")
        .flatMap((text) => text.split(","))
        .join(","),
    );
  readAttestations(flags, attrs);
  if (flags.isOn("debug-on-fail")) {
    attrs.set("debug-on-fail", isInputTerminal() ? "shell" : "image");
  }
  if (flags.isOn("steps")) attrs.set("list-steps", "true");
  if (flags.isOn("explain")) attrs.set("explain", "true");
  const imports = flags.list("cache-from").flatMap((text) => {
    const cache = importLocalCache(readCache(text, "cache-from"), { stores, warn });
    return cache === undefined ? [] : [cache];
  });
  const exports = flags
    .list("cache-to")
    .map((text) => exportLocalCache(readCache(text, "cache-to"), stores));
  if (exports.some(({ type }) => type === "inline"))
    attrs.set("build-arg:BUILDKIT_INLINE_CACHE", "1");
  return {
    request: {
      frontend: "dockerfile.v0",
      frontendAttrs: attrs,
      cache: { exports, imports },
      entitlements: flags.list("allow"),
      exporters: call === "" ? given.exporters : [],
    },
    folders: named.folders,
  };
}

function setPair(
  attrs: Map<string, string>,
  prefix: string,
  text: string,
  variables: Variables | undefined,
): void {
  const at = text.indexOf("=");
  if (at >= 0) attrs.set(prefix + text.slice(0, at), text.slice(at + 1));
  else if (variables === undefined) attrs.set(prefix + text, "");
  else if (variables[text] !== undefined) attrs.set(prefix + text, variables[text] ?? "");
}

function setSourceDate(attrs: Map<string, string>, variables: Variables): void {
  const key = "build-arg:SOURCE_DATE_EPOCH";
  const epoch = variables["SOURCE_DATE_EPOCH"];
  if (epoch !== undefined && epoch !== "" && !attrs.has(key)) attrs.set(key, epoch);
}

function networkOf(mode: string): string {
  switch (mode) {
    case "":
    case "default":
      return "";
    case "none":
    case "host":
      return mode;
    case "sandbox":
      return mode;
    default:
      throw new EngineError(
        "invalid-argument",
        `network mode ${JSON.stringify(mode)} not supported by the builder: default, none or host is wanted`,
      );
  }
}

function readHost(text: string): string {
  const at = /[=:]/.exec(text)?.index ?? -1;
  if (at <= 0) {
    throw new EngineError("invalid-argument", `bad format for add-host: ${JSON.stringify(text)}`);
  }
  return `${text.slice(0, at)}=${text.slice(at + 1).replace(/^\[(.*)\]$/, "$1")}`;
}

function readUlimit(text: string): string {
  if (/^[a-z]+=-?\d+(:-?\d+)?$/.test(text)) {
    const [name = "", values = ""] = text.split("=");
    const [soft = "", hard = soft] = values.split(":");
    return `${name}=${soft}:${hard}`;
  }
  throw new EngineError("invalid-argument", `invalid ulimit argument: ${text}`);
}

function splitPlatforms(text: string): readonly string[] {
  const parts = text.split(",").map((part) => part.trim());
  for (const part of parts) if (part !== "local") parsePlatform(part);
  return parts;
}

/** `name=path`, `name=docker-image://…`, `name=https://…`, `name=oci-layout://…`. */
function readNamedContexts(
  texts: readonly string[],
  stores: BuildStores,
): {
  readonly attrs: ReadonlyMap<string, string>;
  readonly folders: ReadonlyMap<string, string>;
} {
  const attrs = new Map<string, string>();
  const folders = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf("=");
    if (at <= 0) {
      throw new EngineError(
        "invalid-argument",
        `invalid context value: ${text}, expected key=value`,
      );
    }
    const [name, value] = [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1)];
    // As the frontend compares it: whole, without the tag that is meant anyway.
    const key = /[/:]/.test(name) ? contextName(name) : name;
    if (value.startsWith("oci-layout:")) {
      attrs.set(`context:${key}`, openLayoutContext(value, stores));
    } else if (/^(docker-image|target|input):/.test(value) || isRemote(value)) {
      attrs.set(`context:${key}`, value);
    } else {
      folders.set(key, resolve(value));
      attrs.set(`context:${key}`, `local:${key}`);
    }
  }
  return { attrs, folders };
}

function contextName(name: string): string {
  return formatReference(withDefaultTag(parseReference(name))).replace(/:latest$/, "");
}

/** `type=local,src=…`, or a reference alone for `type=registry`. */
function readCache(text: string, flag: string): TypedAttrs {
  const fields = splitCsv(text);
  const [only = ""] = fields;
  if (fields.length === 1 && !only.includes("=")) {
    return { type: "registry", attrs: new Map([["ref", only]]) };
  }
  const attrs = new Map<string, string>();
  for (const field of fields) {
    const at = field.indexOf("=");
    if (at <= 0) {
      throw new EngineError("invalid-argument", `invalid value ${field} for --${flag}`);
    }
    attrs.set(field.slice(0, at).toLowerCase(), field.slice(at + 1));
  }
  const type = attrs.get("type");
  if (type === undefined) {
    throw new EngineError("invalid-argument", `type required form> ${JSON.stringify(text)}`);
  }
  attrs.delete("type");
  return { type, attrs };
}

function readAttestations(flags: FlagReader, attrs: Map<string, string>): void {
  for (const text of flags.list("attest")) {
    const fields = new Map(
      splitCsv(text).map((field): [string, string] => {
        const at = field.indexOf("=");
        return at < 0 ? [field, ""] : [field.slice(0, at), field.slice(at + 1)];
      }),
    );
    const type = fields.get("type") ?? (splitCsv(text).length === 1 ? text : "");
    if (!["sbom", "provenance"].includes(type)) {
      throw new EngineError(
        "invalid-argument",
        `attestation type not specified or unknown: ${text}`,
      );
    }
    fields.delete("type");
    if (fields.get("disabled") === "true") continue;
    attrs.set(`attest:${type}`, [...fields].map(([key, value]) => `${key}=${value}`).join(","));
  }
  const short = (name: "sbom" | "provenance"): void => {
    const value = flags.text(name);
    if (value === "" || value === "false") return;
    attrs.set(`attest:${name}`, value === "true" ? "" : value);
  };
  short("sbom");
  short("provenance");
}
