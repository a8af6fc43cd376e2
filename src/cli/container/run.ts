import type { ContainerCreateRequest } from "../../api/container.ts";
import { actOnContainer } from "../../client/containers.ts";
import type { Transport } from "../../client/transport.ts";
import { EngineError } from "../../lib/errors.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { detachKeysOf } from "../detach-keys.ts";
import { refusalCode, startFailureCode, withExitCode } from "../errors.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { isInputTerminal } from "../standard-input.ts";
import { containerFlags } from "../options/container-flags.ts";
import { terminalSize } from "../session/terminal.ts";
import { createFrom, removeCidFile, requestOf } from "./create-container.ts";

/** Creates a container, starts it, and stays with it unless told otherwise. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  operands: atLeast(1),
  stopsAtOperand: true,
  flags: [
    ...containerFlags,
    switchFlag("detach", "Run container in background and print container ID", { short: "d" }),
    textFlag("detach-keys", "Override the key sequence for detaching a container"),
    textFlag("pull", 'Pull image before running ("always", "missing", "never")', {
      fallback: "missing",
    }),
    switchFlag("sig-proxy", "Proxy received signals to the process", { fallback: "true" }),
  ],
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { flags } = invocation;
  const isDetached = flags.isOn("detach");
  if (isDetached && flags.list("attach").length > 0) {
    throw new EngineError(
      "invalid-argument",
      "conflicting options: cannot specify both --attach and --detach",
    );
  }
  const { request, transport, container } = await create(invocation, isDetached);
  if (isDetached) return runDetached(transport, container, invocation);
  const {
    AttachStdin: stdin = false,
    AttachStdout: stdout = false,
    AttachStderr: stderr = false,
  } = request;
  const printsId = !stdout && !stderr;
  const { runForeground } = await import("../session/foreground.ts");
  const exitCode = await runForeground(transport, container, {
    stdin,
    stdout,
    stderr,
    isTty: request.Tty === true,
    detachKeys: await detachKeysOf(invocation),
    proxiesSignals: flags.isNotOff("sig-proxy"),
    condition: flags.isOn("rm") ? "removed" : "next-exit",
    starts: true,
    onStarted: () => {
      if (printsId) invocation.output.out(`${container}\n`);
    },
  }).catch((error: unknown) => {
    removeIdOnFailure(error, invocation);
    throw error;
  });
  return exitCode;
}

interface Created {
  readonly request: ContainerCreateRequest;
  readonly transport: Transport;
  readonly container: string;
}

async function create(invocation: Invocation, isDetached: boolean): Promise<Created> {
  try {
    const asked = requestOf(invocation);
    const request = isDetached ? detachedRequest(asked) : asked;
    if (!isDetached && request.AttachStdin === true && request.Tty === true && !isInputTerminal()) {
      throw new EngineError("invalid-argument", "the input device is not a TTY", {
        details: { exitCode: 1 },
      });
    }
    const transport = await invocation.engine();
    const container = await createFrom(transport, withConsoleSize(request), invocation);
    return { request, transport, container };
  } catch (error) {
    if (error instanceof EngineError && typeof error.details["exitCode"] === "number") throw error;
    if (error instanceof EngineError && error.details["isUsage"] === true) throw error;
    throw withExitCode(error, refusalCode);
  }
}

function detachedRequest(request: ContainerCreateRequest): ContainerCreateRequest {
  return {
    ...request,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    StdinOnce: false,
  };
}

/** The right size from the start spares a terminal its first redraw. */
function withConsoleSize(request: ContainerCreateRequest): ContainerCreateRequest {
  const size = request.Tty === true ? terminalSize() : undefined;
  if (size === undefined) return request;
  return {
    ...request,
    HostConfig: { ...request.HostConfig, ConsoleSize: [size.rows, size.columns] },
  };
}

async function runDetached(
  transport: Transport,
  container: string,
  invocation: Invocation,
): Promise<number> {
  try {
    await actOnContainer(transport, container, { action: "start" });
  } catch (error) {
    removeIdOnFailure(error, invocation);
    throw withExitCode(error, startFailureCode(error));
  }
  invocation.output.out(`${container}\n`);
  return 0;
}

/** With `--rm` the engine has removed what did not start. */
function removeIdOnFailure(error: unknown, invocation: Invocation): void {
  if (error instanceof EngineError && invocation.flags.isOn("rm")) removeCidFile(invocation);
}
