/**
 * Processes added to a running container.
 */
import { expectStart } from "../../runtime/cgroup-warmth.ts";
import { Duplex } from "node:stream";
import type { ExecConfig, ExecInspectResponse } from "../../api/exec.ts";
import {
  containerNotRunning,
  execAlreadyRun,
  execAlreadyRunning,
  execPaused,
  noExecCommand,
} from "../../lib/docker-messages.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { RuntimeProcess } from "../../oci/runtime-spec.ts";
import { generateExecProcess } from "../../runtime/spec/generate-spec.ts";
import { readUserFiles, resolveUser } from "../../runtime/spec/users.ts";
import type { ExitStatus, StdioPlan } from "../../runtime/shim-protocol.ts";
import type { Shim } from "../../runtime/shim.ts";
import { detachKeysOf } from "../stream/attach.ts";
import { type Context, publish } from "../context.ts";
import { etcFilesOf } from "../bundle/etc-files.ts";
import type { Attachment } from "../container-service.ts";
import { Exec } from "./exec-store.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { resolveNamespaces } from "../bundle/namespaces.ts";
import { processOf } from "../process-signal.ts";
import { planSpecInput } from "../bundle/spec-plan.ts";

const exitCodeUnknown = 126;
/** Of an exec that ended with its container. */
const exitCodeKilled = 137;

/** Size of a terminal; both or neither. */
export interface TerminalSize {
  readonly rows?: number;
  readonly columns?: number;
}

/**
 * Notes an exec, to be started by another call.
 *
 * @param options.name the container as the caller gave it
 * @throws conflict when the container does not run; invalid-argument without a command or for an
 * unknown user
 */
export function createExec(
  context: Context,
  container: LiveContainer,
  options: { readonly config: ExecConfig; readonly name: string },
): string {
  const { config, name } = options;
  if ((config.Cmd ?? []).length === 0) throw noExecCommand();
  if (container.record.phase === "paused") throw execPaused(name);
  if (!container.isRunning) throw containerNotRunning(container.id);
  checkKeys(config.DetachKeys);
  if (config.User !== "") {
    const request = { user: config.User, groupAdd: [] };
    resolveUser(request, readUserFiles([rootOf(container)]));
  }
  expectStart();
  const exec = new Exec(container, config);
  context.execs.add(exec);
  publishExec(context, exec, `exec_create: ${commandText(config)}`);
  return exec.id;
}

/** Docker: another word than attach has, seen in 28.5. */
function checkKeys(keys: string): void {
  try {
    detachKeysOf(keys);
  } catch (error) {
    if (!isKind(error, "invalid-argument")) throw error;
    throw new EngineError("invalid-argument", `Invalid escape keys (${keys}) provided`);
  }
}

/**
 * Starts an exec without anybody attached.
 *
 * @throws conflict when it was started before; invalid-argument when the command cannot be run
 */
export async function startExec(
  context: Context,
  exec: Exec,
  options: TerminalSize,
): Promise<void> {
  const shim = beginExec(context, exec);
  await run(context, exec, { shim, size: options, isAttached: false });
}

/**
 * Starts an exec with a client attached. When the command cannot be run, the client reads why, as
 * Docker's clients expect.
 *
 * @throws conflict when it was started before
 */
export async function attachExec(
  context: Context,
  exec: Exec,
  options: TerminalSize & { readonly hasTty: boolean; readonly detachKeys?: string },
): Promise<Attachment> {
  const { config } = exec;
  const keys = detachKeysOf(options.detachKeys ?? config.DetachKeys);
  const shim = beginExec(context, exec);
  const hasTty = config.Tty;
  let stream: Duplex | undefined;
  try {
    stream = await shim.attach({
      execId: exec.id,
      stdin: config.AttachStdin,
      stdout: config.AttachStdout,
      stderr: config.AttachStderr,
      ...(hasTty ? { detachKeys: keys } : {}),
    });
    await run(context, exec, { shim, size: options, isAttached: true });
    tellDetach(context, exec, stream);
    return { hasTty, stream };
  } catch (error) {
    stream?.destroy();
    if (exec.state.kind !== "ended") context.execs.end(exec, exitCodeUnknown);
    if (!isKind(error)) throw error;
    return { hasTty, stream: messageStream(`${error.message}\r\n`, hasTty) };
  }
}

