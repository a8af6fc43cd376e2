import { EngineError } from "../../lib/errors.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { currentContextName } from "../environment.ts";
import { listFlag, textFlag } from "../flag/flags.ts";
import { parseEndpointFlag } from "./endpoint-flag.ts";
import { checkContextName, getContext, hasContext, putContext } from "./store.ts";

/** Creates a context. */
export const command: Command = {
  usage: "[OPTIONS] CONTEXT",
  operands: exactly(1),
  details:
    "Docker endpoint config: host, from, ca, cert, key, skip-tls-verify\n\nExample:\n\n" +
    '$ tug context create my-context --docker "host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file"',
  flags: [
    textFlag("description", "Description of the context"),
    listFlag("docker", "set the docker endpoint", {
      placeholder: "stringToString",
      fallback: "[]",
    }),
    textFlag("from", "create context from a named context"),
  ],
  run,
};

async function run({ operands, flags, output, environment }: Invocation): Promise<number> {
  const [name = ""] = operands;
  checkContextName(name);
  if (hasContext(environment, name)) {
    throw new EngineError("already-exists", `context ${JSON.stringify(name)} already exists`);
  }
  const from = flags.text("from");
  const isNamed = from !== "" || !flags.isGiven("docker");
  const base = isNamed
    ? getContext(environment, from || (await currentContextName(environment)))
    : undefined;
  const endpoint = parseEndpointFlag(environment, flags.list("docker"), base);
  putContext(
    environment,
    {
      name,
      description:
        flags.isGiven("description") || from === ""
          ? flags.text("description")
          : (base?.description ?? ""),
      host: endpoint.host,
      skipsTlsVerify: endpoint.skipsTlsVerify,
      metadata: {},
    },
    endpoint.tls,
  );
  output.out(`${name}\n`);
  output.err(`Successfully created context ${JSON.stringify(name)}\n`);
  return 0;
}
