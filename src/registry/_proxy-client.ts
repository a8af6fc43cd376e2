import { readFileSync } from "node:fs";
import { EngineError, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { openRegistryClient } from "../remote/http-registry-client.ts";
import type { ProxyConfig } from "./config.ts";
import type { UpstreamOptions } from "./storage/pull-through.ts";

/** Blobs that are fetched at once. */
const downloadsMax = 16;
/** Attempts at a transfer before the client is told that the other registry does not answer. */
const attemptsMax = 3;
/** Where authorities and client certificates of the other registry may be. */
const certsDirs = ["/etc/tug/certs.d", "/etc/docker/certs.d"] as const;
/** Docker's registry is asked under another name than the one in references. */
const hubHosts: readonly string[] = ["registry-1.docker.io", "index.docker.io", "docker.io"];

/** A client of the other registry, to be closed. */
export interface ProxyClient extends AsyncDisposable {
  readonly upstream: UpstreamOptions;
}

/** Opens the client of the registry that this one is a cache of. Nothing is asked yet. */
export function openProxyClient(config: ProxyConfig, logger: Logger): ProxyClient {
  const { url, username, passwordPath } = config;
  const client = openRegistryClient({
    logger,
    config: {
      mirrors: [],
      insecureRegistries: url.protocol === "http:" ? [url.host] : [],
      certsDirs,
      downloadsMax,
      uploadsMax: 1,
      attemptsMax,
    },
  });
  const password = passwordPath === undefined ? undefined : readPassword(passwordPath);
  const domain = hubHosts.includes(url.host) ? "docker.io" : url.host;
  return {
    upstream: {
      client,
      domain,
      ...(username === undefined || password === undefined
        ? {}
        : { credentials: { username, password } }),
    },
    [Symbol.asyncDispose]: async () => await client[Symbol.asyncDispose](),
  };
}

function readPassword(path: string): string {
  try {
    return readFileSync(path, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    throw new EngineError("invalid-argument", `--proxy-password-file: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
