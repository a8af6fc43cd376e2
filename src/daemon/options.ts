import type { FlagDefinition } from "../lib/flags.ts";
import { builderOptions } from "./builder-config.ts";
import { policyOptions } from "./policy-config.ts";
import { registryOptions } from "./registry-config.ts";

/** How an option of the daemon is given, on the command line and in daemon.json. */
export interface DaemonOption {
  /** Key in daemon.json. */
  readonly key: string;
  /** What the value is in daemon.json. */
  readonly type: "string" | "boolean" | "number" | "list" | "map" | "runtimes";
  readonly flag: FlagDefinition;
  /** Takes effect on SIGHUP without a restart. */
  readonly isReloadable?: boolean;
}

/** Every option there is; names are Docker's. */
export const daemonOptions: readonly DaemonOption[] = [
  option("hosts", "list", { name: "host", short: "H", help: "Daemon socket(s) to connect to" }),
  option("data-root", "string", {
    name: "data-root",
    help: "Root directory of persistent Tug state",
    fallback: "/var/lib/tug",
  }),
  option("exec-root", "string", {
    name: "exec-root",
    help: "Root directory for execution state files",
    fallback: "/run/tug",
  }),
  option("pidfile", "string", {
    name: "pidfile",
    short: "p",
    help: "Path to use for daemon PID file",
    fallback: "/run/tug.pid",
  }),
  option("group", "string", {
    name: "group",
    short: "G",
    help: "Group for the unix socket",
    fallback: "tug",
  }),
  reloadable(option("debug", "boolean", { name: "debug", short: "D", help: "Enable debug mode" })),
  reloadable(
    option("log-level", "string", {
      name: "log-level",
      short: "l",
      help: 'Set the logging level ("debug"|"info"|"warn"|"error"|"fatal")',
      fallback: "info",
    }),
  ),
  option("log-format", "string", {
    name: "log-format",
    help: 'Set the logging format ("text"|"json")',
    fallback: "text",
  }),
  reloadable(
    option("live-restore", "boolean", {
      name: "live-restore",
      help: "Keep containers running when the daemon is told to stop",
    }),
  ),
  reloadable(
    option("shutdown-timeout", "number", {
      name: "shutdown-timeout",
      help: "Seconds that containers get to stop when the daemon stops",
      fallback: "15",
    }),
  ),
  reloadable(
    option("default-runtime", "string", {
      name: "default-runtime",
      help: "Default OCI runtime for containers",
      fallback: "crun",
    }),
  ),
  reloadable(
    option("runtimes", "runtimes", {
      name: "add-runtime",
      help: "Register an additional OCI compatible runtime (name=path)",
    }),
  ),
  option("storage-driver", "string", {
    name: "storage-driver",
    short: "s",
    help: "Storage driver to use (overlay2|vfs)",
  }),
  option("bip", "string", { name: "bip", help: "IPv4 address for the default bridge (CIDR)" }),
  option("bridge", "string", {
    name: "bridge",
    short: "b",
    help: "Name of the default bridge",
    fallback: "tug0",
  }),
  option("mtu", "number", { name: "mtu", help: "MTU of the default bridge", fallback: "1500" }),
  reloadable(
    option("labels", "list", { name: "label", help: "Set key=value labels to the daemon" }),
  ),
  option("log-driver", "string", {
    name: "log-driver",
    help: "Default driver for container logs",
    fallback: "json-file",
  }),
  option("log-opts", "map", { name: "log-opt", help: "Default log driver options for containers" }),
  option("init", "boolean", { name: "init", help: "Run an init in containers" }),
  option("init-path", "string", { name: "init-path", help: "Path to the init binary" }),
  option("seccomp-profile", "string", {
    name: "seccomp-profile",
    help: "Path to the default seccomp profile",
  }),
  option("no-new-privileges", "boolean", {
    name: "no-new-privileges",
    help: "Set no-new-privileges by default for new containers",
  }),
  option("default-shm-size", "string", {
    name: "default-shm-size",
    help: "Default shm size for containers",
    fallback: "64MiB",
  }),
  option("tls", "boolean", { name: "tls", help: "Use TLS; implied by --tlsverify" }),
  option("tlsverify", "boolean", { name: "tlsverify", help: "Use TLS and verify the remote" }),
  option("tlscacert", "string", { name: "tlscacert", help: "Trust certs signed only by this CA" }),
  option("tlscert", "string", { name: "tlscert", help: "Path to TLS certificate file" }),
  option("tlskey", "string", { name: "tlskey", help: "Path to TLS key file" }),
  option("allow-unauthenticated-tcp", "boolean", {
    name: "allow-unauthenticated-tcp",
    help: "Serve tcp hosts without client certificates: whoever reaches the port is root here",
  }),
  ...registryOptions,
  ...policyOptions,
  ...builderOptions,
];

/** Flags that are no options: they say what to do. */
export const commandFlags: readonly FlagDefinition[] = [
  {
    name: "config-file",
    kind: "text",
    help: "Daemon configuration file",
    fallback: "/etc/tug/daemon.json",
  },
  { name: "validate", kind: "switch", help: "Validate the configuration and exit" },
  { name: "version", short: "v", kind: "switch", help: "Print version information and quit" },
  { name: "help", short: "h", kind: "switch", help: "Print usage" },
];

function option(
  key: string,
  type: DaemonOption["type"],
  flag: Omit<FlagDefinition, "kind">,
): DaemonOption {
  const kinds = {
    string: "text",
    boolean: "switch",
    number: "number",
    list: "list",
    map: "list",
    runtimes: "list",
  } as const;
  return { key, type, flag: { ...flag, kind: kinds[type] } };
}

function reloadable(base: DaemonOption): DaemonOption {
  return { ...base, isReloadable: true };
}
