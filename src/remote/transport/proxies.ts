import { EngineError } from "../../lib/errors.ts";
import { redactText } from "../../lib/redact.ts";
import { isInBlock, parseBlock } from "./address-block.ts";

/** Which proxies there are; the values of HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
export interface ProxyConfig {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
}

/**
 * Chooses the proxy for a URL, with the rules of Go's httpproxy: loopback never has one; NO_PROXY
 * lists hosts with their subdomains, `.domain` and `*.domain` for subdomains alone, addresses,
 * blocks of addresses, each with or without a port, or `*`.
 *
 * @throws invalid-argument for a proxy that is no URL; not-implemented for one of another scheme
 */
export function findProxy(url: URL, config: ProxyConfig): URL | undefined {
  const text = url.protocol === "https:" ? config.httpsProxy : config.httpProxy;
  if (text === undefined || text === "" || isDirect(url, config.noProxy ?? "")) return undefined;
  const proxy = URL.parse(text.includes("://") ? text : `http://${text}`);
  if (proxy === null || proxy.hostname === "") {
    throw new EngineError(
      "invalid-argument",
      `invalid proxy address ${JSON.stringify(shown(text))}`,
    );
  }
  if (proxy.protocol === "http:" || proxy.protocol === "https:") return proxy;
  throw new EngineError(
    "not-implemented",
    `proxy ${JSON.stringify(shown(text))}: the scheme must be http or https`,
  );
}

/** The value of Proxy-Authorization, when the proxy's URL has a user. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === "") return undefined;
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return `Basic ${Buffer.from(pair).toString("base64")}`;
}

function isDirect(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").toLowerCase();
  if (host === "localhost" || isInBlock(host, "127.0.0.0/8") || isInBlock(host, "::1")) return true;
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  return noProxy
    .split(",")
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== "" && matches(entry, { host, port }));
}

function matches(entry: string, target: { readonly host: string; readonly port: string }): boolean {
  if (entry === "*") return true;
  if (parseBlock(entry) !== undefined) return isInBlock(target.host, entry);
  const ported = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(entry);
  const name = ported === null ? entry.replace(/^\[|\]$/g, "") : (ported[1] ?? ported[2] ?? "");
  if (ported !== null && ported[3] !== target.port) return false;
  if (parseBlock(name) !== undefined) return isInBlock(target.host, name);
  const domain = name.replace(/^\*/, "");
  if (domain.startsWith(".")) return target.host.endsWith(domain);
  return target.host === domain || target.host.endsWith(`.${domain}`);
}

function shown(text: string): string {
  return redactText(text.includes("://") ? text : `http://${text}`);
}
