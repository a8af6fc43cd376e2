import { between, type Command, type Invocation } from "../command.ts";
import { eraseCredentials, serverOf, warnOfVariable } from "./credentials.ts";

/** Forgets credentials for a registry. */
export const command: Command = {
  usage: "[SERVER]",
  operands: between(0, 1),
  flags: [],
  details: "If no server is specified, the default is Docker Hub.",
  completes: "none",
  run,
};

async function run({ operands, output, environment }: Invocation): Promise<number> {
  const host = (operands[0] ?? "docker.io").replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  const server = serverOf(host);
  // Docker says so whether there were any or not.
  output.out(`Removing login credentials for ${server}\n`);
  await eraseCredentials(environment, server);
  warnOfVariable(environment, output);
  return 0;
}
