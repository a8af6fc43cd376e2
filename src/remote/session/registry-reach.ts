import { EngineError, isKind, messageOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { RemoteLimits } from "../transport/limits.ts";
import { RegistrySession } from "./registry-session.ts";
import { readHostTrust } from "../transport/certificates.ts";
import {
  type Endpoint,
  isInsecureHost,
  type LookUp,
  mirrorsOf,
  ownEndpoints,
  hostOf,
} from "./endpoints.ts";
import { findProxy } from "../transport/proxies.ts";
import type { RegistryConfig } from "../registry-client.ts";
import { TokenSource } from "./token-source.ts";
import { openTransport } from "../transport/http-transport.ts";
import type { HttpTransport, Route } from "../transport/transport.ts";

/** What reaching registries needs. */
export interface ReachOptions {
  readonly config: RegistryConfig;
  readonly logger: Logger;
  readonly limits: RemoteLimits;
  readonly lookUp?: LookUp | undefined;
}

/** How long the addresses of a host are taken for the same, and of how many hosts. */
const hostKeepMs = 60_000;
const hostsKeptMax = 1_000;

/**
 * Every registry there is, by one configuration: sessions, connections, tokens.
 *
 * A new configuration is a new reach; what goes on with the old one ends with it.
 */
export class RegistryReach {
  readonly config: RegistryConfig;
  readonly limits: RemoteLimits;
  readonly transport: HttpTransport;
  readonly #options: ReachOptions;
  readonly #tokens: TokenSource;
  readonly #sessions = new Map<string, RegistrySession>();
  /** What each host's addresses say, for a short time. */
  readonly #securities = new Map<
    string,
    { readonly security: "secure" | "insecure"; readonly untilMs: number }
  >();
  /** The URL by which each host answered. */
  readonly #answered = new Map<string, string>();

  constructor(options: ReachOptions) {
    this.config = options.config;
    this.limits = options.limits;
    this.#options = options;
    this.transport = openTransport({
      limits: options.limits,
      routeTo: async (url) => await this.#routeTo(url),
    });
    this.#tokens = new TokenSource(this.transport, { monotonicMs: () => performance.now() });
  }

  /**
   * Works with the first endpoint of a domain that can do it.
   *
   * A mirror may fail in any way; the registry's own endpoints are only passed over when they do
   * not answer at all.
   */
  async withSession<T>(
    domain: string,
    options: {
      readonly mirrors: boolean;
      readonly signal?: AbortSignal | undefined;
      readonly work: (session: RegistrySession) => Promise<T>;
    },
  ): Promise<T> {
    const { signal, work } = options;
    for (const endpoint of options.mirrors ? mirrorsOf(domain, this.config) : []) {
      try {
        return await work(this.#session(endpoint));
      } catch (error) {
        if (signal?.aborted || isKind(error, "canceled")) throw error;
        this.#options.logger.info("a mirror could not help, the next is asked", {
          mirror: endpoint.url.host,
          error: messageOf(error),
        });
      }
    }
    const session = await this.openSession(domain, signal);
    try {
      return await work(session);
    } catch (error) {
      // It may be gone, or answer in another way the next time.
      if (isKind(error, "unavailable", "unauthorized")) session.forget();
      throw error;
    }
  }

  /** The registry's own endpoint that answers. @throws unavailable in Docker's words */
  async openSession(domain: string, signal?: AbortSignal): Promise<RegistrySession> {
    const host = hostOf(domain);
    const isInsecure = (await this.#security(host)) === "insecure";
    const endpoints = ownEndpoints(domain, isInsecure);
    const known = this.#answered.get(host);
    // What answered without TLS the last time is asked so at once.
    const sessions = [...endpoints]
      .sort((left, right) => Number(right.url.href === known) - Number(left.url.href === known))
      .map((endpoint) => this.#session(endpoint));
    let failure: unknown = new EngineError("unavailable", `registry ${host} has no endpoint`);
    for (const session of sessions) {
      try {
        await session.ping(signal);
        if (this.#answered.size >= hostsKeptMax) this.#answered.clear();
        this.#answered.set(host, session.endpoint.url.href);
        return session;
      } catch (error) {
        if (!isKind(error, "unavailable")) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  close(): void {
    this.transport.close();
  }

  #session(endpoint: Endpoint): RegistrySession {
    const key = endpoint.url.href;
    const made =
      this.#sessions.get(key) ??
      new RegistrySession(endpoint, { transport: this.transport, tokens: this.#tokens });
    if (this.#sessions.size >= hostsKeptMax) this.#sessions.clear();
    this.#sessions.set(key, made);
    return made;
  }

  async #routeTo(url: URL): Promise<Route> {
    const proxy = findProxy(url, this.config);
    if (url.protocol === "http:") return { isVerified: false, proxy };
    const trust = readHostTrust(this.config.certsDirs, url.host);
    return { trust, proxy, isVerified: (await this.#security(url.host)) === "secure" };
  }

  /**
   * Docker: a loopback address needs no trusted certificate, seen in 28.5. One whose certificates the
   * operator has put into `certsDirs` is held to them all the same.
   */
  async #security(host: string): Promise<"secure" | "insecure"> {
    const kept = this.#securities.get(host);
    if (kept !== undefined && performance.now() < kept.untilMs) return kept.security;
    const security = await this.#findSecurity(host);
    // Bounded: whoever redirects to ever new hosts must not fill the memory.
    if (this.#securities.size >= hostsKeptMax) this.#securities.clear();
    this.#securities.set(host, { security, untilMs: performance.now() + hostKeepMs });
    return security;
  }

  async #findSecurity(host: string): Promise<"secure" | "insecure"> {
    const { lookUp } = this.#options;
    const why = await isInsecureHost(host, {
      insecureRegistries: this.config.insecureRegistries,
      ...(lookUp === undefined ? {} : { lookUp }),
    });
    if (why === "no") return "secure";
    if (why === "listed") return "insecure";
    return readHostTrust(this.config.certsDirs, host).isConfigured ? "secure" : "insecure";
  }
}
