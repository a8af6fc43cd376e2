/**
 * Containers: records and lifecycle.
 *
 * A container is a record; what runs is a task, held by a shim (runtime/). One keyed mutex per
 * container orders its changes. A change is stored before it is acknowledged.
 *
 *     created ──start──▶ running ⇄ paused
 *        ▲                  │ exit, stop, kill, lost shim
 *        └──────start────── exited ──remove──▶ (removing) ──▶ gone      dead: removal failed half-way
 */
import type { Duplex } from "node:stream";
import type {
  ContainerCreateOptions,
  ContainerInspectResponse,
  ContainerSummary,
  ContainerTopResponse,
  FilesystemChange,
} from "../api/container.ts";
import type { CommitOptions } from "./commit.ts";
import type { ExecConfig, ExecInspectResponse } from "../api/exec.ts";

/** A filter value by name, as in the `filters` query: name → values. */
export type FilterMap = ReadonlyMap<string, readonly string[]>;

/** Which streams an attach carries. */
export interface AttachQuery {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Output from now on; without it only `logs`. */
  readonly stream: boolean;
  /** What was logged so far comes first. */
  readonly logs: boolean;
  /** As given: `ctrl-p,ctrl-q`; Docker's default when absent. */
  readonly detachKeys?: string;
}

/** An attachment, ready to be joined to a client's connection. */
export interface Attachment {
  /** Raw bytes instead of stdcopy frames. */
  readonly hasTty: boolean;
  /** Output to the client; the bytes of stdin are written to it, half-close ends stdin. It ends
   * when the process has ended and all its output has passed, or after the detach keys. */
  readonly stream: Duplex;
}

/** Which log lines are wanted. */
export interface LogQuery {
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly sinceNs?: bigint;
  readonly untilNs?: bigint;
  readonly timestamps: boolean;
  readonly details: boolean;
  /** Lines from the end; all when absent. */
  readonly tail?: number;
  readonly signal?: AbortSignal;
}

/** How a wait ended. */
export interface WaitResult {
  readonly StatusCode: number;
  readonly Error?: { readonly Message: string };
}

/** The containers of one data root. All take a name, a full ID or an unambiguous ID prefix and throw
 * not-found `No such container: x`. */
export interface ContainerService {
  create(
    request: ContainerCreateOptions,
    options: { readonly name?: string; readonly platform?: string },
  ): Promise<{ readonly Id: string; readonly Warnings: readonly string[] }>;
  list(options: {
    readonly all: boolean;
    readonly limit?: number;
    readonly size: boolean;
    readonly filters: FilterMap;
  }): Promise<readonly ContainerSummary[]>;
  inspect(id: string, options: { readonly size: boolean }): Promise<ContainerInspectResponse>;
  top(id: string, options: { readonly psArgs: string }): Promise<ContainerTopResponse>;
  /** Stdcopy frames, or raw bytes for a container with a terminal. */
  logs(
    id: string,
    query: LogQuery,
  ): Promise<{ readonly hasTty: boolean; readonly stream: ReadableStream<Uint8Array> }>;
  /** @throws not-modified when it runs already */
  start(id: string, options: { readonly detachKeys?: string }): Promise<void>;
  /** @throws not-modified when it does not run */
  stop(
    id: string,
    options: { readonly signal?: string; readonly timeoutS?: number },
  ): Promise<void>;
  restart(
    id: string,
    options: { readonly signal?: string; readonly timeoutS?: number },
  ): Promise<void>;
  /** @throws conflict when it does not run */
  kill(id: string, options: { readonly signal?: string }): Promise<void>;
  rename(id: string, options: { readonly name: string }): Promise<void>;
  pause(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  attach(id: string, query: AttachQuery): Promise<Attachment>;
  resize(id: string, size: { readonly rows: number; readonly columns: number }): Promise<void>;
  /** Resolves the condition first: `accepted` is called when the wait is registered, so that the
   * server can send its headers before the container ends. */
  wait(
    id: string,
    options: {
      readonly condition: "not-running" | "next-exit" | "removed";
      readonly accepted: () => void;
      readonly signal?: AbortSignal;
    },
  ): Promise<WaitResult>;
  remove(
    id: string,
    options: { readonly volumes: boolean; readonly force: boolean; readonly link: boolean },
  ): Promise<void>;
  prune(filters: FilterMap): Promise<{
    readonly ContainersDeleted: readonly string[];
    readonly SpaceReclaimed: number;
  }>;
  /** What it has changed over its image, by path. */
  changes(
    id: string,
    options?: { readonly signal?: AbortSignal },
  ): Promise<readonly FilesystemChange[]>;
  /** All its files as a tar, mounts left out, running or not. @throws conflict when it is removed */
  export(
    id: string,
    options?: { readonly signal?: AbortSignal },
  ): Promise<ReadableStream<Uint8Array>>;
  /** Makes an image of its files and configuration, running or not.
   * @returns the image's ID, once it is durable
   * @throws invalid-argument for a name or change that is none, conflict when it is removed */
  commit(id: string, options: CommitOptions): Promise<string>;
  execCreate(id: string, request: ExecConfig): Promise<{ readonly Id: string }>;
  /** Starts it detached. @throws conflict when it was started before */
  execStart(
    execId: string,
    options: { readonly rows?: number; readonly columns?: number },
  ): Promise<void>;
  /** Starts it attached. */
  execAttach(
    execId: string,
    options: {
      readonly hasTty: boolean;
      readonly rows?: number;
      readonly columns?: number;
      readonly detachKeys?: string;
    },
  ): Promise<Attachment>;
  execResize(
    execId: string,
    size: { readonly rows: number; readonly columns: number },
  ): Promise<void>;
  execInspect(execId: string): Promise<ExecInspectResponse>;
  /** Numbers for `info`. */
  counts(): { readonly running: number; readonly paused: number; readonly stopped: number };
}
