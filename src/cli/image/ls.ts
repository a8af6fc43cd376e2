import { listImages } from "../../client/images.ts";
import { between, type Command, type Invocation } from "../command.ts";
import { readConfigFile } from "../environment.ts";
import { parseFilters } from "../flag/filters.ts";
import { filterFlag, listFormatFlag, switchFlag } from "../flag/flags.ts";
import { renderList } from "../format/listing.ts";
import { EngineError } from "../../lib/errors.ts";
import { imageListing, imageRows } from "./listing.ts";
import { renderTree } from "./_tree.ts";

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
    switchFlag("tree", "List multi-platform images as a tree"),
  ],
  completes: "images",
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { operands, flags, output, engine, environment } = invocation;
  const filters = parseFilters(flags.list("filter"));
  const [reference] = operands;
  if (reference !== undefined) filters.set("reference", [reference]);
  if (flags.isOn("tree")) {
    refuseBesideTree(flags);
    const all = { all: flags.isOn("all"), filters, manifests: true };
    output.out(renderTree(await listImages(await engine(), all), { isAll: all.all }));
    return 0;
  }
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
  const isRaw = format === "raw";
  // Docker: `-q` names an image once per tag, seen in 28.2.
  output.out(
    await renderList(rows, listing, {
      format: isRaw ? rawTemplate({ isQuiet, showsDigests }) : format,
      isQuiet,
      output,
    }),
  );
  return 0;
}

/** The lines of `--format raw`. */
function rawTemplate(shown: { readonly isQuiet: boolean; readonly showsDigests: boolean }): string {
  if (shown.isQuiet) return "image_id: {{.ID}}";
  const digest = shown.showsDigests ? "digest: {{.Digest}}\n" : "";
  return (
    `repository: {{.Repository}}\ntag: {{.Tag}}\n${digest}` +
    "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"
  );
}

/** @throws invalid-argument in Docker's words */
function refuseBesideTree(flags: Invocation["flags"]): void {
  const others = ["quiet", "no-trunc", "digests"].filter((name) => flags.isOn(name));
  const [other] = flags.text("format") === "" ? others : [...others, "format"];
  if (other === undefined) return;
  throw new EngineError("invalid-argument", `--${other} is not yet supported with --tree`);
}
