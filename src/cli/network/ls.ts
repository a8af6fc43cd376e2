import type { Network } from "../../api/network.ts";
import { listNetworks } from "../../client/networks.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { labelPairs } from "../container/listing.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, listFormatFlag, switchFlag } from "../flag/flags.ts";
import { shortId } from "../format/human.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { compareNaturally } from "../format/natural.ts";

/** Lists networks. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [
    { ...filterFlag, help: 'Provide filter values (e.g. "driver=bridge")' },
    listFormatFlag,
    switchFlag("no-trunc", "Do not truncate the output"),
    switchFlag("quiet", "Only display network IDs", { short: "q" }),
  ],
  run,
};

async function run({ flags, output, engine }: Invocation): Promise<number> {
  const networks = await listNetworks(await engine(), parseFilters(flags.list("filter")));
  const sorted = [...networks].sort((left, right) => compareNaturally(left.Name, right.Name));
  output.out(
    await renderList(sorted, networkListing(!flags.isOn("no-trunc")), {
      format: flags.text("format"),
      isQuiet: flags.isOn("quiet"),
      output,
    }),
  );
  return 0;
}

function networkListing(isTruncated: boolean): Listing<Network> {
  return {
    typeName: "networkContext",
    quiet: "ID",
    columns: ["ID", "Name", "Driver", "Scope"],
    headers: {
      ID: "NETWORK ID",
      Name: "NAME",
      Driver: "DRIVER",
      Scope: "SCOPE",
      IPv4: "IPV4",
      IPv6: "IPV6",
      Internal: "INTERNAL",
      Labels: "LABELS",
      CreatedAt: "CREATED AT",
    },
    jsonFields: [
      ...["CreatedAt", "Driver", "ID", "IPv4", "IPv6", "Internal", "Labels", "Name", "Scope"],
    ],
    fields: {
      ID: (network) => (isTruncated ? shortId(network.Id) : network.Id),
      Name: (network) => network.Name,
      Driver: (network) => network.Driver,
      Scope: (network) => network.Scope,
      IPv4: (network) => String(network.EnableIPv4),
      IPv6: (network) => String(network.EnableIPv6),
      Internal: (network) => String(network.Internal),
      Labels: (network) => labelPairs(network.Labels),
      Label: (network) => (name: string) => network.Labels?.[name] ?? "",
      CreatedAt: (network) => createdAt(network.Created),
    },
  };
}

/** `2025-08-01T12:00:00.5Z` as Go prints it: `2025-08-01 12:00:00.5 +0000 UTC`. */
function createdAt(text: string): string {
  const match = /^(\d{4}-\d\d-\d\d)T([\d:.]+)(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) return text;
  const [, day = "", time = "", zone = ""] = match;
  return zone === "Z"
    ? `${day} ${time} +0000 UTC`
    : `${day} ${time} ${zone.replace(":", "")} ${zone.replace(":", "")}`;
}
