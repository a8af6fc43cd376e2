/** From flags to a checked configuration. */
import { isIP } from "node:net";
import { resolve } from "node:path";
import { EngineError, isKind } from "../lib/errors.ts";
import { type ParsedFlags, parseFlags } from "../lib/flags.ts";
import { type LogLevel, logLevels } from "../lib/log.ts";
import { parseSize } from "../lib/size.ts";
import { parseDuration } from "../lib/time.ts";
import type { Address } from "./http/front.ts";
import { gcFlags, listenDefault, rootDefault, serveFlags } from "./options.ts";

/** How callers are known. */
export interface AuthConfig {
  readonly htpasswdPath: string | undefined;
  readonly accessPath: string | undefined;
  readonly isAnonymousPull: boolean;
  readonly token:
    | {
        readonly keyPath: string | undefined;
        readonly certPath: string | undefined;
        readonly realm: string | undefined;
        readonly service: string;
        readonly issuer: string;
      }
    | undefined;
}

/** Another registry to be a cache of. */
export interface ProxyConfig {
  readonly url: URL;
  readonly username: string | undefined;
  readonly passwordPath: string | undefined;
  /** How long copies are kept; 0: for ever. */
  readonly expiryMs: number;
}

/** Certificates, as paths. */
export interface TlsPaths {
  readonly certPath: string;
  readonly keyPath: string;
  readonly caPath: string | undefined;
}

/** What `tug registry serve` is told. */
export interface ServeConfig {
  readonly root: string;
  readonly listen: readonly Address[];
  readonly metricsAddress: Address | undefined;
  readonly auth: AuthConfig;
  readonly tls: TlsPaths | undefined;
  readonly isReadOnly: boolean;
  readonly isDeleteAllowed: boolean;
  readonly quotaBytes: number | undefined;
  readonly repositoryQuotaBytes: number | undefined;
  readonly proxy: ProxyConfig | undefined;
  /** 0: never. */
  readonly gcIntervalMs: number;
  readonly graceMs: number;
  readonly removesUntagged: boolean;
  readonly uploadExpiryMs: number;
  readonly hasAccessLog: boolean;
  readonly logLevel: LogLevel;
  readonly logFormat: "text" | "json";
}

/** What `tug registry gc` is told. */
export interface GcConfig {
  readonly root: string;
  readonly graceMs: number;
  readonly removesUntagged: boolean;
}

/** A configuration, or the wish for help. */
export type Parsed<T> =
  | { readonly action: "help" }
  | { readonly action: "run"; readonly config: T };

/** Longest time that a timer can wait. */
const durationMaxMs = 2 ** 31 - 1;

/** Reads the arguments of `tug registry serve`. @throws invalid-argument */
export function parseServe(args: readonly string[]): Parsed<ServeConfig> {
  const flags = parseFlags(args, serveFlags);
  if (flags.switches.get("help") === true) return { action: "help" };
  refuseOperands(flags);
  const metrics = textOf(flags, "metrics-addr");
  const config: ServeConfig = {
    root: resolve(textOf(flags, "root") ?? rootDefault),
    listen: (flags.values.get("listen") ?? [listenDefault]).map((one) => parseAddress(one)),
    metricsAddress: metrics === undefined ? undefined : parseAddress(metrics),
    auth: authOf(flags),
    tls: tlsOf(flags),
    isReadOnly: flags.switches.get("read-only") === true,
    isDeleteAllowed: flags.switches.get("delete") !== false,
    quotaBytes: sizeOf(flags, "quota"),
    repositoryQuotaBytes: sizeOf(flags, "repository-quota"),
    proxy: proxyOf(flags),
    gcIntervalMs: durationOf(flags, "gc-interval"),
    graceMs: durationOf(flags, "gc-grace"),
    removesUntagged: flags.switches.get("delete-untagged") === true,
    uploadExpiryMs: durationOf(flags, "upload-expiry"),
    hasAccessLog: flags.switches.get("access-log") !== false,
    logLevel: logLevelOf(flags),
    logFormat: oneOf(flags, "log-format", ["text", "json"] as const) ?? "text",
  };
  refuseOpenDoors(config, flags.switches.get("insecure") === true);
  return { action: "run", config };
}

