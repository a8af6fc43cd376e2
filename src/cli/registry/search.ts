import { searchImages } from "../../client/images.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, listFormatFlag, numberFlag, switchFlag } from "../flag/flags.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { registryAuthHeader, serverOf } from "./credentials.ts";
import type { ImageSearchItem } from "../../api/image.ts";

/** Descriptions in tables are cut to this length. */
const descriptionMaxLength = 45;

/** Searches a registry. */
export const command: Command = {
  usage: "[OPTIONS] TERM",
  operands: exactly(1),
  flags: [
    filterFlag,
    listFormatFlag,
    numberFlag("limit", "Max number of search results"),
    switchFlag("no-trunc", "Don't truncate output"),
  ],
  completes: "none",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine, environment } = invocation;
  const [term = ""] = operands;
  const found = await searchImages(await engine(), {
    term,
    filters: parseFilters(flags.list("filter")),
    headers: await registryAuthHeader(environment, serverOf(hostOfTerm(term))),
    // Docker: a limit that is none is the registry's to choose.
    ...(flags.number("limit") > 0 ? { limit: flags.number("limit") } : {}),
  });
  const format = flags.text("format");
  const isJson = format === "json" || format === "{{json .}}";
  const listing = searchListing({ isTruncated: !flags.isOn("no-trunc"), isJson });
  const byStars = [...found].sort((a, b) => b.star_count - a.star_count);
  output.out(await renderList(byStars, listing, { format, isQuiet: false, output }));
  return 0;
}

/** `localhost:5000/web` is looked for at that registry. */
function hostOfTerm(term: string): string {
  const [first = "", rest] = term.split("/", 2);
  const isHost = rest !== undefined && (/[.:]/.test(first) || first === "localhost");
  return isHost ? first : "docker.io";
}

function searchListing(options: {
  readonly isTruncated: boolean;
  readonly isJson: boolean;
}): Listing<ImageSearchItem> {
  const { isTruncated, isJson } = options;
  const shorten = (text: string): string => {
    const line = text.replace(/[\r\n]+/g, " ");
    const isLong = isTruncated && line.length > descriptionMaxLength;
    return isLong ? `${line.slice(0, descriptionMaxLength - 1)}…` : line;
  };
  const mark = (isOn: boolean): string => {
    if (isJson) return String(isOn);
    return isOn ? "[OK]" : "";
  };
  return {
    typeName: "searchContext",
    quiet: "Name",
    columns: ["Name", "Description", "StarCount", "IsOfficial"],
    jsonFields: ["Description", "IsOfficial", "Name", "StarCount"],
    headers: {
      Name: "NAME",
      Description: "DESCRIPTION",
      StarCount: "STARS",
      IsOfficial: "OFFICIAL",
      IsAutomated: "AUTOMATED",
    },
    fields: {
      Name: (hit) => hit.name,
      Description: (hit) => shorten(hit.description),
      StarCount: (hit) => String(hit.star_count),
      IsOfficial: (hit) => mark(hit.is_official),
      IsAutomated: (hit) => mark(hit.is_automated),
    },
  };
}
