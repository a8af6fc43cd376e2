/**
 * Processes added to a running container, on the wire.
 *
 * @see Engine API v1.51, tag Exec
 */

/**
 * A decoded body of `POST /containers/{id}/exec`, filled up with zero values.
 *
 * @see Engine API v1.51, ContainerExec
 */
export interface ExecConfig {
  readonly User: string;
  readonly Privileged: boolean;
  readonly Tty: boolean;
  /** Rows, columns; null takes the client's first resize. */
  readonly ConsoleSize: readonly [height: number, width: number] | null;
  readonly AttachStdin: boolean;
  readonly AttachStderr: boolean;
  readonly AttachStdout: boolean;
  readonly DetachKeys: string;
  readonly Env: readonly string[] | null;
  readonly WorkingDir: string;
  readonly Cmd: readonly string[] | null;
}

/** The same body as a client may send it. */
export type ExecCreateRequest = Partial<ExecConfig>;

/** @see Engine API v1.51, IDResponse */
export interface ExecCreateResponse {
  readonly Id: string;
}

/**
 * A decoded body of `POST /exec/{id}/start`.
 *
 * @see Engine API v1.51, ExecStart
 */
export interface ExecStartConfig {
  readonly Detach: boolean;
  readonly Tty: boolean;
  readonly ConsoleSize: readonly [height: number, width: number] | null;
}

/** The same body as a client may send it. */
export type ExecStartRequest = Partial<ExecStartConfig>;

/** @see Engine API v1.51, ProcessConfig */
export interface ProcessConfig {
  readonly tty: boolean;
  readonly entrypoint: string;
  readonly arguments: readonly string[];
  readonly privileged?: boolean;
  readonly user?: string;
}

/** @see Engine API v1.51, ExecInspectResponse */
export interface ExecInspectResponse {
  readonly ID: string;
  readonly Running: boolean;
  /** null until the process has ended. */
  readonly ExitCode: number | null;
  readonly ProcessConfig: ProcessConfig;
  readonly OpenStdin: boolean;
  readonly OpenStderr: boolean;
  readonly OpenStdout: boolean;
  readonly CanRemove: boolean;
  readonly ContainerID: string;
  readonly DetachKeys: string;
  readonly Pid: number;
}
