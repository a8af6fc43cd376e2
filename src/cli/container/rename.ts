import { actOnContainer } from "../../client/containers.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { EngineError } from "../../lib/errors.ts";

/** Renames a container. */
export const command: Command = {
  usage: "CONTAINER NEW_NAME",
  operands: exactly(2),
  flags: [],
  completes: "containers",
  run,
};

async function run({ operands, engine }: Invocation): Promise<number> {
  const [container = "", name = ""] = operands.map((operand) => operand.trim());
  if (container === "" || name === "") {
    throw new EngineError("invalid-argument", "Error: Neither old nor new names may be empty");
  }
  await actOnContainer(await engine(), container, { action: "rename", query: { name } });
  return 0;
}