/** Reads the arguments of `tug registry gc`. @throws invalid-argument */
export function parseGc(args: readonly string[]): Parsed<GcConfig> {
  const flags = parseFlags(args, gcFlags);
  if (flags.switches.get("help") === true) return { action: "help" };
  refuseOperands(flags);
  return {
    action: "run",
    config: {
      root: resolve(textOf(flags, "root") ?? rootDefault),
      graceMs: durationOf(flags, "gc-grace"),
      removesUntagged: flags.switches.get("delete-untagged") === true,
    },
  };
}

/** Reads `HOST:PORT`, `[IPv6]:PORT` or `:PORT` (all addresses). @throws invalid-argument */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]*)):(\d{1,5})$/.exec(text);
  const [, six, name, digits] = match ?? [];
  const port = Number(digits);
  const host = six ?? name;
  if (host === undefined || port > 65_535 || (six !== undefined && isIP(six) !== 6)) {
    throw usage(`${JSON.stringify(text)} is no address: HOST:PORT is wanted`);
  }
  return { host: host === "" ? "::" : host, port };
}

/** Tells whether only this machine reaches an address. */
export function isLoopback({ host }: Address): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Beyond loopback a registry needs TLS, and callers whom it knows. */
function refuseOpenDoors(config: ServeConfig, isInsecure: boolean): void {
  if (isInsecure) return;
  const { auth, tls, listen, metricsAddress } = config;
  const open = listen.find((address) => !isLoopback(address));
  if (metricsAddress !== undefined && !isLoopback(metricsAddress)) {
    throw usage(
      `--metrics-addr ${metricsAddress.host}: figures are served without a login, so beyond ` +
        "loopback only with --insecure",
    );
  }
  if (open === undefined) return;
  const hasUsers =
    auth.htpasswdPath !== undefined || auth.token !== undefined || tls?.caPath !== undefined;
  const lacks = [
    ...(tls === undefined ? ["TLS (--tls-cert, --tls-key)"] : []),
    ...(hasUsers ? [] : ["authentication (--htpasswd, --token-cert or --tls-ca)"]),
  ];
  if (lacks.length === 0) return;
  throw usage(
    `--listen ${open.host}:${open.port}: beyond loopback the registry wants ${lacks.join(" and ")}; ` +
      "to do without all the same, say --insecure",
  );
}

function authOf(flags: ParsedFlags): AuthConfig {
  const htpasswdPath = textOf(flags, "htpasswd");
  const accessPath = textOf(flags, "access");
  const keyPath = textOf(flags, "token-key");
  const certPath = textOf(flags, "token-cert");
  const realm = textOf(flags, "token-realm");
  const isAnonymousPull = flags.switches.get("anonymous-pull") === true;
  const hasToken = keyPath !== undefined || certPath !== undefined;
  if (keyPath !== undefined && htpasswdPath === undefined) {
    throw usage("--token-key: tokens are given to the users of --htpasswd, which is missing");
  }
  if (certPath !== undefined && realm === undefined && keyPath === undefined) {
    throw usage("--token-cert: say with --token-realm where clients get tokens");
  }
  if (realm !== undefined && !hasToken) {
    throw usage("--token-realm: tokens need --token-key or --token-cert");
  }
  if (htpasswdPath === undefined && !hasToken && (accessPath !== undefined || isAnonymousPull)) {
    throw usage(
      "--access, --anonymous-pull: without --htpasswd or tokens everybody may do everything",
    );
  }
  const terms = {
    service: quotable(flags, "token-service") ?? "tug-registry",
    issuer: quotable(flags, "token-issuer") ?? "tug-registry",
  };
  if (realm !== undefined && !URL.canParse(realm)) throw usage(`--token-realm ${realm}: no URL`);
  const token = hasToken ? { keyPath, certPath, realm, ...terms } : undefined;
  return { htpasswdPath, accessPath, isAnonymousPull, token };
}

