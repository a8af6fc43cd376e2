/** What a sandbox serves for its container: host ports and names. */
import type { BoundPort, SandboxPlan } from "./sandbox-plan.ts";

/** Running services of one sandbox. */
export interface SandboxServices {
  readonly ports: readonly BoundPort[];
  /** Closes all sockets, by resets. */
  close(): void;
  /** The container has ended: ports and names are free at once, what it has sent goes on. */
  end(): ServicesEnd;
}

/** What is still under way after the container's end. Both promises have a bound, neither fails. */
export interface ServicesEnd {
  /** What the container has sent is with the shim, and its network may go. No client delays this. */
  readonly received: Promise<void>;
  /** Clients have got it, or took too long. */
  readonly delivered: Promise<void>;
}

/** What services need of the shim. */
export interface SandboxServicesOptions {
  readonly hostNetworkFd: number;
  readonly onWarning: (message: string) => void;
}

/** Starts what the plan asks for. @throws conflict with code EADDRINUSE when a port is taken */
export async function startSandboxServices(
  plan: SandboxPlan,
  options: SandboxServicesOptions,
): Promise<SandboxServices> {
  const { ports, dns } = plan;
  const bound = ports.length === 0 ? undefined : await startPorts(plan, options);
  try {
    const forwarder = dns === undefined ? undefined : await startDns(dns, options);
    return {
      ports: bound?.ports ?? [],
      close() {
        bound?.close();
        forwarder?.close();
      },
      end() {
        forwarder?.close();
        return bound?.end() ?? { received: Promise.resolve(), delivered: Promise.resolve() };
      },
    };
  } catch (error) {
    bound?.close();
    throw error;
  }
}

async function startPorts(
  plan: SandboxPlan,
  options: SandboxServicesOptions,
): Promise<SandboxServices> {
  const { openPortService } = await import("./_port-service.ts");
  return await openPortService(plan, options);
}

async function startDns(
  dns: NonNullable<SandboxPlan["dns"]>,
  options: SandboxServicesOptions,
): Promise<{ close(): void }> {
  const { openDnsForwarder } = await import("./_dns-forwarder.ts");
  return await openDnsForwarder({ ...dns, ...options });
}
