import { pathSegment, type Transport } from "../../client/transport.ts";
import { atLeast, type Command, type Invocation } from "../command.ts";
import { inspectFormatFlag, switchFlag, textFlag } from "../flag/flags.ts";
import { inspectAll } from "../inspect.ts";
import { EngineError, isKind } from "../../lib/errors.ts";

/** Shows all that the engine knows of things of any type. */
export const command: Command = {
  usage: "[OPTIONS] NAME|ID [NAME|ID...]",
  operands: atLeast(1),
  flags: [
    inspectFormatFlag,
    switchFlag("size", "Display total file sizes if the type is container", { short: "s" }),
    textFlag("type", "Only inspect objects of the given type"),
  ],
  completes: "containers",
  run,
};

/** Where a thing of each type is, in the order they are tried. */
const paths: Readonly<Record<string, (name: string) => string>> = {
  container: (name) => `/containers/${name}/json`,
  image: (name) => `/images/${name}/json`,
  network: (name) => `/networks/${name}`,
  volume: (name) => `/volumes/${name}`,
  service: (name) => `/services/${name}`,
  task: (name) => `/tasks/${name}`,
  node: (name) => `/nodes/${name}`,
  plugin: (name) => `/plugins/${name}/json`,
  secret: (name) => `/secrets/${name}`,
  config: (name) => `/configs/${name}`,
};
const guessed: readonly string[] = ["container", "image", "network", "volume"];

async function run(invocation: Invocation): Promise<number> {
  const type = invocation.flags.text("type");
  if (invocation.flags.isGiven("type") && paths[type] === undefined) {
    const shown =
      type === ""
        ? 'type is empty: must be one of "config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"'
        : `unknown type: ${JSON.stringify(type)}: must be one of "config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"`;
    throw new EngineError("invalid-argument", shown);
  }
  const transport = await invocation.engine();
  const size = invocation.flags.isOn("size");
  return inspectAll(invocation, (name) => find(transport, { name, size, type }));
}

async function find(
  transport: Transport,
  wanted: { readonly name: string; readonly type: string; readonly size: boolean },
): Promise<string> {
  const { name, type, size } = wanted;
  for (const kind of type === "" ? guessed : [type]) {
    try {
      const query = kind === "container" ? { size } : {};
      return await transport.text(`GET ${paths[kind]?.(pathSegment(name)) ?? ""}`, { query });
    } catch (error) {
      // A name that cannot be one of this kind is not one; what is not there yet holds none.
      const isAbsent = isKind(error, "not-found", "not-implemented", "invalid-argument");
      if (type !== "" || !isAbsent || error.details["isDaemon"] !== true) throw error;
    }
  }
  throw new EngineError("not-found", `Error: No such object: ${name}`);
}
