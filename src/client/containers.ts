/** Operations on containers. Each throws the engine's refusal or unavailable. */
import type {
  ContainerCreateRequest,
  ContainerCreateResponse,
  ContainerInspectResponse,
  ContainerPruneResponse,
  ContainerSummary,
  ContainerTopResponse,
  ContainerWaitResponse,
  FilesystemChange,
  WaitCondition,
} from "../api/container.ts";
import { EngineError } from "../lib/errors.ts";
import type { BodyStream, Hijacked } from "./exchange.ts";
import { decodeJson, encodeFilters, pathSegment, type Transport } from "./transport.ts";

type FilterMap = ReadonlyMap<string, readonly string[]>;

/** @see Engine API v1.51, ContainerList */
export function listContainers(
  transport: Transport,
  options: {
    readonly all?: boolean;
    readonly limit?: number;
    readonly size?: boolean;
    readonly filters?: FilterMap;
  } = {},
): Promise<readonly ContainerSummary[]> {
  const { all, limit, size, filters = new Map() } = options;
  return transport.json("GET /containers/json", {
    query: { all, limit, size, filters: encodeFilters(filters) },
  });
}

/** @see Engine API v1.51, ContainerCreate */
export function createContainer(
  transport: Transport,
  options: {
    readonly request: ContainerCreateRequest;
    readonly name?: string;
    readonly platform?: string;
  },
): Promise<ContainerCreateResponse> {
  const { request, name, platform } = options;
  return transport.json("POST /containers/create", { query: { name, platform }, body: request });
}

/** @see Engine API v1.51, ContainerInspect */
export function inspectContainer(
  transport: Transport,
  container: string,
): Promise<ContainerInspectResponse> {
  return transport.json(`GET /containers/${pathSegment(container)}/json`);
}

/** What a container's state is changed to, with the query each operation takes. */
export type ContainerAction =
  | "start"
  | "stop"
  | "restart"
  | "kill"
  | "pause"
  | "unpause"
  | "rename";

/** Start, stop, restart, kill, pause, unpause or rename; "already so" is success. */
export async function actOnContainer(
  transport: Transport,
  container: string,
  options: {
    readonly action: ContainerAction;
    readonly query?: Readonly<Record<string, string | number | undefined>>;
  },
): Promise<void> {
  const { action, query = {} } = options;
  await transport.send(`POST /containers/${pathSegment(container)}/${action}`, { query });
}

/** @see Engine API v1.51, ContainerResize */
export async function resizeContainer(
  transport: Transport,
  container: string,
  size: { readonly rows: number; readonly columns: number },
): Promise<void> {
  await transport.send(`POST /containers/${pathSegment(container)}/resize`, {
    query: { h: size.rows, w: size.columns },
  });
}

/** @see Engine API v1.51, ContainerDelete */
export async function removeContainer(
  transport: Transport,
  container: string,
  options: { readonly force?: boolean; readonly volumes?: boolean; readonly link?: boolean } = {},
): Promise<void> {
  const { force, volumes, link } = options;
  await transport.send(`DELETE /containers/${pathSegment(container)}`, {
    query: { force, v: volumes, link },
  });
}

/** @see Engine API v1.51, ContainerPrune */
export function pruneContainers(
  transport: Transport,
  filters: FilterMap,
): Promise<ContainerPruneResponse> {
  return transport.json("POST /containers/prune", { query: { filters: encodeFilters(filters) } });
}

/** @see Engine API v1.51, ContainerTop */
export function topContainer(
  transport: Transport,
  container: string,
  psArguments: string,
): Promise<ContainerTopResponse> {
  return transport.json(`GET /containers/${pathSegment(container)}/top`, {
    query: { ps_args: psArguments },
  });
}

/** Which output a log or attach is asked for. */
export interface LogOptions {
  readonly follow?: boolean;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: boolean;
  readonly tail?: string;
  readonly details?: boolean;
  readonly signal?: AbortSignal;
}

/** Both output streams of a log, framed unless the container has a terminal. */
export function readLogs(
  transport: Transport,
  container: string,
  options: LogOptions,
): Promise<BodyStream> {
  const { signal, ...query } = options;
  return transport.stream(`GET /containers/${pathSegment(container)}/logs`, {
    query: { stdout: true, stderr: true, ...query },
    ...(signal === undefined ? {} : { signal }),
  });
}

/** @see Engine API v1.51, ContainerAttach */
export function attachContainer(
  transport: Transport,
  container: string,
  options: {
    readonly stdin: boolean;
    readonly stdout: boolean;
    readonly stderr: boolean;
    readonly detachKeys: string;
    readonly logs?: boolean;
  },
): Promise<Hijacked> {
  return transport.hijack(`POST /containers/${pathSegment(container)}/attach`, {
    query: { stream: true, ...options },
  });
}

/** A wait that the engine has taken note of. */
export interface ContainerWait extends AsyncDisposable {
  /** How it ended. Settles once; ask for it once. */
  readonly result: Promise<ContainerWaitResponse>;
}

/**
 * Begins to wait; resolves when the engine has begun, so that what is started next is not missed.
 */
export async function waitForContainer(
  transport: Transport,
  container: string,
  options: { readonly condition?: WaitCondition; readonly signal?: AbortSignal } = {},
): Promise<ContainerWait> {
  const { condition, signal } = options;
  const stream = await transport.stream(`POST /containers/${pathSegment(container)}/wait`, {
    query: { condition },
    ...(signal === undefined ? {} : { signal }),
  });
  const result = readWait(stream);
  result.catch(() => undefined);
  return { result, [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose]() };
}

async function readWait(stream: BodyStream): Promise<ContainerWaitResponse> {
  const parts: Buffer[] = [];
  for await (const part of stream.bytes()) parts.push(part);
  const text = Buffer.concat(parts).toString();
  if (text.trim() === "") {
    throw new EngineError("data-loss", "wait for the container: the engine's answer is empty");
  }
  return decodeJson(text);
}

/** What a container has changed; null for nothing. @see Engine API v1.51, ContainerChanges */
export function listContainerChanges(
  transport: Transport,
  container: string,
): Promise<readonly FilesystemChange[] | null> {
  return transport.json(`GET /containers/${pathSegment(container)}/changes`);
}

/** All files of a container as a tar. @see Engine API v1.51, ContainerExport */
export function exportContainer(transport: Transport, container: string): Promise<BodyStream> {
  return transport.stream(`GET /containers/${pathSegment(container)}/export`);
}

/** @see Engine API v1.51, ImageCommit */
export function commitContainer(
  transport: Transport,
  options: {
    readonly container: string;
    readonly repo: string;
    readonly tag: string;
    readonly comment: string;
    readonly author: string;
    readonly changes: readonly string[];
    readonly pause: boolean;
  },
): Promise<{ readonly Id: string }> {
  const pause = options.pause ? "1" : "0";
  return transport.json("POST /commit", { query: { ...options, pause } });
}
