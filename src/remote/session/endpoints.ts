import { lookup } from "node:dns/promises";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { isInBlock, parseBlock } from "../transport/address-block.ts";

/** One URL under which a registry is asked. */
export interface Endpoint {
  /** Ends with a slash; `v2/…` is resolved against it. */
  readonly url: URL;
  /** It has a copy: it gets no credentials, and its failure is not the registry's. */
  readonly isMirror: boolean;
}

/** What decides on the endpoints of a registry. */
export interface EndpointConfig {
  readonly mirrors: readonly string[];
  readonly insecureRegistries: readonly string[];
}

/** Finds the addresses of a host; none when it has none. */
export type LookUp = (host: string) => Promise<readonly string[]>;

/** The host that serves docker.io. */
export const officialHost = "registry-1.docker.io";

/** Names that all mean docker.io. */
const officialNames: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", officialHost]);

const alwaysInsecure = ["127.0.0.0/8", "::1/128"] as const;

/** The host that is asked for a domain, as references have it. */
export function hostOf(domain: string): string {
  return officialNames.has(domain) ? officialHost : domain;
}

/** The mirrors of a domain in their order. */
export function mirrorsOf(domain: string, config: EndpointConfig): readonly Endpoint[] {
  return config.mirrors.map(splitMirror).flatMap(({ host, mirror }) => {
    if (hostOf(host) !== hostOf(domain)) return [];
    const url = URL.parse(mirror.endsWith("/") ? mirror : `${mirror}/`);
    const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
    return url !== null && isHttp ? [{ url, isMirror: true }] : [];
  });
}

/** `quay.io=https://mirror` is one of quay.io; a URL alone, as Docker has it, is one of docker.io. */
export function splitMirror(text: string): { readonly host: string; readonly mirror: string } {
  const [, host = "docker.io", mirror = text] = /^([^=/]+)=(.*)$/s.exec(text) ?? [];
  return { host, mirror };
}

/**
 * The registry's own endpoints in their order: TLS, then, for an insecure one, none.
 *
 * @param isInsecure of the host
 * @throws invalid-argument for what references take for a host and is none: `host:99999`, `[:::]`
 */
export function ownEndpoints(domain: string, isInsecure: boolean): readonly Endpoint[] {
  const host = hostOf(domain);
  const at = (scheme: string): Endpoint => {
    const url = URL.parse(`${scheme}://${host}/`);
    if (url !== null) return { url, isMirror: false };
    throw new EngineError(
      "invalid-argument",
      `invalid registry ${JSON.stringify(host)}: no such host or port can be`,
    );
  };
  return isInsecure && host !== officialHost ? [at("https"), at("http")] : [at("https")];
}

/**
 * Whether a host may be spoken to without TLS, or with a certificate nobody signed: listed by name,
 * or one of its addresses lies in a listed block or is a loopback address.
 *
 * @param host with its port
 * @see https://docs.docker.com/reference/cli/dockerd/#insecure-registries
 */
export async function isInsecureHost(
  host: string,
  options: { readonly insecureRegistries: readonly string[]; readonly lookUp?: LookUp },
): Promise<"listed" | "loopback" | "no"> {
  const name = host.toLowerCase();
  const listed = options.insecureRegistries.map((entry) =>
    entry
      .replace(/^https?:\/\//, "")
      .replace(/\/$/, "")
      .toLowerCase(),
  );
  if (listed.includes(name)) return "listed";
  const bare = name.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  // An address alone is a host, and its port counts.
  const blocks = listed.filter((entry) => entry.includes("/") && parseBlock(entry) !== undefined);
  const addresses =
    parseBlock(bare) === undefined ? await (options.lookUp ?? lookUpAddresses)(bare) : [bare];
  const isIn = (block: string): boolean => addresses.some((address) => isInBlock(address, block));
  if (blocks.some(isIn)) return "listed";
  return alwaysInsecure.some(isIn) ? "loopback" : "no";
}

async function lookUpAddresses(host: string): Promise<readonly string[]> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (error) {
    // Whoever has no address has none in a block; the request will say so.
    if (codeOf(error) !== undefined) return [];
    throw error;
  }
}
