import { type Command, exactly, type Invocation } from "../command.ts";
import { currentContextName } from "../environment.ts";
import { listFormatFlag, switchFlag } from "../flag/flags.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { ellipsis } from "../format/table.ts";
import { type Context, listContexts } from "./store.ts";

const descriptionMaxWidth = 41;

/** Lists contexts. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [listFormatFlag, switchFlag("quiet", "Only show context names", { short: "q" })],
  run,
};

async function run({ flags, output, environment }: Invocation): Promise<number> {
  const current = await currentContextName(environment);
  const listing: Listing<Context> = {
    typeName: "clientContextContext",
    quiet: "PlainName",
    columns: ["Name", "Description", "DockerEndpoint", "Error"],
    jsonFields: ["Current", "Description", "DockerEndpoint", "Error", "Name"],
    headers: {
      Name: "NAME",
      Description: "DESCRIPTION",
      DockerEndpoint: "DOCKER ENDPOINT",
      Error: "ERROR",
    },
    fields: {
      Name: (context) =>
        flags.text("format") === "" && context.name === current
          ? `${context.name} *`
          : context.name,
      PlainName: (context) => context.name,
      Current: (context) => context.name === current,
      Description: (context) => ellipsis(context.description, descriptionMaxWidth + 1),
      DockerEndpoint: (context) => context.host,
      Error: () => "",
    },
  };
  const contexts = listContexts(environment);
  output.out(
    await renderList(contexts, listing, {
      format: flags.text("format"),
      isQuiet: flags.isOn("quiet"),
      output,
    }),
  );
  if (environment.variables["DOCKER_HOST"] && !flags.isOn("quiet")) {
    output.err(
      "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, " +
        "either set the global --context flag, or unset DOCKER_HOST environment variable.\n",
    );
  }
  return 0;
}
