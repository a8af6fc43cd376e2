import { EngineError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { ProxyConfig } from "./config.ts";
import type { UpstreamOptions } from "./pull-through.ts";

/** A client of the other registry, to be closed. */
export interface ProxyClient {
  readonly upstream: UpstreamOptions;
  close(): Promise<void>;
}

/** Opens the client of the registry that this one is a cache of. */
export async function openProxyClient(config: ProxyConfig, _logger: Logger): Promise<ProxyClient> {
  throw new EngineError("not-implemented", `--proxy ${config.url.host}: not there yet`);
}
