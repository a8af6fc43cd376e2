/**
 * What the daemon and a shim say to each other.
 *
 * A shim is one process per container: subreaper, network sandbox, owner of stdio, log file and exit
 * status. It outlives the daemon.
 *
 * 1. The daemon starts `tug shim <directory>`. The shim opens its own network namespace, listens on
 *    `<directory>/shim.sock` and waits: it is a *spare*. A spare ends when the connection that keeps
 *    it ends.
 * 2. `adopt` makes it the shim of one container; nothing else is asked before its answer. From now on it
 *    ends only when the container has ended, whatever happens to the daemon.
 * 3. Attach connections may come before `start`; they miss no byte.
 * 4. `sandbox` configures the interfaces that the daemon has put there, binds host ports and answers
 *    names. Then `start` mounts the root file system, opens stdio and log, runs the OCI runtime, and
 *    answers with the container's pid.
 * 5. `exec`, `resize`, `closeStdin`, … as asked.
 * 6. The container ends: the shim drains stdio into the log, unmounts, writes `<directory>/exit.json`
 *    (before anybody is told), says `exit`, and serves attach readers to their end.
 * 7. The daemon hangs up, and the shim goes; or it asks to `renew`, and the shim listens at another
 *    directory, a spare once more.
 *
 * Framing: every connection begins with one JSON line, a `ShimHello`. On a control connection each
 * further line is a `ShimRequest` from the daemon, a `ShimReply` or a `ShimEvent` from the shim. On an
 * attach connection all further bytes from the shim are output in Docker's stdcopy frames (raw when
 * the process has a terminal), and all bytes to it are stdin; half-close ends stdin.
 *
 * A client that is sent much is *handed over*, so that the daemon need not pass its bytes on:
 *
 * 1. `takeClient` names the descriptor of the client's socket in the daemon. The shim takes one of its
 *    own, holds the output back, and answers how many bytes come by the attach connection in all.
 * 2. The daemon passes these on, closes the socket, and asks to `serveClient`: the shim goes on with the
 *    client itself. The attach connection is silent now. When it closes, the client is dropped; a byte
 *    from the shim says that the client has vanished; the output's end is told by it first, and to the
 *    client after `endClient`.
 */
import type { RuntimeProcess, RuntimeSpec } from "../oci/runtime-spec.ts";
import type { SnapshotMountPlan, SandboxPlan, BoundPort } from "./sandbox/sandbox-plan.ts";

/** Version of this protocol; a daemon does not adopt a spare of another version, but serves
 * running shims of all versions it knows. */
export const shimProtocolVersion = 1;

/** First line of a connection. */
export type ShimHello =
  | { readonly kind: "control" }
  | {
      readonly kind: "attach";
      /** The exec to attach to; the container's own process when absent. */
      readonly execId?: string;
      readonly stdin: boolean;
      readonly stdout: boolean;
      readonly stderr: boolean;
      /** Bytes, as `parseDetachKeys` gives them; when they come in on stdin of a terminal the
       * shim closes this connection and leaves the process alone. */
      readonly detachKeys?: readonly number[];
      /** What `takeClient` calls this connection. */
      readonly key?: string;
    };

