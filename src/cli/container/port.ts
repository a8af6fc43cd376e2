import { inspectContainer } from "../../client/containers.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { EngineError } from "../../lib/errors.ts";

/** Lists the published ports of a container. */
export const command: Command = {
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
  operands: between(1, 2),
  flags: [],
  completes: "running",
  run,
};

async function run({ operands, output, engine }: Invocation): Promise<number> {
  const [container = "", wanted] = operands;
  const { NetworkSettings: settings } = await inspectContainer(await engine(), container);
  const ports = Object.entries(settings.Ports ?? {});
  if (wanted !== undefined) {
    const [port = "", protocol = "tcp"] = wanted.split("/");
    if (!/^\d{1,5}$/.test(port)) {
      throw new EngineError("invalid-argument", `Error: invalid port (${wanted})`);
    }
    const bindings = ports.find(([name]) => name === `${Number(port)}/${protocol}`)?.[1];
    if (bindings === undefined || bindings === null || bindings.length === 0) {
      throw new EngineError("not-found", `no public port '${wanted}' published for ${container}`);
    }
    output.out(bindings.map((binding) => `${address(binding)}\n`).join(""));
    return 0;
  }
  const lines = ports.flatMap(([name, bindings]) =>
    (bindings ?? []).map((binding) => ({ name, line: `${name} -> ${address(binding)}\n` })),
  );
  lines.sort(
    (left, right) =>
      Number.parseInt(left.name, 10) - Number.parseInt(right.name, 10) ||
      (left.name < right.name ? -1 : Number(left.name > right.name)),
  );
  output.out(lines.map((one) => one.line).join(""));
  return 0;
}

function address(binding: { readonly HostIp: string; readonly HostPort: string }): string {
  const { HostIp: ip, HostPort: port } = binding;
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