function beginExec(context: Context, exec: Exec): Shim {
  const { container, state } = exec;
  if (state.kind === "ended") throw execAlreadyRun(exec.id);
  if (state.kind !== "created") throw execAlreadyRunning(exec.id);
  if (container.record.phase === "paused") throw execPaused(container.id);
  const { shim } = container;
  if (!container.isRunning || shim === undefined) throw containerNotRunning(container.id);
  exec.state = { kind: "starting" };
  publishExec(context, exec, `exec_start: ${commandText(exec.config)}`);
  return shim;
}

async function run(
  context: Context,
  exec: Exec,
  options: { readonly shim: Shim; readonly size: TerminalSize; readonly isAttached: boolean },
): Promise<void> {
  const { shim, size } = options;
  const stdio = stdioOf(exec.config, { ...size, isAttached: options.isAttached });
  try {
    const { pid } = await shim.exec({
      execId: exec.id,
      process: { ...processSpecOf(context, exec), ...consoleOf(stdio) },
      stdio,
    });
    // A short one may have ended before its start was told.
    if (exec.state.kind === "starting") exec.state = { kind: "running", pid };
    else if (exec.state.kind === "ended") exec.state = { ...exec.state, pid };
  } catch (error) {
    const code = isKind(error) ? error.details["exitCode"] : undefined;
    context.execs.end(exec, typeof code === "number" ? code : exitCodeUnknown);
    throw error;
  }
}

function stdioOf(
  config: ExecConfig,
  options: TerminalSize & { readonly isAttached: boolean },
): StdioPlan {
  const [configRows, configColumns] = config.ConsoleSize ?? [0, 0];
  const rows = options.rows ?? configRows;
  const columns = options.columns ?? configColumns;
  return {
    hasTty: config.Tty,
    openStdin: config.AttachStdin && options.isAttached,
    stdinOnce: true,
    ...(rows > 0 && columns > 0 ? { rows, columns } : {}),
  };
}

/** The runtime sets the size as it starts the program: crun beside it, runc before it. */
function consoleOf({ hasTty, rows, columns }: StdioPlan): Pick<RuntimeProcess, "consoleSize"> {
  if (!hasTty || rows === undefined || columns === undefined) return {};
  return { consoleSize: { height: rows, width: columns } };
}

function processSpecOf(context: Context, exec: Exec): ReturnType<typeof generateExecProcess> {
  const { container, config } = exec;
  const input = container.specInput ?? recoverSpecInput(context, container);
  container.specInput = input;
  return generateExecProcess(
    {
      args: config.Cmd ?? [],
      env: config.Env ?? [],
      workingDir: config.WorkingDir,
      user: config.User,
      hasTty: config.Tty,
      isPrivileged: config.Privileged,
    },
    // Users are those that the container sees now, whatever the image said.
    { ...input, layerDirs: [rootOf(container)] },
    context.host,
  );
}

/** What the container was started from, after a restart of the daemon; without its mounts. */
function recoverSpecInput(
  context: Context,
  container: LiveContainer,
): NonNullable<LiveContainer["specInput"]> {
  const { record } = container;
  const withoutOthers = {
    ...record,
    mounts: [],
    hostConfig: { ...record.hostConfig, NetworkMode: "none", PidMode: "", IpcMode: "private" },
  };
  return planSpecInput(context, withoutOthers, {
    namespaces: resolveNamespaces(context, withoutOthers),
    sources: [],
    etcFiles: etcFilesOf(context, record.id),
    rootfs: context.snapshots.mounts(record.id),
    shmPath: undefined,
  });
}

function rootOf(container: LiveContainer): string {
  return `/proc/${processOf(container).pid}/root`;
}