/** Where output is logged. */
export interface LogPlan {
  readonly driver: "json-file" | "none";
  /** Absolute path of the current file. */
  readonly path?: string;
  /** 0: never rotated. */
  readonly sizeMaxBytes: number;
  /** Files kept, the current one included. */
  readonly countMax: number;
  readonly isCompressed: boolean;
  /** Extra attributes for each line (labels, env), as Docker's `attrs`. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** How a process talks. */
export interface StdioPlan {
  readonly hasTty: boolean;
  /** Stdin stays open until somebody closes it; without it stdin is /dev/null. */
  readonly openStdin: boolean;
  /** Stdin ends when the first attached client's ends. */
  readonly stdinOnce: boolean;
  readonly rows?: number;
  readonly columns?: number;
}

/** Everything that a start needs. */
export interface StartRequest {
  readonly op: "start";
  readonly containerId: string;
  /** Where the shim writes `config.json` and makes FIFOs; on the exec root. */
  readonly bundle: string;
  /** The OCI runtime spec; `root.path` is where the shim mounts `rootfs`. */
  readonly spec: RuntimeSpec;
  readonly rootfs: SnapshotMountPlan;
  readonly stdio: StdioPlan;
  readonly log: LogPlan;
  /** Sysctls of the sandbox that the container asked for; set before it runs. */
  readonly networkSysctls: Readonly<Record<string, string>>;
  readonly runtime: {
    readonly path: string;
    readonly args: readonly string[];
    readonly root: string;
  };
}

/**
 * A start as the shim is told it. The spec is text that only passes through: as objects its hundreds
 * of strings would stay in the memory of a process that there is one of for each container.
 */
export interface StartOrder extends Omit<StartRequest, "spec"> {
  /** The content of `config.json`. */
  readonly config: string;
  readonly facts: SpecFacts;
}

/** What a shim itself must know of a spec. */
export interface SpecFacts {
  /** The first word of the process, and where it starts: for what is said of a failure. */
  readonly command: string;
  readonly cwd: string;
  readonly cgroupsPath?: string;
  readonly hasMemoryLimit: boolean;
  readonly hasPoststopHooks: boolean;
}

/** An added process. */
export interface ExecRequest {
  readonly op: "exec";
  readonly execId: string;
  readonly process: RuntimeProcess;
  readonly stdio: StdioPlan;
}

/** Has the shim take a client's socket, and hold its output back. */
export interface TakeClient {
  readonly op: "takeClient";
  readonly key: string;
  /** Of the daemon, whose descriptor it is. */
  readonly pid: number;
  readonly fd: number;
}

/** Result of `takeClient`. */
export interface ClientTaken {
  /** What comes by the attach connection, from its first byte on. */
  readonly outputBytes: number;
}

/** Has the shim serve the client whose socket it took. */
export interface ServeClient {
  readonly op: "serveClient";
  readonly key: string;
  /** What the client's input by the attach connection comes to, from its first byte on. */
  readonly inputBytes: number;
}

/** What a daemon asks. */
export type ShimRequest =
  | { readonly op: "adopt"; readonly containerId: string; readonly logLevel: string }
  | { readonly op: "sandbox"; readonly plan: SandboxPlan }
  | StartOrder
  | ExecRequest
  | {
      readonly op: "resize";
      readonly execId?: string;
      readonly rows: number;
      readonly columns: number;
    }
  | { readonly op: "closeStdin"; readonly execId?: string }
  | TakeClient
  | ServeClient
  | { readonly op: "endClient"; readonly key: string }
  | { readonly op: "state" }
  /** Reopens or rotates nothing; asks for the counters of the log. */
  | { readonly op: "logState" }
  /** Ends a shim whose container never started, or a spare. */
  | { readonly op: "abandon" }
  /** Makes an ended shim a spare again, at home in `directory`: an empty folder that is its alone. */
  | { readonly op: "renew"; readonly directory: string };

/** A request with its number; replies carry the same. */
export type NumberedRequest = ShimRequest & { readonly seq: number };

/** Answer to one request. */
export type ShimReply =
  | { readonly seq: number; readonly ok: true; readonly result: unknown }
  | {
      readonly seq: number;
      readonly ok: false;
      readonly error: { readonly kind: string; readonly message: string; readonly code?: string };
    };

/** Result of `start`. */
export interface StartResult {
  readonly pid: number;
  /** Start time of `pid` in clock ticks (/proc/<pid>/stat), as decimal digits: tells reuse of a pid. */
  readonly pidStartTime: string;
}

/** Result of `sandbox`. */
export interface SandboxResult {
  /** What was bound of the ports that were asked for. */
  readonly ports: readonly BoundPort[];
}

/** How a container or exec ended; also the content of `exit.json`. */
export interface ExitStatus {
  /** 128 + signal when a signal ended it. */
  readonly exitCode: number;
  readonly exitedAtNs: string;
  readonly isOomKilled: boolean;
  /** Why, where the shim knows more than the code. */
  readonly error?: string;
}

/** Result of `state`. */
export interface ShimState {
  readonly version: number;
  readonly phase: "spare" | "adopted" | "starting" | "running" | "exited";
  readonly containerId?: string;
  readonly pid?: number;
  readonly pidStartTime?: string;
  readonly startedAtNs?: string;
  readonly ports: readonly BoundPort[];
  readonly exit?: ExitStatus;
  readonly execs: readonly {
    readonly execId: string;
    readonly pid?: number;
    readonly exit?: ExitStatus;
  }[];
}

/** What a shim tells unasked. */
export type ShimEvent =
  | { readonly event: "exit"; readonly status: ExitStatus }
  | { readonly event: "oom" }
  | { readonly event: "execExit"; readonly execId: string; readonly status: ExitStatus }
  | { readonly event: "warning"; readonly message: string };
