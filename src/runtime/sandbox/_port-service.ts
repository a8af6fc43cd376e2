/**
 * Host ports of a container: bound in the host's network, served from inside the sandbox.
 *
 * The sockets live in two namespaces, the process in one: what comes to the host's socket is
 * carried to the container by a connection of its own network.
 */
import { EngineError } from "../../lib/errors.ts";
import { valueWithin } from "../../lib/concurrency/deadline.ts";
import {
  bindDatagram,
  connectDatagram,
  type DatagramPeer,
  type DatagramSocket,
} from "../../sys/net/datagram-socket.ts";
import { systemCode } from "../../sys/libc.ts";
import { inNamespace } from "../../sys/namespace.ts";
import { bindUdpFd, listenTcpFd } from "../../sys/net/socket.ts";
import { acceptStreams, connectTcpStream } from "../../sys/net/stream-socket.ts";
import type { SandboxServices, SandboxServicesOptions, ServicesEnd } from "./sandbox-services.ts";
import { StreamProxy } from "./_stream-proxy.ts";
import type { BoundPort, PortPlan, SandboxPlan } from "./sandbox-plan.ts";
import { closeSync } from "node:fs";

/** Connections and flows of one container. */
const connectionCountMax = 4096;
const flowCountMax = 1024;
// Docker: a flow of the userland proxy lasts 90 s, seen in 28.5.
const flowIdleMs = 90_000;
/** What a container's last bytes may take of the shim's memory, for all connections together. */
const lastBytesMax = 16 * 1024 * 1024;
/** How long the end of a container waits for bytes that the kernel has: they come at once. */
const receivedMaxMs = 100;
/** How long clients may take to read a container's last bytes. */
const deliveredMaxMs = 2000;
/** How often the kernel is asked for a port that is free at all addresses of a group. */
const chosenAttemptMax = 20;

interface Bound {
  readonly plan: PortPlan;
  readonly fd: number;
  readonly hostPort: number;
}

/** Binds all ports of the plan and serves them. @throws conflict with code EADDRINUSE */
export async function openPortService(
  plan: SandboxPlan,
  options: SandboxServicesOptions,
): Promise<SandboxServices> {
  const bound: Bound[] = [];
  const services: PortServer[] = [];
  const close = (): void => {
    for (const each of bound.splice(0)) closeSync(each.fd);
    for (const each of services.splice(0)) each.close();
  };
  try {
    for (const group of groupsOf(plan.ports)) bound.push(...bindGroup(group, options));
    const ports = bound.map(({ plan: { protocol, hostIp, containerPort }, hostPort }) => ({
      protocol,
      hostIp,
      hostPort,
      containerPort,
    }));
    for (let one = bound.shift(); one !== undefined; one = bound.shift()) {
      services.push(await serve(one, { plan, options }));
    }
    return { ports: ports satisfies BoundPort[], close, end: () => endAll(services) };
  } catch (error) {
    close();
    throw error;
  }
}

/** What serves one port. */
interface PortServer {
  close(): void;
  /** Listens no more; what is not a stream is closed. @returns the connections there are */
  end(): readonly StreamProxy[];
}

/** The proxies go on without the port, each no longer than its clients are given. */
function endAll(services: readonly PortServer[]): ServicesEnd {
  const room = { leftBytes: lastBytesMax };
  const proxies = services.flatMap((each) => each.end());
  const last = proxies.map((proxy) => proxy.drain(room));
  const all = (which: keyof ServicesEnd): Promise<unknown> =>
    Promise.all(last.map((each) => each[which]));
  return {
    received: valueWithin(all("received"), receivedMaxMs).then(() => undefined),
    delivered: valueWithin(all("delivered"), deliveredMaxMs).then(() => {
      for (const proxy of proxies) proxy.close();
    }),
  };
}

function groupsOf(ports: readonly PortPlan[]): PortPlan[][] {
  const groups = new Map<string, PortPlan[]>();
  for (const port of ports) {
    const key = `${port.protocol}/${port.group}`;
    groups.set(key, [...(groups.get(key) ?? []), port]);
  }
  return [...groups.values()];
}

function bindGroup(group: readonly PortPlan[], options: SandboxServicesOptions): Bound[] {
  const [first] = group;
  if (first === undefined) return [];
  for (const candidate of candidatesOf(first)) {
    const bound = tryBindGroup(group, candidate, options);
    if (bound !== undefined) return bound;
  }
  const { hostIp, hostPortFirst } = first;
  const host = hostIp.includes(":") ? `[${hostIp}]` : hostIp;
  // Docker: this sentence, seen in 28.5.
  throw new EngineError(
    "conflict",
    `Bind for ${host}:${hostPortFirst} failed: port is already allocated`,
    { details: { code: "EADDRINUSE" } },
  );
}

function candidatesOf(plan: PortPlan): number[] {
  if (plan.hostPortFirst === 0) return Array<number>(chosenAttemptMax).fill(0);
  const count = Math.max(1, plan.hostPortLast - plan.hostPortFirst + 1);
  return Array.from({ length: count }, (_, index) => plan.hostPortFirst + index);
}

