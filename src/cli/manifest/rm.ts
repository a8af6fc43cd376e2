import { EngineError } from "../../lib/errors.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { findList, listName, removeList } from "./local-lists.ts";

/** Forgets lists that were being made; those that are not there are named in the end. */
export const command: Command = {
  usage: "MANIFEST_LIST [MANIFEST_LIST...]",
  operands: atLeast(1),
  flags: [],
  completes: "none",
  run,
};

async function run({ operands, environment }: Invocation): Promise<number> {
  const missing: string[] = [];
  for (const name of operands.map(listName)) {
    if (findList(environment, name) === undefined) missing.push(`No such manifest: ${name}`);
    else removeList(environment, name);
  }
  if (missing.length > 0) throw new EngineError("not-found", missing.join("\n"));
  return await Promise.resolve(0);
}
