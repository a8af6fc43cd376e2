import { type Command, exactly, type Invocation } from "../command.ts";
import { currentContextName } from "../environment.ts";

/** Names the context in force. */
export const command: Command = { usage: "", operands: exactly(0), flags: [], run };

async function run({ output, environment }: Invocation): Promise<number> {
  output.out(`${await currentContextName(environment)}\n`);
  return 0;
}
