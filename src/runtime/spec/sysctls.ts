import { EngineError } from "../../lib/errors.ts";

/** Which namespaces of a container are its own, so that its sysctls are nobody else's. */
export interface OwnNamespaces {
  readonly network: boolean;
  readonly ipc: boolean;
  readonly uts: boolean;
  readonly user: boolean;
}

/** Sysctls of the IPC namespace. @see man 7 ipc_namespaces */
const ipcNames: ReadonlySet<string> = new Set([
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
  "kernel.shm_rmid_forced",
]);

/**
 * The sysctls of a container: defaults of its own network, then what was asked.
 *
 * Low ports and ping need no privilege inside an own network namespace.
 *
 * @throws invalid-argument for one that would change the host, in the words of the runtime
 */
export function planSysctls(
  asked: Readonly<Record<string, string>>,
  options: { readonly own: OwnNamespaces; readonly domainname?: string },
): Readonly<Record<string, string>> {
  const { own } = options;
  for (const name of Object.keys(asked)) checkSysctl(name, own);
  return {
    ...(own.network
      ? {
          "net.ipv4.ip_unprivileged_port_start": "0",
          ...(own.user ? {} : { "net.ipv4.ping_group_range": "0 2147483647" }),
        }
      : {}),
    ...(own.uts && options.domainname !== undefined && options.domainname !== ""
      ? { "kernel.domainname": options.domainname }
      : {}),
    ...Object.fromEntries(Object.entries(asked).map(([name, value]) => [dotted(name), value])),
  };
}

/**
 * Checks that a sysctl belongs to a namespace that the container has of its own.
 *
 * @throws invalid-argument when it does not
 */
export function checkSysctl(given: string, own: OwnNamespaces): void {
  const name = dotted(given);
  const quoted = JSON.stringify(name);
  if (!/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(name) || name.split(/[./]/).includes("")) {
    throw invalid(`sysctl ${quoted} is not a sysctl name`);
  }
  if (name.startsWith("net.")) {
    if (own.network) return;
    throw invalid(`sysctl ${quoted} not allowed in host network namespace`);
  }
  if (ipcNames.has(name) || name.startsWith("fs.mqueue.")) {
    if (own.ipc) return;
    throw invalid(`sysctl ${quoted} is not allowed in the hosts ipc namespace`);
  }
  if (name === "kernel.domainname") {
    if (own.uts) return;
    throw invalid(`sysctl ${quoted} is not allowed in the hosts uts namespace`);
  }
  throw invalid(`sysctl ${quoted} is not in a separate kernel namespace`);
}

/** `net/core/somaxconn` is `net.core.somaxconn`; a slash after the first dot belongs to a name. */
function dotted(name: string): string {
  const separator = /[./]/.exec(name)?.[0];
  if (separator !== "/") return name;
  return name.replaceAll(/[./]/g, (character) => (character === "/" ? "." : "/"));
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
