/**
 * The daemon's configuration: flags over daemon.json over defaults.
 */
import { isAbsolute } from "node:path";
import { EngineError, messageOf } from "../lib/errors.ts";
import { parseFlags } from "../lib/flags.ts";
import { type LogLevel, logLevels } from "../lib/log.ts";
import { parseSize } from "../lib/size.ts";
import type { RegistryConfig } from "../remote/registry-client.ts";
import type { Policy } from "../image/trust/policy-file.ts";
import type { Entitlement } from "../build/build-service.ts";
import { entitlementsOf, withBuilder } from "./builder-config.ts";
import { policyOf } from "./policy-config.ts";
import { proxyKeys, registryConfigOf } from "./registry-config.ts";
import { commandFlags, type DaemonOption, daemonOptions } from "./options.ts";
import { parseJsonText } from "./_json-position.ts";

/** A runtime by name. */
export interface RuntimeOption {
  readonly path: string;
  readonly args: readonly string[];
}

/** What the daemon runs with. */
export interface DaemonConfig {
  readonly hosts: readonly string[];
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly pidFile: string;
  readonly group: string;
  readonly logLevel: LogLevel;
  readonly logFormat: "text" | "json";
  readonly isDebug: boolean;
  readonly isLiveRestore: boolean;
  readonly shutdownTimeoutS: number;
  readonly defaultRuntime: string;
  readonly runtimes: Readonly<Record<string, RuntimeOption>>;
  readonly storageDriver?: "overlay2" | "vfs";
  readonly bip?: string;
  readonly bridge: string;
  readonly mtu: number;
  readonly labels: readonly string[];
  readonly logDriver: string;
  readonly logOpts: Readonly<Record<string, string>>;
  readonly hasInit: boolean;
  readonly initPath?: string;
  readonly seccompProfile?: string;
  readonly hasNoNewPrivileges: boolean;
  readonly shmSizeBytes: number;
  readonly tls: TlsConfig;
  readonly isUnauthenticatedTcpAllowed: boolean;
  readonly registry: RegistryConfig;
  /** Which images may be pulled and run; all when absent. */
  readonly imagePolicy?: Policy;
  /** What clients may let a Dockerfile do. */
  readonly builderEntitlements: ReadonlySet<Entitlement>;
}

/** Certificates for tcp hosts. */
export interface TlsConfig {
  readonly isOn: boolean;
  /** Clients must have a certificate of `caPath`. */
  readonly isVerified: boolean;
  readonly caPath: string;
  readonly certPath: string;
  readonly keyPath: string;
}

/** What the command line asks for. */
export interface DaemonCommand {
  readonly configPath: string;
  /** The file was named on the command line, so it must exist. */
  readonly isConfigNamed: boolean;
  readonly action: "run" | "validate" | "version" | "help";
  /** Values by option key, as given. */
  readonly given: ReadonlyMap<string, unknown>;
}

/** Reads the daemon's arguments. @throws invalid-argument */
export function parseDaemonCommand(args: readonly string[]): DaemonCommand {
  const parsed = parseFlags(args, [...commandFlags, ...daemonOptions.map(({ flag }) => flag)]);
  const [stray] = parsed.operands;
  if (stray !== undefined) {
    throw new EngineError(
      "invalid-argument",
      `"tug daemon" accepts no arguments, but got "${stray}"`,
    );
  }
  const given = new Map<string, unknown>();
  for (const { key, type, flag } of daemonOptions) {
    const value =
      flag.kind === "switch" ? parsed.switches.get(flag.name) : parsed.values.get(flag.name);
    if (value !== undefined) given.set(key, fromFlag(type, value));
  }
  const [configPath] = parsed.values.get("config-file") ?? [];
  const action = (["help", "version", "validate"] as const).find((name) =>
    parsed.switches.get(name),
  );
  return {
    configPath: configPath ?? "/etc/tug/daemon.json",
    isConfigNamed: configPath !== undefined,
    action: action ?? "run",
    given,
  };
}

function fromFlag(type: DaemonOption["type"], value: boolean | readonly string[]): unknown {
  if (typeof value === "boolean") return value;
  const last = value.at(-1) ?? "";
  switch (type) {
    case "number":
      return Number(last);
    case "list":
      return value;
    case "map":
      return Object.fromEntries(value.map((pair) => splitPair(pair)));
    case "runtimes":
      return Object.fromEntries(
        value.map((pair) => {
          const [name, path] = splitPair(pair);
          if (path === "") {
            throw new EngineError(
              "invalid-argument",
              `invalid runtime "${pair}": expected name=path`,
            );
          }
          return [name, { path }];
        }),
      );
    case "string":
    case "boolean":
      return last;
  }
}