/** @returns undefined when one of the addresses has the port taken */
function tryBindGroup(
  group: readonly PortPlan[],
  candidate: number,
  options: SandboxServicesOptions,
): Bound[] | undefined {
  const bound: Bound[] = [];
  try {
    for (const plan of group) {
      const port = bound[0]?.hostPort ?? candidate;
      const one = bindOne(plan, port, options);
      if (one !== undefined) bound.push(one);
    }
    return bound;
  } catch (error) {
    for (const each of bound) closeSync(each.fd);
    if (systemCode(error) === "EADDRINUSE") return undefined;
    throw error;
  }
}

function bindOne(plan: PortPlan, port: number, options: SandboxServicesOptions): Bound | undefined {
  const at = { host: plan.hostIp, port };
  try {
    const { fd, port: hostPort } = inNamespace(options.hostNetworkFd, "net", () =>
      plan.protocol === "tcp" ? listenTcpFd({ ...at, reuseAddress: true }) : bindUdpFd(at),
    );
    return { plan, fd, hostPort };
  } catch (error) {
    const isMissingIpv6 = plan.hostIp === "::" && isNoIpv6(systemCode(error));
    if (!isMissingIpv6) throw error;
    options.onWarning("bind ::: the host has no IPv6");
    return undefined;
  }
}

function isNoIpv6(code: string | undefined): boolean {
  return code === "EAFNOSUPPORT" || code === "EADDRNOTAVAIL";
}

interface ServeContext {
  readonly plan: SandboxPlan;
  readonly options: SandboxServicesOptions;
}

async function serve(bound: Bound, context: ServeContext): Promise<PortServer> {
  const target = {
    host: containerAddress(context.plan, bound.plan),
    port: bound.plan.containerPort,
  };
  if (bound.plan.protocol === "tcp") return serveTcp(bound.fd, target);
  return await serveUdp(bound, target, context);
}

/** The container's address, of the family of the host's where it has one. */
function containerAddress(sandbox: SandboxPlan, port: PortPlan): string {
  const addresses = sandbox.interfaces
    .flatMap((each) => each.addresses)
    .map((cidr) => cidr.replace(/\/.*$/, ""));
  const isIpv6 = port.hostIp.includes(":");
  return addresses.find((each) => each.includes(":") === isIpv6) ?? addresses[0] ?? "127.0.0.1";
}

function serveTcp(fd: number, target: DatagramPeer): PortServer {
  const proxies = new Map<object, StreamProxy>();
  const listener = acceptStreams(fd, {
    open(client) {
      if (proxies.size >= connectionCountMax) {
        client.close();
        return;
      }
      const proxy = new StreamProxy(() => proxies.delete(client));
      proxies.set(client, proxy);
      proxy.handlers(0).open?.(client);
      void connectTcpStream(target, proxy.handlers(1)).then((server) => {
        if (server === undefined) proxy.close();
      });
    },
    data: (client, bytes) => proxies.get(client)?.handlers(0).data(client, bytes),
    drain: (client) => proxies.get(client)?.handlers(0).drain?.(client),
    end: (client) => proxies.get(client)?.handlers(0).end?.(client),
    close: (client) => proxies.get(client)?.handlers(0).close?.(client),
  });
  return {
    close() {
      listener.close();
      for (const proxy of proxies.values()) proxy.close();
    },
    end() {
      listener.close();
      return [...proxies.values()];
    },
  };
}

interface Flow {
  readonly socket: DatagramSocket;
  usedAtMs: number;
}

async function serveUdp(
  bound: Bound,
  target: DatagramPeer,
  context: ServeContext,
): Promise<PortServer> {
  const flows = new Map<string, Flow>();
  const opening = new Map<string, Uint8Array[]>();
  // Bun binds by number alone: the descriptor has kept the port until here.
  closeSync(bound.fd);
  const at = { host: bound.plan.hostIp, port: bound.hostPort };
  const socket = await inNamespace(context.options.hostNetworkFd, "net", () =>
    bindDatagram(at, { onMessage: (bytes, from) => void received(bytes, from) }),
  );
  const received = async (bytes: Uint8Array, from: DatagramPeer): Promise<void> => {
    const key = `${from.host} ${from.port}`;
    const known = flows.get(key);
    const queue = opening.get(key);
    if (known !== undefined) {
      known.usedAtMs = performance.now();
      known.socket.send(bytes);
    } else if (queue !== undefined) {
      if (queue.length < 16) queue.push(bytes);
    } else if (flows.size + opening.size < flowCountMax) {
      opening.set(key, [bytes]);
      await openFlow(key, from);
    }
  };
  const openFlow = async (key: string, from: DatagramPeer): Promise<void> => {
    try {
      const flow: Flow = {
        usedAtMs: performance.now(),
        socket: await connectDatagram(target, {
          onMessage(bytes) {
            flow.usedAtMs = performance.now();
            socket.send(bytes, from);
          },
        }),
      };
      flows.set(key, flow);
      for (const bytes of opening.get(key) ?? []) flow.socket.send(bytes);
    } catch (error) {
      context.options.onWarning(`open UDP flow: ${String(error)}`);
    } finally {
      opening.delete(key);
    }
  };
  const sweep = setInterval(() => {
    const oldest = performance.now() - flowIdleMs;
    for (const [key, flow] of flows) {
      if (flow.usedAtMs > oldest) continue;
      flow.socket.close();
      flows.delete(key);
    }
  }, flowIdleMs / 9);
  const close = (): void => {
    clearInterval(sweep);
    socket.close();
    for (const flow of flows.values()) flow.socket.close();
  };
  return {
    close,
    end() {
      close();
      return [];
    },
  };
}
