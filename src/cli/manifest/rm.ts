import { atLeast, type Command, type Invocation } from "../command.ts";
import { getList, listName, removeList } from "./local-lists.ts";

/** Forgets lists that were being made: all of them, or none when one is not there. */
export const command: Command = {
  usage: "MANIFEST_LIST [MANIFEST_LIST...]",
  operands: atLeast(1),
  flags: [],
  completes: "none",
  run,
};

async function run({ operands, environment }: Invocation): Promise<number> {
  const names = operands.map(listName);
  for (const name of names) getList(environment, name);
  for (const name of names) removeList(environment, name);
  return await Promise.resolve(0);
}