function splitPair(pair: string): readonly [string, string] {
  const equals = pair.indexOf("=");
  return equals < 0 ? [pair, ""] : [pair.slice(0, equals), pair.slice(equals + 1)];
}

/**
 * Reads the text of a daemon.json.
 *
 * @returns values by option key
 * @throws invalid-argument naming line and column, an unknown key, or a value of the wrong type
 */
export function parseConfigFile(text: string, path: string): ReadonlyMap<string, unknown> {
  const document = text.trim() === "" ? {} : parseJsonText(text, path);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new EngineError("invalid-argument", `${path}: the configuration is an object, { … }`);
  }
  const values = new Map<string, unknown>();
  for (const [key, value] of withBuilder(withProxies(document))) {
    const known = daemonOptions.find((entry) => entry.key === key);
    if (known === undefined) {
      throw new EngineError(
        "invalid-argument",
        `${path}: the following directives don't match any configuration option: ${key}`,
      );
    }
    if (!isOfType(value, known.type)) {
      throw new EngineError(
        "invalid-argument",
        `${path}: "${key}" must be a ${typeWord(known.type)}`,
      );
    }
    values.set(key, value);
  }
  return values;
}

/** Docker: proxies stand together in daemon.json, and are flags of their own, seen in 28.5. */
function withProxies(document: object): readonly (readonly [string, unknown])[] {
  return Object.entries(document).flatMap(([key, value]): (readonly [string, unknown])[] =>
    key === "proxies" && isObject(value)
      ? Object.entries(value).map(([name, proxy]): readonly [string, unknown] => [
          proxyKeys.includes(name) ? name : `proxies.${name}`,
          proxy,
        ])
      : [[key, value]],
  );
}

function isOfType(value: unknown, type: DaemonOption["type"]): boolean {
  switch (type) {
    case "list":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    case "map":
      return isObject(value) && Object.values(value).every((item) => typeof item === "string");
    case "runtimes":
      return isObject(value) && Object.values(value).every(isObject);
    case "string":
    case "boolean":
    case "number":
      return typeof value === type;
  }
}

