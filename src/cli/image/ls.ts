import { listImages } from "../../client/images.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { readConfigFile } from "../environment.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, listFormatFlag, switchFlag } from "../flag/flags.ts";
import { renderList } from "../format/listing.ts";
import { imageListing, imageRows } from "./listing.ts";

/** Lists images. */
export const command: Command = {
  usage: "[OPTIONS] [REPOSITORY[:TAG]]",
  operands: between(0, 1),
  flags: [
    switchFlag("all", "Show all images (default hides intermediate images)", { short: "a" }),
    switchFlag("digests", "Show digests"),
    filterFlag,
    listFormatFlag,
    switchFlag("no-trunc", "Don't truncate output"),
    switchFlag("quiet", "Only show image IDs", { short: "q" }),
  ],
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine, environment } = invocation;
  const filters = parseFilters(flags.list("filter"));
  const [reference] = operands;
  if (reference !== undefined) filters.set("reference", [reference]);
  const given = flags.text("format");
  const isQuiet = flags.isOn("quiet");
  const format =
    given === "" && !isQuiet ? ((await readConfigFile(environment)).imagesFormat ?? "") : given;
  const images = await listImages(await engine(), { all: flags.isOn("all"), filters });
  const showsDigests = flags.isOn("digests");
  const rows = imageRows(images, {
    expandsDigests: showsDigests || /\.Digest\b/.test(format),
    showsDigests,
  });
  const listing = imageListing({ isTruncated: !flags.isOn("no-trunc"), showsDigests });
  // Docker: `-q` names an image once per tag, seen in 28.2.
  output.out(await renderList(rows, listing, { format, isQuiet, output }));
  return 0;
}
