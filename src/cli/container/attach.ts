import { inspectContainer } from "../../client/containers.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { switchFlag, textFlag } from "../flag/flags.ts";
import { joinContainer } from "../session/join.ts";

/** Joins this process's streams to a container that runs. */
export const command: Command = {
  usage: "[OPTIONS] CONTAINER",
  operands: exactly(1),
  flags: [
    textFlag("detach-keys", "Override the key sequence for detaching a container"),
    switchFlag("no-stdin", "Do not attach STDIN"),
    switchFlag("sig-proxy", "Proxy all received signals to the process", { fallback: "true" }),
  ],
  completes: "running",
  run,
};

async function run({ operands, flags, engine, environment }: Invocation): Promise<number> {
  const [name = ""] = operands;
  const transport = await engine();
  const container = await inspectContainer(transport, name);
  const { State: state } = container;
  if (!state.Running) throw refusal("stopped", "start it first");
  if (state.Paused) throw refusal("paused", "unpause it first");
  if (state.Restarting) throw refusal("restarting", "wait until it is running");
  return await joinContainer(transport, container, {
    flags,
    environment,
    wantsInput: !flags.isOn("no-stdin"),
    condition: "not-running",
    starts: false,
  });
}

function refusal(state: string, advice: string): EngineError {
  return new EngineError("conflict", `You cannot attach to a ${state} container, ${advice}`);
}
