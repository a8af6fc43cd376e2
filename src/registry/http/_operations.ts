import {
  deleteBlob,
  deleteManifest,
  getBlob,
  getCatalog,
  getManifest,
  getReferrers,
  getTags,
  putManifest,
} from "./_content-routes.ts";
import { type Exchange, sendBytes, sendEmpty, sendJson } from "./_exchange.ts";
import { deleteUpload, getUpload, patchUpload, postUpload, putUpload } from "./_upload-routes.ts";
import type { RepositoryAction } from "../auth/access-rules.ts";
import type { Wanted } from "../auth/gate.ts";
import type { Metrics } from "./metrics.ts";
import type { Target } from "../names.ts";
import type { TokenServer } from "../auth/token-server.ts";

/** What the operations depend on. */
export interface OperationOptions {
  readonly metrics: Metrics;
  readonly tokenServer?: TokenServer;
  readonly hasMetrics: boolean;
}

type Handler = (exchange: Exchange) => Promise<void>;

/** One way to use a path. */
export interface Operation {
  /** What the caller must be allowed; undefined: nothing. */
  readonly wanted: Wanted | undefined;
  readonly run: Handler;
}

/** What can be done at a path, by method; GET stands for HEAD too. */
export function operationsOf(
  options: OperationOptions,
  asked: { readonly target: Target; readonly query: URLSearchParams },
): Readonly<Record<string, Operation | undefined>> {
  const { target, query } = asked;
  const on = (repository: string, ...actions: RepositoryAction[]): Wanted => ({
    kind: "repository",
    repository,
    actions,
  });
  switch (target.kind) {
    case "root":
      return { GET: { wanted: undefined, run: async (exchange) => sendEmpty(exchange, 200) } };
    case "ping":
      return { GET: { wanted: { kind: "ping" }, run: async (exchange) => sendJson(exchange, {}) } };
    case "catalog":
      return { GET: { wanted: { kind: "catalog" }, run: getCatalog } };
    case "metrics":
      return options.hasMetrics
        ? { GET: { wanted: { kind: "metrics" }, run: metricsRoute(options) } }
        : {};
    case "token": {
      const run = tokenRoute(options, query);
      return run === undefined
        ? {}
        : { GET: { wanted: undefined, run }, POST: { wanted: undefined, run } };
    }
    case "tags":
      return {
        GET: { wanted: on(target.repository, "pull"), run: (one) => getTags(one, target) },
      };
    case "referrers":
      return {
        GET: { wanted: on(target.repository, "pull"), run: (one) => getReferrers(one, target) },
      };
    case "manifest": {
      const { repository } = target;
      return {
        GET: { wanted: on(repository, "pull"), run: (one) => getManifest(one, target) },
        PUT: { wanted: on(repository, "pull", "push"), run: (one) => putManifest(one, target) },
        DELETE: { wanted: on(repository, "delete"), run: (one) => deleteManifest(one, target) },
      };
    }
    case "blob": {
      const { repository } = target;
      return {
        GET: { wanted: on(repository, "pull"), run: (one) => getBlob(one, target) },
        DELETE: { wanted: on(repository, "delete"), run: (one) => deleteBlob(one, target) },
      };
    }
    case "uploads": {
      const wanted = on(target.repository, "pull", "push");
      return { POST: { wanted, run: (one) => postUpload(one, target) } };
    }
    case "upload": {
      const wanted = on(target.repository, "pull", "push");
      return {
        GET: { wanted, run: (one) => getUpload(one, target) },
        PATCH: { wanted, run: (one) => patchUpload(one, target) },
        PUT: { wanted, run: (one) => putUpload(one, target) },
        DELETE: { wanted, run: (one) => deleteUpload(one, target) },
      };
    }
  }
}

function metricsRoute({ metrics }: OperationOptions): Handler {
  return async (exchange) =>
    sendBytes(exchange, {
      bytes: Buffer.from(metrics.render()),
      headers: { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" },
    });
}

function tokenRoute(
  { tokenServer }: OperationOptions,
  query: URLSearchParams,
): Handler | undefined {
  if (tokenServer === undefined) return undefined;
  return async (exchange) =>
    sendJson(exchange, await tokenServer(exchange.request, query), { "Cache-Control": "no-store" });
}