/** Notes the end of an exec, as its shim tells it. */
export function execEnded(
  context: Context,
  container: LiveContainer,
  end: { readonly execId: string; readonly status: ExitStatus },
): void {
  const exec = context.execs.find(end.execId);
  if (exec === undefined || exec.container !== container || exec.state.kind === "ended") return;
  const { exitCode } = end.status;
  context.execs.end(exec, exitCode);
  publishExec(context, exec, "exec_die", { exitCode: String(exitCode) });
}

/** Notes the end of all execs that no shim will tell of any more. */
export function execsLost(context: Context, container: LiveContainer): void {
  for (const execId of [...container.execIds]) {
    const exec = context.execs.find(execId);
    if (exec === undefined) continue;
    if (exec.state.kind === "created") context.execs.end(exec, exitCodeUnknown);
    else {
      const exitedAtNs = String(context.now());
      execEnded(context, container, {
        execId,
        status: { exitCode: exitCodeKilled, exitedAtNs, isOomKilled: false },
      });
    }
  }
}

/** An exec as the API tells it. Who has read its output to the end is told how it ended. */
export async function inspectExec(exec: Exec): Promise<ExecInspectResponse> {
  await exec.settling;
  const { config, state, container } = exec;
  const [entrypoint = "", ...rest] = config.Cmd ?? [];
  return {
    ID: exec.id,
    // Docker: it is from when it was asked to start, and a client may look before its process is there
    Running: state.kind === "starting" || state.kind === "running",
    ExitCode: state.kind === "ended" ? state.exitCode : null,
    ProcessConfig: {
      tty: config.Tty,
      entrypoint,
      arguments: rest,
      privileged: config.Privileged,
      ...(config.User === "" ? {} : { user: config.User }),
    },
    OpenStdin: config.AttachStdin,
    OpenStderr: config.AttachStderr,
    OpenStdout: config.AttachStdout,
    CanRemove: false,
    ContainerID: container.id,
    DetachKeys: config.DetachKeys,
    Pid: state.kind === "running" || state.kind === "ended" ? state.pid : 0,
  };
}

function commandText(config: ExecConfig): string {
  const [program = "", ...rest] = config.Cmd ?? [];
  // Docker: the space is there without arguments too, seen in 28.5
  return `${program} ${rest.join(" ")}`;
}

function publishExec(
  context: Context,
  exec: Exec,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): void {
  publish(context, exec.container, { action, attributes: { execID: exec.id, ...attributes } });
}

/** The shim tells the end before it ends the output, but on another connection. */
const settleMaxMs = 200;

function tellDetach(context: Context, exec: Exec, stream: Duplex): void {
  stream.once("end", () => {
    exec.settling = exec.reaches(["ended"], { waitMaxMs: settleMaxMs }).then(() => {
      // Whoever still runs was detached from.
      if (exec.state.kind === "running") publishExec(context, exec, "exec_detach");
    });
  });
}

/** A stream of one message, framed as stdout unless it goes to a terminal. */
function messageStream(message: string, hasTty: boolean): Duplex {
  const text = Buffer.from(message);
  const header = Buffer.alloc(8);
  header[0] = 1;
  header.writeUInt32BE(text.length, 4);
  const stream = new Duplex({
    read() {
      this.push(hasTty ? text : Buffer.concat([header, text]));
      this.push(null);
    },
    write(_chunk, _encoding, callback) {
      callback();
    },
  });
  return stream;
}

/** Docker: a resize waits so long for a process that is to be started, seen in 28.5. */
const startMaxMs = 10_000;

/**
 * Changes the size of an exec's terminal, once it has a process.
 *
 * @throws conflict when it runs no more; deadline-exceeded when it is not started
 */
export async function resizeExec(
  exec: Exec,
  size: { readonly rows: number; readonly columns: number },
): Promise<void> {
  if (!(await exec.reaches(["running", "ended"], { waitMaxMs: startMaxMs }))) {
    throw new EngineError("deadline-exceeded", "timeout waiting for exec session ready");
  }
  const { shim } = exec.container;
  if (exec.state.kind === "ended" || shim === undefined) {
    throw new EngineError("conflict", `exec ${exec.id} is not running`);
  }
  await shim.resize({ execId: exec.id, ...size });
}
