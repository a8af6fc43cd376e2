/** The composition of a registry that serves: builds its parts in order, and takes them down in reverse. */
import { rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { TaskGroup } from "../lib/concurrency/task-group.ts";
import { sleep } from "../lib/concurrency/retry.ts";
import { openAuth } from "./auth/open-auth.ts";
import { openProxyClient } from "./_proxy-client.ts";
import { controlPath, openRoot } from "./_root.ts";
import { readTls } from "./_tls-files.ts";
import type { ServeConfig } from "./config.ts";
import { answerOf } from "./errors.ts";
import { type Address, createFront, type Front } from "./http/front.ts";
import { describeCollection } from "./help.ts";
import { openRegistry } from "./storage/local-registry.ts";
import { Metrics } from "./http/metrics.ts";
import { createUpstream } from "./storage/pull-through.ts";
import type { Registry } from "./registry.ts";
import { createRegistryHandler } from "./http/server.ts";

/** How often idle uploads are looked at. */
const tidyPeriodMs = 60_000;
/** Longest path of a unix socket. man 7 unix */
const socketPathMax = 107;

/** A registry that serves. */
export interface ServingRegistry {
  /** The addresses that are listened on. */
  readonly addresses: readonly Address[];
  readonly metricsAddress: Address | undefined;
  /** Reads certificates and access rules again; what is no good leaves the old ones. */
  reload(): void;
  stop(): Promise<void>;
}

/**
 * Starts to serve a root.
 *
 * @throws conflict when another process has the root or an address; invalid-argument for a file that is
 * named and is no good
 */
export async function serveRegistry(
  config: ServeConfig,
  options: { readonly logger: Logger },
): Promise<ServingRegistry> {
  const { logger } = options;
  await using undo = new AsyncDisposableStack();
  const tls = config.tls === undefined ? undefined : readTls(config.tls, { logger });
  const { gate, tokenServer, prepare } = openAuth(config.auth, {
    logger,
    hasTls: tls !== undefined,
  });
  const root = await openRoot(config.root, { logger });
  undo.use(root);
  const client = config.proxy === undefined ? undefined : openProxyClient(config.proxy, logger);
  if (client !== undefined) undo.use(client);
  const registry = await openRegistry({
    content: root.content,
    metadata: root.metadata,
    logger,
    quota: quotaOf(config),
    graceMs: config.graceMs,
    uploadExpiryMs: config.uploadExpiryMs,
    removesUntagged: config.removesUntagged,
    ...(client === undefined
      ? {}
      : { upstream: (context) => createUpstream(context, client.upstream) }),
    ...(config.proxy === undefined || config.proxy.expiryMs === 0
      ? {}
      : { copyExpiryMs: config.proxy.expiryMs }),
  });
  undo.use(registry);
  const metrics = createMetrics(registry);
  const handle = createRegistryHandler({
    registry,
    gate,
    metrics,
    logger,
    ...(tokenServer === undefined ? {} : { tokenServer }),
    // What a cache has is the other registry's to change.
    isReadOnly: config.isReadOnly || config.proxy !== undefined,
    isDeleteAllowed: config.isDeleteAllowed,
    hasMetrics: config.metricsAddress === undefined,
    hasAccessLog: config.hasAccessLog,
  });
  const front = createFront({ handle, logger });
  undo.defer(async () => await front.close());
  const control = await openControl(config.root, { registry, logger });
  undo.defer(async () => await control.close());
  undo.use(startTasks(config, { registry, logger }));
  const metricsAddress = await listenMetrics(config, { metrics, logger, undo });
  const addresses: Address[] = [];
  for (const address of config.listen) {
    const bound = await front.listen(address, tls);
    addresses.push(bound);
    logger.info("registry listens", { ...bound, tls: tls !== undefined });
  }
  const close = undo.move();
  return {
    addresses,
    metricsAddress,
    reload: () => {
      const next = config.tls === undefined ? undefined : readTls(config.tls, { logger });
      const useRules = prepare();
      if (next !== undefined) front.useTls(next);
      useRules();
      logger.info("certificates and access rules were read again");
    },
    stop: async () => await close.disposeAsync(),
  };
}

function quotaOf(config: ServeConfig): {
  readonly sizeMaxBytes?: number;
  readonly repositoryMaxBytes?: number;
} {
  const { quotaBytes, repositoryQuotaBytes } = config;
  return {
    ...(quotaBytes === undefined ? {} : { sizeMaxBytes: quotaBytes }),
    ...(repositoryQuotaBytes === undefined ? {} : { repositoryMaxBytes: repositoryQuotaBytes }),
  };
}

function createMetrics(registry: Registry): Metrics {
  const gauge = (name: string, help: string, read: () => number) => ({
    name: `tug_registry_${name}`,
    help,
    read,
  });
  return new Metrics([
    gauge("repositories", "Repositories there are.", () => registry.stats.repositoryCount),
    gauge("digests", "Different blobs and manifests.", () => registry.stats.digestCount),
    gauge("content_bytes", "Bytes of all content.", () => registry.stats.sizeBytes),
    gauge("uploads", "Unfinished uploads.", () => registry.stats.uploadCount),
    gauge("resident_bytes", "Memory of the process.", () => process.memoryUsage.rss()),
  ]);
}

async function listenMetrics(
  config: ServeConfig,
  options: {
    readonly metrics: Metrics;
    readonly logger: Logger;
    readonly undo: AsyncDisposableStack;
  },
): Promise<Address | undefined> {
  if (config.metricsAddress === undefined) return undefined;
  const { metrics, logger, undo } = options;
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const isFound = request.url?.split("?")[0] === "/metrics" && request.method === "GET";
    response.writeHead(isFound ? 200 : 404, {
      "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
    });
    response.end(isFound ? metrics.render() : "");
  };
  const front = createFront({ handle, logger });
  undo.defer(async () => await front.close());
  const bound = await front.listen(config.metricsAddress);
  logger.info("metrics listen", { ...bound });
  return bound;
}

