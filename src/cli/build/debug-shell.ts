/** A shell in the file system of a step that failed. */
import type { ContainerCreateRequest } from "../../api/container.ts";
import { createContainer } from "../../client/containers.ts";
import type { Transport } from "../../client/transport.ts";
import { isKind, messageOf } from "../../lib/errors.ts";
import type { Invocation } from "../command.ts";
import { runForeground } from "../session/foreground.ts";
import { terminalSize } from "../session/terminal.ts";
import type { BuildTrace } from "./build-trace.ts";

/** ID under which the engine tells how to look into a step. */
const debugId = "tug.debug";

/** As the engine offers it. */
interface Offer {
  readonly kind: "shell" | "image";
  readonly image: string;
  readonly label: string;
  readonly shell: readonly string[];
  readonly network: "default" | "none" | "host";
  readonly isPrivileged: boolean;
  readonly extraHosts: readonly string[];
  readonly env: readonly string[];
  readonly secretVariables: readonly string[];
  readonly mounts: readonly {
    readonly type: "bind" | "tmpfs" | "volume";
    readonly source?: string;
    readonly target: string;
    readonly isReadOnly: boolean;
  }[];
}

/**
 * Looks into the step that failed, when the engine has kept one: with a shell on a terminal, else by
 * telling the command. What goes wrong is told, and changes nothing of the build's own failure.
 */
export async function debugFailure(
  { output }: Pick<Invocation, "output">,
  failed: { readonly trace: Pick<BuildTrace, "steps">; readonly transport: Transport },
): Promise<void> {
  const offer = findOffer(failed.trace);
  const { secretVariables = [] } = offer ?? {};
  if (offer === undefined) {
    output.err("\ndebug: no command has failed: there is no file system to look into\n");
    return;
  }
  if (offer.kind === "image") {
    const { image, shell } = offer;
    output.err(
      "\ndebug: the failed step is kept for an hour, without its mounts. Look into it with\n" +
        `    tug run --rm -it ${image} ${shell.join(" ")}\n`,
    );
    return;
  }
  output.err(`\ndebug: ${offer.shell.join(" ")} in the failed step; \`exit\` ends it\n`);
  if (secretVariables.length > 0) {
    output.err(`debug: variables with secrets are not set: ${secretVariables.join(", ")}\n`);
  }
  try {
    await openShell(failed.transport, offer);
  } catch (error) {
    if (!isKind(error)) throw error;
    output.err(`debug: ${messageOf(error)}\n`);
  }
}

async function openShell(transport: Transport, offer: Offer): Promise<void> {
  const request = requestOf(offer);
  const { Id } = await createContainer(transport, { request });
  await runForeground(transport, Id, {
    stdin: true,
    stdout: true,
    stderr: true,
    isTty: true,
    detachKeys: "",
    proxiesSignals: false,
    condition: "removed",
    starts: true,
  });
}

function requestOf(offer: Offer): ContainerCreateRequest {
  const { image, shell, label, network, mounts, env, extraHosts, isPrivileged } = offer;
  const [name = "", value = ""] = label.split("=");
  const size = terminalSize();
  return {
    Image: image,
    Entrypoint: [],
    Cmd: [...shell],
    Env: [...env],
    Labels: { [name]: value },
    Tty: true,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: {
      AutoRemove: true,
      Privileged: isPrivileged,
      NetworkMode: network,
      ExtraHosts: [...extraHosts],
      ...(size === undefined ? {} : { ConsoleSize: [size.rows, size.columns] }),
      Mounts: mounts.map(({ type, source, target, isReadOnly }) => ({
        Type: type,
        ...(source === undefined ? {} : { Source: source }),
        Target: target,
        ReadOnly: isReadOnly,
      })),
    },
  };
}

function findOffer({ steps }: Pick<BuildTrace, "steps">): Offer | undefined {
  for (const { notes } of steps) {
    const text = notes.get(debugId);
    if (text !== undefined) return JSON.parse(text) as Offer;
  }
  return undefined;
}
