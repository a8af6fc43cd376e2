import { type Command, exactly, type Invocation } from "../command.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { parseEndpointFlag } from "./endpoint-flag.ts";
import { checkContextName, getContext, putContext } from "./store.ts";

/** Changes a context. */
export const command: Command = {
  usage: "[OPTIONS] CONTEXT",
  operands: exactly(1),
  completes: "contexts",
  flags: [
    textFlag("description", "Description of the context"),
    listFlag("docker", "set the docker endpoint", {
      placeholder: "stringToString",
      fallback: "[]",
    }),
  ],
  run,
};

function run({ operands, flags, output, environment }: Invocation): Promise<number> {
  const [name = ""] = operands;
  checkContextName(name);
  const context = getContext(environment, name);
  const endpoint = parseEndpointFlag(environment, flags.list("docker"), context);
  putContext(
    environment,
    {
      name,
      description: flags.isGiven("description") ? flags.text("description") : context.description,
      host: endpoint.host,
      skipsTlsVerify: endpoint.skipsTlsVerify,
      metadata: context.metadata,
    },
    endpoint.tls,
  );
  output.out(`${name}\n`);
  output.err(`Successfully updated context ${JSON.stringify(name)}\n`);
  return Promise.resolve(0);
}
