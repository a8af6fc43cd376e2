import type { FlagDefinition } from "../lib/flags.ts";

/** Where the registry keeps its data. */
export const rootDefault = "/var/lib/tug-registry";
/** Where it listens. */
export const listenDefault = "127.0.0.1:5000";

const rootFlag: FlagDefinition = {
  name: "root",
  kind: "text",
  help: "Directory of the registry's data",
  fallback: rootDefault,
};
const helpFlag: FlagDefinition = { name: "help", short: "h", kind: "switch", help: "Print usage" };
const untaggedFlag: FlagDefinition = {
  name: "delete-untagged",
  kind: "switch",
  help: "Let the collector remove manifests that no tag leads to",
};
const graceFlag: FlagDefinition = {
  name: "gc-grace",
  kind: "text",
  placeholder: "duration",
  help: "How long a blob waits for a manifest that names it",
  fallback: "1h",
};

/** Flags of `tug registry serve`. */
export const serveFlags: readonly FlagDefinition[] = [
  rootFlag,
  {
    name: "listen",
    short: "l",
    kind: "list",
    help: "Address to listen on (HOST:PORT)",
    fallback: listenDefault,
  },
  { name: "addr", kind: "list", help: "As --listen", aliasOf: "listen", isHidden: true },
  {
    name: "htpasswd",
    kind: "text",
    placeholder: "file",
    help: "Users and their passwords (bcrypt), as htpasswd -B writes them",
  },
  {
    name: "access",
    kind: "text",
    placeholder: "file",
    help: "Access rules: <user> <repositories> <pull,push,delete> on each line",
  },
  { name: "anonymous-pull", kind: "switch", help: "Let everybody pull without a login" },
  {
    name: "token-key",
    kind: "text",
    placeholder: "file",
    help: "Private key (EC P-256 or RSA): give out tokens at /token to users of --htpasswd",
  },
  {
    name: "token-cert",
    kind: "text",
    placeholder: "file",
    help: "Certificates of an outside issuer whose tokens are taken",
  },
  {
    name: "token-realm",
    kind: "text",
    placeholder: "url",
    help: "Where clients get tokens (default: /token of the address they use)",
  },
  {
    name: "token-service",
    kind: "text",
    help: "The registry's name in tokens",
    fallback: "tug-registry",
  },
  {
    name: "token-issuer",
    kind: "text",
    help: "The issuer's name in tokens",
    fallback: "tug-registry",
  },
  {
    name: "tls-cert",
    kind: "text",
    placeholder: "file",
    help: "TLS certificate (PEM, with chain)",
  },
  { name: "tls-key", kind: "text", placeholder: "file", help: "Private key of --tls-cert" },
  {
    name: "tls-ca",
    kind: "text",
    placeholder: "file",
    help: "Want a certificate of each client, signed by this authority",
  },
  {
    name: "insecure",
    kind: "switch",
    help: "Listen beyond loopback without TLS and authentication: whoever reaches it may push",
  },
  { name: "read-only", kind: "switch", help: "Take no pushes and no removals" },
  {
    name: "delete",
    kind: "switch",
    help: "Let manifests, tags and blobs be removed (--delete=false: not)",
    fallback: "true",
  },
  { name: "quota", kind: "text", placeholder: "size", help: "Bytes of all content at most" },
  {
    name: "repository-quota",
    kind: "text",
    placeholder: "size",
    help: "Bytes of each repository at most",
  },
  {
    name: "proxy",
    kind: "text",
    placeholder: "url",
    help: "Be a pull-through cache of another registry; takes no pushes",
  },
  { name: "proxy-username", kind: "text", help: "User at the other registry" },
  {
    name: "proxy-password-file",
    kind: "text",
    placeholder: "file",
    help: "File with the password at the other registry",
  },
  {
    name: "proxy-ttl",
    kind: "text",
    placeholder: "duration",
    help: "How long copies of the other registry are kept (0: for ever)",
    fallback: "168h",
  },
  {
    name: "gc-interval",
    kind: "text",
    placeholder: "duration",
    help: "Time between two collections (0: only by 'tug registry gc')",
    fallback: "24h",
  },
  graceFlag,
  untaggedFlag,
  {
    name: "upload-expiry",
    kind: "text",
    placeholder: "duration",
    help: "How long an unfinished upload can be resumed",
    fallback: "24h",
  },
  {
    name: "metrics-addr",
    kind: "text",
    placeholder: "address",
    help: "Serve /metrics here instead of on the registry's own address (HOST:PORT)",
  },
  {
    name: "access-log",
    kind: "switch",
    help: "Log each request (--access-log=false: not)",
    fallback: "true",
  },
  {
    name: "log-level",
    kind: "text",
    help: 'Logging level ("debug"|"info"|"warn"|"error"|"fatal")',
    fallback: "info",
  },
  { name: "log-format", kind: "text", help: 'Logging format ("text"|"json")', fallback: "text" },
  helpFlag,
];

/** Flags of `tug registry gc`. */
export const gcFlags: readonly FlagDefinition[] = [rootFlag, graceFlag, untaggedFlag, helpFlag];

/** Flags of `tug registry htpasswd`. */
export const htpasswdFlags: readonly FlagDefinition[] = [helpFlag];
