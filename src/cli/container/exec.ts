import type { ExecCreateRequest } from "../../api/exec.ts";
import {
  createExec,
  inspectExec,
  resizeExec,
  startExec,
  startExecDetached,
} from "../../client/execs.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError } from "../../lib/errors.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { detachKeysOf } from "../detach-keys.ts";
import { failureCode, notExecutableCode, notFoundCode, startFailureCode } from "../errors.ts";
import { listFlag, switchFlag, textFlag } from "../flag/flags.ts";
import { isInputTerminal } from "../standard-input.ts";
import { parseEnv, readEnvFile } from "../options/env.ts";
import { followSize } from "../session/resize.ts";
import { openSession } from "../session/session.ts";
import { terminalSize } from "../session/terminal.ts";

/** Runs a command in a container that runs. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
  operands: atLeast(2),
  stopsAtOperand: true,
  flags: [
    switchFlag("detach", "Detached mode: run command in the background", { short: "d" }),
    textFlag("detach-keys", "Override the key sequence for detaching a container"),
    listFlag("env", "Set environment variables", { short: "e" }),
    listFlag("env-file", "Read in a file of environment variables"),
    switchFlag("interactive", "Keep STDIN open even if not attached", { short: "i" }),
    switchFlag("privileged", "Give extended privileges to the command"),
    switchFlag("tty", "Allocate a pseudo-TTY", { short: "t" }),
    textFlag("user", 'Username or UID (format: "<name|uid>[:<group|gid>]")', { short: "u" }),
    textFlag("workdir", "Working directory inside the container", { short: "w" }),
  ],
  completes: "running",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags } = invocation;
  const [container = ""] = operands;
  const request = await requestOf(invocation);
  const isDetached = flags.isOn("detach");
  if (!isDetached && request.AttachStdin === true && request.Tty === true && !isInputTerminal()) {
    throw new EngineError("invalid-argument", "the input device is not a TTY");
  }
  const transport = await invocation.engine();
  const { Id: execId } = await createExec(transport, container, request);
  const isTty = request.Tty === true;
  if (isDetached) {
    await startExecDetached(transport, execId, { Detach: true, Tty: isTty });
    return 0;
  }
  return runAttached(transport, execId, request);
}

async function runAttached(
  transport: Transport,
  execId: string,
  request: ExecCreateRequest,
): Promise<number> {
  const isTty = request.Tty === true;
  const size = request.ConsoleSize ?? null;
  const hijacked = await startExec(transport, execId, {
    Detach: false,
    Tty: isTty,
    ...(size === null ? {} : { ConsoleSize: size }),
  }).catch((error: unknown) => {
    const code = startFailureCode(error);
    const isCommand = code === notFoundCode || code === notExecutableCode;
    throw withCode(error, isCommand ? code : failureCode);
  });
  await using session = openSession(hijacked, {
    hasInput: request.AttachStdin === true,
    hasOutput: true,
    isTty,
    detachKeys: request.DetachKeys ?? "",
  });
  const stop = isTty ? followSize((next) => resizeExec(transport, execId, next)) : undefined;
  try {
    if ((await session.ended) === "detached") return 0;
  } finally {
    stop?.();
  }
  const { ExitCode: exitCode } = await inspectExec(transport, execId);
  return exitCode ?? 0;
}

async function requestOf(invocation: Invocation): Promise<ExecCreateRequest> {
  const { operands, flags, environment } = invocation;
  const [, ...argv] = operands;
  const { variables } = environment;
  const isDetached = flags.isOn("detach");
  const files = flags.list("env-file").flatMap((path) => readEnvFile(path, variables));
  const env = [...files, ...flags.readAll("env", (text) => parseEnv(text, variables))];
  const isTty = flags.isOn("tty");
  const size = isTty && !isDetached ? terminalSize() : undefined;
  return {
    User: flags.text("user"),
    Privileged: flags.isOn("privileged"),
    Tty: isTty,
    ...(size === undefined ? {} : { ConsoleSize: [size.rows, size.columns] as const }),
    AttachStdin: flags.isOn("interactive") && !isDetached,
    AttachStderr: !isDetached,
    AttachStdout: !isDetached,
    DetachKeys: await detachKeysOf(invocation),
    Env: env.length === 0 ? null : env,
    WorkingDir: flags.text("workdir"),
    Cmd: argv,
  };
}

function withCode(error: unknown, exitCode: number): unknown {
  if (!(error instanceof EngineError)) return error;
  return new EngineError(error.kind, error.message, {
    cause: error,
    details: { ...error.details, exitCode },
  });
}
