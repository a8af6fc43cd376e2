/**
 * The daemon's side of a shim.
 *
 * `ShimPool.acquire` hands out a shim for one container: a warm spare where there is one. After a
 * restart of the daemon `ShimPool.recover` finds the shims that live, and the exit statuses of those
 * that ended meanwhile.
 */
import type { Duplex } from "node:stream";
import type { SandboxWishes } from "./sandbox/sandbox-plan.ts";
import type {
  ExecRequest,
  ExitStatus,
  SandboxResult,
  ShimState,
  StartRequest,
  StartResult,
} from "./shim-protocol.ts";

/** Which streams of which process an attach connection carries. */
export interface AttachOptions {
  readonly execId?: string;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly detachKeys?: readonly number[];
}

/** What a shim tells the daemon; each called at most once an event. */
export interface ShimListener {
  exited(status: ExitStatus): void;
  oomKilled(): void;
  execExited(execId: string, status: ExitStatus): void;
  /** The shim is gone without an exit status: killed. The container has been killed too. */
  lost(reason: string): void;
}

/** One shim, adopted by one container. */
export interface Shim {
  readonly containerId: string;
  /** The shim's own pid: `/proc/<pid>/ns/net` is the sandbox. */
  readonly pid: number;
  /** `<exec-root>/shims/<name>`; name is stored with the container to find it again. */
  readonly name: string;
  listen(listener: ShimListener): void;
  /** Does inside the sandbox what networks want, before the start; asks for nothing where that is
   * nothing. @throws conflict with `details.code` `EADDRINUSE` when a host port is taken */
  openSandbox(inside: SandboxWishes): Promise<SandboxResult>;
  /** @throws invalid-argument with `details.exitCode` 126 or 127 when the command cannot be run */
  start(request: Omit<StartRequest, "op">): Promise<StartResult>;
  /** Resolves once attached: no byte written after is missed. Output in stdcopy frames, or raw. */
  attach(options: AttachOptions): Promise<Duplex>;
  exec(request: Omit<ExecRequest, "op">): Promise<{ readonly pid: number }>;
  resize(size: {
    readonly execId?: string;
    readonly rows: number;
    readonly columns: number;
  }): Promise<void>;
  closeStdin(execId?: string): Promise<void>;
  state(): Promise<ShimState>;
  /**
   * Whether it is lost, and was never asked to start: what was made for the container so far is its
   * sandbox, which has gone with it. Whoever gives the rest back may begin anew with another shim.
   */
  isLostUnstarted(): Promise<boolean>;
  /** Ends a shim that never started its container; with force where it does not do so by itself. */
  abandon(): Promise<void>;
}

/** What was found of a container's shim after a restart. */
export type RecoveredShim =
  | { readonly kind: "running"; readonly shim: Shim; readonly state: ShimState }
  | { readonly kind: "exited"; readonly containerId: string; readonly status: ExitStatus }
  | { readonly kind: "lost"; readonly containerId: string; readonly reason: string };

/** How a shim is given to a container. */
export interface AcquireOptions {
  /**
   * Done for the shim while it answers, and done anew for another, should that one be lost; a failure
   * is that of the acquisition.
   */
  readonly meanwhile?: (shim: Pick<Shim, "pid">) => Promise<void>;
}

/** The shims of one daemon. */
export interface ShimPool extends AsyncDisposable {
  /**
   * Gives a shim to a container, once that has answered: a spare that was lost unseen, or hangs, is
   * replaced by another. Nothing of the container has been made by then but what was to be made
   * meanwhile, and the shim's note of its ID, which goes with its folder; what is lost from now on is
   * the container's loss.
   *
   * @throws unavailable when shims cannot be started, or are lost one after the other
   */
  acquire(containerId: string, options?: AcquireOptions): Promise<Shim>;
  /** Finds what an earlier daemon left under the exec root, by shim name and container. */
  recover(
    known: readonly { readonly name: string; readonly containerId: string }[],
  ): Promise<readonly RecoveredShim[]>;
  /** Removes `<exec-root>/shims/<name>` of an ended container, when its status is stored. */
  forget(name: string): Promise<void>;
}
