/** Builds on an engine, by BuildKit's protocol. */
import {
  type BuildkitVersion,
  controlMethods,
  type SolveRequest,
  type StatusResponse,
} from "../../api/buildkit/control.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { GrpcClient } from "../../lib/grpc/client.ts";
import { replayDuplex } from "../../lib/grpc/replay-duplex.ts";
import { createId } from "../../lib/id.ts";
import type { Transport } from "../transport.ts";

/** How long progress may still come when the build has ended. */
const lastStatusMs = 5000;

/** A build. */
export interface SolveOptions {
  /** `session` is that of `openBuildSession`; `ref` is made when absent. */
  readonly request: Partial<SolveRequest>;
  /** Told of progress as it comes, from the first step to the last. */
  readonly onStatus?: (status: StatusResponse) => void;
  /** Cancels the build. */
  readonly signal?: AbortSignal;
}

/** A connection for builds. */
export interface BuildConnection extends Disposable {
  /** @returns what was made, by key @throws what the build failed with; canceled */
  solve(options: SolveOptions): Promise<ReadonlyMap<string, string>>;
  version(): Promise<BuildkitVersion | undefined>;
}

/** Connects for builds. @throws what connecting throws; not-found from an engine without BuildKit */
export async function openBuildConnection(
  transport: Transport,
  options: { readonly signal?: AbortSignal } = {},
): Promise<BuildConnection> {
  const { socket, early } = await transport.hijack("POST /grpc", {
    headers: { Upgrade: "h2c" },
    ...options,
  });
  const client = new GrpcClient(replayDuplex(socket, { early }));
  return {
    solve: async (build) => await solve(client, build),
    version: async () => (await client.unary(controlMethods.info, {})).buildkitVersion,
    [Symbol.dispose]: () => client.close(),
  };
}

async function solve(
  client: GrpcClient,
  options: SolveOptions,
): Promise<ReadonlyMap<string, string>> {
  const ref = options.request.ref ?? createId().slice(0, 25);
  const watching = new AbortController();
  const watched = watch(client, { ref, options, signal: watching.signal });
  watched.catch(() => undefined);
  try {
    const call = options.signal === undefined ? {} : { signal: options.signal };
    const response = await client.unary(controlMethods.solve, { ...options.request, ref }, call);
    return response.exporterResponse;
  } catch (error) {
    if (options.signal?.aborted !== true) throw error;
    throw new EngineError("canceled", "build canceled", { cause: error });
  } finally {
    const timer = setTimeout(() => watching.abort(), lastStatusMs);
    await watched.catch(() => undefined);
    clearTimeout(timer);
  }
}

async function watch(
  client: GrpcClient,
  build: { readonly ref: string; readonly options: SolveOptions; readonly signal: AbortSignal },
): Promise<void> {
  const call = client.open(controlMethods.status, { signal: build.signal });
  try {
    await call.send({ ref: build.ref });
    call.end();
    for (let next = await call.next(); next !== undefined; next = await call.next()) {
      build.options.onStatus?.(next);
    }
  } catch (error) {
    if (!isKind(error)) throw error;
  } finally {
    call.cancel();
  }
}