function typeWord(type: DaemonOption["type"]): string {
  return (
    { list: "list of strings", map: "map of strings", runtimes: "map of runtimes" }[
      type as "list"
    ] ?? type
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Merges file and flags. @throws invalid-argument for an option given in both places, as Docker does,
 * and for values that cannot be.
 */
export function resolveConfig(
  file: ReadonlyMap<string, unknown>,
  flags: ReadonlyMap<string, unknown>,
): DaemonConfig {
  const twice = [...flags.keys()].filter((key) => file.has(key));
  if (twice.length > 0) {
    const list = twice.map(
      (key) => `${key}: (from flag: ${show(flags.get(key))}, from file: ${show(file.get(key))})`,
    );
    throw new EngineError(
      "invalid-argument",
      `the following directives are specified both as a flag and in the configuration file: ${list.join(", ")}`,
    );
  }
  return build(new Map([...file, ...flags]));
}

function show(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function build(values: ReadonlyMap<string, unknown>): DaemonConfig {
  const text = (key: string): string => {
    const value = values.get(key);
    return typeof value === "string" ? value : (defaultOf(key) ?? "");
  };
  const maybe = (key: string): string | undefined => text(key) || undefined;
  const isOn = (key: string): boolean => values.get(key) === true;
  const isDebug = isOn("debug");
  const isVerified = isOn("tlsverify");
  const storageDriver = maybe("storage-driver");
  const bip = maybe("bip");
  const initPath = maybe("init-path");
  const seccompProfile = maybe("seccomp-profile");
  const imagePolicy = policyOf(values);
  const hosts = (values.get("hosts") as readonly string[] | undefined) ?? [];
  return {
    hosts: hosts.map(checkHost),
    dataRoot: absolute("data-root", text("data-root")),
    execRoot: absolute("exec-root", text("exec-root")),
    pidFile: absolute("pidfile", text("pidfile")),
    group: text("group"),
    isDebug,
    logLevel: isDebug ? "debug" : oneOf("log-level", { value: text("log-level"), of: logLevels }),
    logFormat: oneOf("log-format", { value: text("log-format"), of: ["text", "json"] }),
    isLiveRestore: isOn("live-restore"),
    shutdownTimeoutS: whole("shutdown-timeout", values),
    defaultRuntime: text("default-runtime"),
    runtimes: runtimesOf(values.get("runtimes"), text("default-runtime")),
    ...(storageDriver === undefined
      ? {}
      : {
          storageDriver: oneOf("storage-driver", { value: storageDriver, of: ["overlay2", "vfs"] }),
        }),
    ...(bip === undefined ? {} : { bip }),
    bridge: text("bridge"),
    mtu: whole("mtu", values),
    labels: (values.get("labels") as readonly string[] | undefined) ?? [],
    logDriver: oneOf("log-driver", { value: text("log-driver"), of: ["json-file", "none"] }),
    logOpts: (values.get("log-opts") as Readonly<Record<string, string>> | undefined) ?? {},
    hasInit: isOn("init"),
    ...(initPath === undefined ? {} : { initPath }),
    ...(seccompProfile === undefined ? {} : { seccompProfile }),
    hasNoNewPrivileges: isOn("no-new-privileges"),
    shmSizeBytes: parseSize(text("default-shm-size")),
    tls: {
      isOn: isVerified || isOn("tls"),
      isVerified,
      caPath: text("tlscacert") || "/etc/tug/ca.pem",
      certPath: text("tlscert") || "/etc/tug/server-cert.pem",
      keyPath: text("tlskey") || "/etc/tug/server-key.pem",
    },
    isUnauthenticatedTcpAllowed: isOn("allow-unauthenticated-tcp"),
    registry: registryConfigOf(values, process.env),
    ...(imagePolicy === undefined ? {} : { imagePolicy }),
    builderEntitlements: entitlementsOf(values),
  };
}

function defaultOf(key: string): string | undefined {
  return daemonOptions.find((entry) => entry.key === key)?.flag.fallback;
}

function absolute(key: string, path: string): string {
  if (!isAbsolute(path)) {
    throw new EngineError(
      "invalid-argument",
      `invalid ${key} "${path}": an absolute path is wanted`,
    );
  }
  return path.replace(/\/+$/, "");
}

function oneOf<T extends string>(
  key: string,
  options: { readonly value: string; readonly of: readonly T[] },
): T {
  const found = options.of.find((item) => item === options.value);
  if (found === undefined) {
    throw new EngineError(
      "invalid-argument",
      `invalid ${key} "${options.value}": one of ${options.of.join(", ")} is wanted`,
    );
  }
  return found;
}

function whole(key: string, values: ReadonlyMap<string, unknown>): number {
  const value = Number(values.get(key) ?? defaultOf(key));
  if (!Number.isSafeInteger(value)) {
    throw new EngineError(
      "invalid-argument",
      `invalid ${key} "${value}": a whole number is wanted`,
    );
  }
  return value;
}

/** Runtimes that are known without being named. */
const ownRuntimes: Readonly<Record<string, RuntimeOption>> = {
  crun: { path: "crun", args: [] },
  runc: { path: "runc", args: [] },
};

function runtimesOf(
  given: unknown,
  defaultRuntime: string,
): Readonly<Record<string, RuntimeOption>> {
  const runtimes: Record<string, RuntimeOption> = { ...ownRuntimes };
  for (const [name, value] of Object.entries(isObject(given) ? given : {})) {
    const { path, runtimeArgs } = isObject(value) ? value : {};
    if (typeof path !== "string" || path === "") {
      throw new EngineError("invalid-argument", `invalid runtime "${name}": its "path" is missing`);
    }
    const args = Array.isArray(runtimeArgs)
      ? runtimeArgs.filter((item) => typeof item === "string")
      : [];
    runtimes[name] = { path, args };
  }
  if (runtimes[defaultRuntime] === undefined) {
    throw new EngineError(
      "invalid-argument",
      `specified default runtime '${defaultRuntime}' does not exist`,
    );
  }
  return runtimes;
}

const defaultHost = "unix:///run/tug.sock";

/** Checks one host. An empty one is the default socket. */
function checkHost(host: string): string {
  if (host === "") return defaultHost;
  const form = host.includes("://") ? host : `tcp://${host}`;
  if (/^unix:\/\/\/./.test(form) || /^fd:\/\//.test(form)) return form;
  try {
    const url = new URL(form);
    if (url.protocol === "tcp:" && url.pathname.length <= 1) return form;
  } catch (error) {
    throw new EngineError("invalid-argument", `invalid host "${host}": ${messageOf(error)}`);
  }
  throw new EngineError(
    "invalid-argument",
    `invalid host "${host}": unix:///path, tcp://address:port or fd:// is wanted`,
  );
}
