/** Operations on processes added to containers. */
import type {
  ExecCreateRequest,
  ExecCreateResponse,
  ExecInspectResponse,
  ExecStartRequest,
} from "../api/exec.ts";
import type { Hijacked } from "./exchange.ts";
import { pathSegment, type Transport } from "./transport.ts";

/** @see Engine API v1.51, ContainerExec */
export function createExec(
  transport: Transport,
  container: string,
  request: ExecCreateRequest,
): Promise<ExecCreateResponse> {
  return transport.json(`POST /containers/${pathSegment(container)}/exec`, { body: request });
}

/** Starts a process and takes the connection over for its streams. */
export function startExec(
  transport: Transport,
  execId: string,
  request: ExecStartRequest,
): Promise<Hijacked> {
  return transport.hijack(`POST /exec/${pathSegment(execId)}/start`, { body: request });
}

/** Starts a process that nobody listens to. */
export async function startExecDetached(
  transport: Transport,
  execId: string,
  request: ExecStartRequest,
): Promise<void> {
  await transport.send(`POST /exec/${pathSegment(execId)}/start`, { body: request });
}

/** @see Engine API v1.51, ExecResize */
export async function resizeExec(
  transport: Transport,
  execId: string,
  size: { readonly rows: number; readonly columns: number },
): Promise<void> {
  await transport.send(`POST /exec/${pathSegment(execId)}/resize`, {
    query: { h: size.rows, w: size.columns },
  });
}

/** @see Engine API v1.51, ExecInspect */
export function inspectExec(transport: Transport, execId: string): Promise<ExecInspectResponse> {
  return transport.json(`GET /exec/${pathSegment(execId)}/json`);
}