/** A name that stands in quotes in a header. */
function quotable(flags: ParsedFlags, name: string): string | undefined {
  const text = textOf(flags, name);
  if (text !== undefined && !/^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/.test(text)) {
    throw usage(`--${name}: letters, digits and signs other than quotes are wanted`);
  }
  return text;
}

function tlsOf(flags: ParsedFlags): TlsPaths | undefined {
  const certPath = textOf(flags, "tls-cert");
  const keyPath = textOf(flags, "tls-key");
  const caPath = textOf(flags, "tls-ca");
  if (certPath === undefined && keyPath === undefined && caPath === undefined) return undefined;
  if (certPath === undefined || keyPath === undefined) {
    throw usage("TLS wants both --tls-cert and --tls-key");
  }
  return { certPath, keyPath, caPath };
}

function proxyOf(flags: ParsedFlags): ProxyConfig | undefined {
  const text = textOf(flags, "proxy");
  const username = textOf(flags, "proxy-username");
  const passwordPath = textOf(flags, "proxy-password-file");
  if (text === undefined) {
    if (username !== undefined || passwordPath !== undefined) {
      throw usage("--proxy-username, --proxy-password-file: --proxy is missing");
    }
    return undefined;
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.pathname === "/" && url.search === "" && url.username === "";
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || !isPlain) {
    throw usage("--proxy: http(s)://HOST[:PORT] is wanted, without a path or a password");
  }
  if ((username === undefined) !== (passwordPath === undefined)) {
    throw usage("--proxy-username and --proxy-password-file go together");
  }
  return { url, username, passwordPath, expiryMs: durationOf(flags, "proxy-ttl") };
}

function logLevelOf(flags: ParsedFlags): LogLevel {
  return oneOf(flags, "log-level", logLevels) ?? "info";
}

function oneOf<T extends string>(
  flags: ParsedFlags,
  name: string,
  allowed: readonly T[],
): T | undefined {
  const text = textOf(flags, name);
  if (text === undefined) return undefined;
  const found = allowed.find((one) => one === text);
  if (found === undefined) throw usage(`--${name} ${JSON.stringify(text)}: ${allowed.join(", ")}`);
  return found;
}

function sizeOf(flags: ParsedFlags, name: string): number | undefined {
  const text = textOf(flags, name);
  if (text === undefined) return undefined;
  const sizeBytes = naming(name, () => parseSize(text));
  if (sizeBytes > 0) return sizeBytes;
  throw usage(
    `--${name} ${text}: nothing could be pushed; --read-only says that, and no quota is none`,
  );
}

function durationOf(flags: ParsedFlags, name: string): number {
  const flag = serveFlags.find((one) => one.name === name);
  const text = textOf(flags, name) ?? flag?.fallback ?? "0";
  const durationMs = Number(naming(name, () => parseDuration(text)) / 1_000_000n);
  if (durationMs < 0) throw usage(`--${name} ${text}: less than nothing`);
  return Math.min(durationMs, durationMaxMs);
}

/** Adds the flag to what is said of its value. */
function naming<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (isKind(error, "invalid-argument")) throw usage(`--${name}: ${error.message}`);
    throw error;
  }
}

function textOf(flags: ParsedFlags, name: string): string | undefined {
  const text = flags.values.get(name)?.at(-1);
  return text === "" ? undefined : text;
}

function refuseOperands({ operands }: ParsedFlags): void {
  const [first] = operands;
  if (first !== undefined) throw usage(`unexpected argument: ${JSON.stringify(first)}`);
}

function usage(sentence: string): EngineError {
  return new EngineError("invalid-argument", sentence, { details: { isUsage: true } });
}
