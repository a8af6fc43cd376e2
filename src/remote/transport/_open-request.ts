import { type Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { request as requestTls } from "node:https";
import type { Socket } from "node:net";
import type { EngineError } from "../../lib/errors.ts";
import { canceled } from "./canceled.ts";
import { proxyFailure, requestFailure } from "./connection-failure.ts";
import type { RemoteLimits } from "./limits.ts";
import { proxyAuthorization } from "./proxies.ts";
import type { HttpRequest, Route } from "./transport.ts";

/** One request, and the way it takes. */
export interface Exchange {
  readonly limits: RemoteLimits;
  readonly wanted: HttpRequest;
  readonly route: Route;
  readonly agent: Agent | false;
}

const userAgent = "tug";

/** Begins a request: its head is sent with the first bytes of its body, or with its end. */
export async function openRequest(plan: Exchange): Promise<ClientRequest> {
  const { wanted, route, agent } = plan;
  const { url } = wanted;
  const isTls = url.protocol === "https:";
  const host = bare(url.hostname);
  const headers: Record<string, string> = {
    host: url.host,
    "user-agent": userAgent,
    // A coded body would not have the digest that was asked for.
    "accept-encoding": "identity",
    ...wanted.headers,
    ...(wanted.body !== undefined || wanted.method === "POST" || wanted.method === "PUT"
      ? { "content-length": `${wanted.body?.sizeBytes ?? 0}` }
      : {}),
  };
  const common = { method: wanted.method, headers, agent };
  const path = `${url.pathname}${url.search}`;
  if (isTls) {
    const tls = tlsOptions(host, route);
    const port = portOf(url);
    if (route.proxy === undefined) return requestTls({ ...common, ...tls, host, port, path });
    const socket = await tunnel(route.proxy, plan);
    // node:http's types do not list the option that node:tls takes.
    const tunneled = { ...common, ...tls, host, port, path, socket };
    return requestTls(tunneled);
  }
  const { proxy } = route;
  if (proxy === undefined) return request({ ...common, host, port: portOf(url), path });
  const authorization = proxyAuthorization(proxy);
  const proxied = authorization === undefined ? {} : { "proxy-authorization": authorization };
  const target = { host: bare(proxy.hostname), port: portOf(proxy), path: url.href };
  const options = { ...common, ...target, headers: { ...headers, ...proxied } };
  return proxy.protocol === "https:" ? requestTls(options) : request(options);
}

/** Asks a proxy for a way through to the host of the request. */
async function tunnel(proxy: URL, plan: Exchange): Promise<Socket> {
  const { url, signal } = plan.wanted;
  const authorization = proxyAuthorization(proxy);
  const target = `${url.hostname}:${portOf(url)}`;
  const options = {
    method: "CONNECT",
    host: bare(proxy.hostname),
    port: portOf(proxy),
    path: target,
    headers: {
      host: target,
      ...(authorization === undefined ? {} : { "proxy-authorization": authorization }),
    },
    agent: false as const,
  };
  const node = proxy.protocol === "https:" ? requestTls(options) : request(options);
  const open = Promise.withResolvers<Socket>();
  node.on("connect", (answer, socket) => {
    if (answer.statusCode === 200) open.resolve(socket);
    else open.reject(refusedByProxy(answer));
  });
  node.on("response", (answer) => open.reject(refusedByProxy(answer)));
  node.on("error", (error) => {
    open.reject(proxyFailure(plan.wanted, { proxy, error }));
  });
  const abort = (): void => open.reject(canceled(signal));
  signal?.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(() => {
    open.reject(requestFailure(plan.wanted, "proxyconnect tcp: i/o timeout"));
  }, plan.limits.connectMs);
  node.end();
  try {
    return await open.promise;
  } catch (error) {
    node.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
  function refusedByProxy(answer: IncomingMessage): EngineError {
    return requestFailure(plan.wanted, answer.statusMessage ?? `${answer.statusCode}`, {
      isTransient: false,
    });
  }
}

function tlsOptions(host: string, route: Route): object {
  const { trust } = route;
  return {
    ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    rejectUnauthorized: route.isVerified,
    ...(trust === undefined ? {} : { ca: [...trust.ca] }),
    ...(trust?.client === undefined
      ? {}
      : { cert: trust.client.certificate, key: trust.client.key }),
  };
}

function portOf(url: URL): number {
  if (url.port !== "") return Number(url.port);
  return url.protocol === "https:" ? 443 : 80;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
