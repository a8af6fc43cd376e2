import { actOnContainer, inspectContainer } from "../../client/containers.ts";
import { EngineError } from "../../lib/errors.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { forEachOperand } from "../errors.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { joinContainer } from "../session/join.ts";

/** Starts containers. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  operands: atLeast(1),
  flags: [
    switchFlag("attach", "Attach STDOUT/STDERR and forward signals", { short: "a" }),
    textFlag("detach-keys", "Override the key sequence for detaching a container"),
    switchFlag("interactive", "Attach container's STDIN", { short: "i" }),
    switchFlag("sig-proxy", "Proxy received signals to the process", {
      isHidden: true,
      fallback: "true",
    }),
  ],
  completes: "containers",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine } = invocation;
  const transport = await engine();
  if (flags.isOn("attach") || flags.isOn("interactive")) return startAttached(invocation);
  let hasFailed = false;
  const code = await forEachOperand(operands, {
    output,
    act: async (container) => {
      try {
        await actOnContainer(transport, container, { action: "start" });
      } catch (error) {
        hasFailed = true;
        throw error;
      }
      output.out(`${container}\n`);
    },
  });
  if (hasFailed) output.err(`Error: failed to start containers: ${operands.join(", ")}\n`);
  return code;
}

async function startAttached({
  operands,
  flags,
  engine,
  environment,
}: Invocation): Promise<number> {
  const [name = "", ...more] = operands;
  if (more.length > 0) {
    throw new EngineError(
      "invalid-argument",
      "you cannot start and attach multiple containers at once",
    );
  }
  const transport = await engine();
  const container = await inspectContainer(transport, name);
  return await joinContainer(transport, container, {
    flags,
    environment,
    wantsInput: flags.isOn("interactive"),
    condition: container.HostConfig.AutoRemove ? "removed" : "next-exit",
    starts: true,
  });
}
