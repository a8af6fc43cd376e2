/**
 * How the daemon reaches registries: options of Docker's names, and the environment's proxies.
 */
import { EngineError } from "../lib/errors.ts";
import { redactText } from "../lib/redact.ts";
import { splitMirror } from "../remote/session/endpoints.ts";
import type { RegistryConfig } from "../remote/registry-client.ts";
import type { DaemonOption } from "./options.ts";

/** Where certificates for registries are looked for, the first folder that has the host wins. */
const certsDirsDefault = ["/etc/tug/certs.d", "/etc/docker/certs.d"];

const downloadsDefault = 3;
const uploadsDefault = 5;
const attemptsDefault = 5;

/** The options. All take effect on a reload. */
export const registryOptions: readonly DaemonOption[] = [
  list("registry-mirrors", "registry-mirror", "Preferred registry mirror, URL or HOST=URL"),
  list("insecure-registries", "insecure-registry", "Enable insecure registry communication"),
  list("certs-dirs", "certs-dir", "Folder of <host>/{*.crt,*.cert,*.key}, looked into first"),
  number("max-concurrent-downloads", {
    help: "Set the max concurrent downloads",
    fallback: downloadsDefault,
  }),
  number("max-concurrent-uploads", {
    help: "Set the max concurrent uploads",
    fallback: uploadsDefault,
  }),
  number("max-download-attempts", {
    help: "Set the max download attempts for each pull",
    fallback: attemptsDefault,
  }),
  text("http-proxy", "HTTP proxy URL to use for outgoing traffic"),
  text("https-proxy", "HTTPS proxy URL to use for outgoing traffic"),
  text("no-proxy", "Comma-separated list of hosts or IP addresses for which the proxy is skipped"),
];

/** Keys that daemon.json has under `proxies`. */
export const proxyKeys: readonly string[] = ["http-proxy", "https-proxy", "no-proxy"];

/**
 * Reads the options.
 *
 * @param env the environment, for proxies that no option names
 * @throws invalid-argument for a mirror, registry or number that cannot be
 */
export function registryConfigOf(
  values: ReadonlyMap<string, unknown>,
  env: Readonly<Record<string, string | undefined>>,
): RegistryConfig {
  const texts = (key: string): readonly string[] =>
    (values.get(key) as readonly string[] | undefined) ?? [];
  const proxy = (key: string): string | undefined => {
    const value = values.get(key);
    if (typeof value === "string" && value !== "") return value;
    const name = key.replace("-", "_");
    return env[name.toUpperCase()] || env[name] || undefined;
  };
  const [httpProxy, httpsProxy, noProxy] = proxyKeys.map(proxy);
  return {
    mirrors: texts("registry-mirrors").map(checkMirror),
    insecureRegistries: texts("insecure-registries").map(checkInsecure),
    certsDirs: [...texts("certs-dirs"), ...certsDirsDefault],
    downloadsMax: count(values, { key: "max-concurrent-downloads", fallback: downloadsDefault }),
    uploadsMax: count(values, { key: "max-concurrent-uploads", fallback: uploadsDefault }),
    attemptsMax: attempts(values),
    ...(httpProxy === undefined ? {} : { httpProxy }),
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    ...(noProxy === undefined ? {} : { noProxy }),
  };
}

/** Docker: 0 means the default, seen in 28.5. */
function count(
  values: ReadonlyMap<string, unknown>,
  { key, fallback }: { readonly key: string; readonly fallback: number },
): number {
  const value = Number(values.get(key) ?? 0);
  if (Number.isSafeInteger(value) && value >= 0) return value === 0 ? fallback : value;
  const what = key.replace(/^max-/, "max ").replaceAll("-", " ");
  throw new EngineError("invalid-argument", `invalid ${what}: ${value}`);
}

function attempts(values: ReadonlyMap<string, unknown>): number {
  const value = Number(values.get("max-download-attempts") ?? attemptsDefault);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new EngineError("invalid-argument", `invalid max download attempts: ${value}`);
}

/** Checks a mirror as Docker does. @returns it with a slash at its end */
function checkMirror(text: string): string {
  const { host, mirror } = splitMirror(text);
  const shown = JSON.stringify(redactText(mirror));
  const refuse = (reason: string): EngineError =>
    new EngineError("invalid-argument", `invalid mirror: ${reason}`);
  if (!/^https?:\/\//i.test(mirror)) {
    throw refuse(`no scheme specified for ${shown}: must use either 'https://' or 'http://'`);
  }
  const url = URL.parse(mirror);
  if (url === null || url.hostname === "") throw refuse(`${shown} is not a valid URI`);
  if (url.search !== "" || url.hash !== "") {
    throw refuse(`query or fragment at end of the URI ${shown}`);
  }
  if (url.username !== "") throw refuse(`username/password not allowed in URI ${shown}`);
  const whole = `${mirror.replace(/\/+$/, "")}/`;
  if (mirror === text) return whole;
  if (!/^[\w.-]+(:\d{1,5})?$/.test(host)) {
    throw refuse(`${JSON.stringify(host)} is not the host of a registry`);
  }
  return `${host}=${whole}`;
}

/** A host, a host with a port, or a block of addresses. */
function checkInsecure(registry: string): string {
  // Docker: strips the scheme that its users put there by mistake, seen in 28.5
  const bare = registry.replace(/^https?:\/\//i, "").replace(/\/$/, "");
  if (/^[\w.-]+(:\d{1,5})?$/.test(bare) || /^\[[\da-f:.]+\](:\d{1,5})?$/i.test(bare)) return bare;
  if (/^[\da-f.:]+\/\d{1,3}$/i.test(bare)) return bare;
  throw new EngineError(
    "invalid-argument",
    `insecure registry ${JSON.stringify(redactText(registry))} is not valid: ` +
      "a host, host:port or CIDR block is wanted",
  );
}

function list(key: string, name: string, help: string): DaemonOption {
  return { key, type: "list", flag: { name, kind: "list", help }, isReloadable: true };
}

function number(
  key: string,
  { help, fallback }: { readonly help: string; readonly fallback: number },
): DaemonOption {
  const flag = { name: key, kind: "number", help, fallback: String(fallback) } as const;
  return { key, type: "number", flag, isReloadable: true };
}

function text(key: string, help: string): DaemonOption {
  return { key, type: "string", flag: { name: key, kind: "text", help }, isReloadable: true };
}