/** Listens for `tug registry gc`. */
async function openControl(
  root: string,
  options: { readonly registry: Registry; readonly logger: Logger },
): Promise<{ close(): Promise<void> }> {
  const { registry, logger } = options;
  const path = controlPath(root);
  if (Buffer.byteLength(path) > socketPathMax) {
    logger.warn("the root's path is too long for a socket: gc works only when nothing serves it");
    return { close: async () => undefined };
  }
  const collect = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.method !== "POST" || request.url !== "/gc") {
      response.writeHead(404).end();
      return;
    }
    try {
      const text = describeCollection(await registry.collect());
      response.writeHead(200, { "Content-Type": "text/plain" }).end(text);
    } catch (error) {
      logger.error("collect", { error });
      response.writeHead(answerOf(error).status, { "Content-Type": "text/plain" });
      response.end(messageOf(error));
    }
  };
  const front: Front = createFront({
    handle: (request, response) => void collect(request, response),
    logger,
  });
  rmSync(path, { force: true });
  await front.listenUnix(path);
  return {
    close: async () => {
      await front.close();
      rmSync(path, { force: true });
    },
  };
}

/** What happens by the clock: uploads are tidied, garbage is collected. */
function startTasks(
  config: ServeConfig,
  options: { readonly registry: Registry; readonly logger: Logger },
): TaskGroup {
  const { registry, logger } = options;
  const tasks = new TaskGroup({ onError: (error, name) => logger.error(name, { error }) });
  const every = (
    name: string,
    times: { readonly periodMs: number; readonly firstMs: number },
    work: () => Promise<unknown>,
  ): void =>
    tasks.run(name, async (signal) => {
      for (let waitMs = times.firstMs; ; waitMs = times.periodMs) {
        await sleep(waitMs, signal);
        try {
          await work();
        } catch (error) {
          // A full disk today must not end what is to be done tomorrow.
          logger.error(name, { error });
        }
      }
    });
  const tidyTimes = { periodMs: tidyPeriodMs, firstMs: tidyPeriodMs };
  every("tidy uploads", tidyTimes, async () => await registry.tidy());
  const { gcIntervalMs, graceMs } = config;
  if (gcIntervalMs > 0) {
    // The first as soon as something may go: who is started anew each day would never collect.
    const times = { periodMs: gcIntervalMs, firstMs: Math.min(gcIntervalMs, graceMs) };
    every("collect garbage", times, async () => await registry.collect());
  }
  return tasks;
}
