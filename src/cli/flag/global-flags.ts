/** Flags before the command. */
import type { FlagDefinition } from "../../lib/flags.ts";
import { listFlag, switchFlag, textFlag } from "./flags.ts";

/** All of them, as in Docker. */
export const globalFlags: readonly FlagDefinition[] = [
  textFlag("config", "Location of client config files", { fallback: "~/.docker" }),
  textFlag(
    "context",
    "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and " +
      'default context set with "tug context use")',
    { short: "c" },
  ),
  switchFlag("debug", "Enable debug mode", { short: "D" }),
  listFlag("host", "Daemon socket to connect to", { short: "H" }),
  textFlag("log-level", 'Set the logging level ("debug", "info", "warn", "error", "fatal")', {
    short: "l",
    fallback: "info",
  }),
  switchFlag("tls", "Use TLS; implied by --tlsverify"),
  textFlag("tlscacert", "Trust certs signed only by this CA", { fallback: "~/.docker/ca.pem" }),
  textFlag("tlscert", "Path to TLS certificate file", { fallback: "~/.docker/cert.pem" }),
  textFlag("tlskey", "Path to TLS key file", { fallback: "~/.docker/key.pem" }),
  switchFlag("tlsverify", "Use TLS and verify the remote"),
  switchFlag("version", "Print version information and quit", { short: "v" }),
];
