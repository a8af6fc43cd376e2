import type { HistoryResponseItem } from "../../api/image.ts";
import { imageHistory } from "../../client/images.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { listFormatFlag, switchFlag, textFlag } from "../flag/flags.ts";
import { listSize, localRfc3339, shortId, since } from "../format/human.ts";
import { type Listing, renderList } from "../format/listing.ts";
import { ellipsis } from "../format/table.ts";
import { platformQuery } from "./platform.ts";

const createdByMaxWidth = 45;

/** Shows how an image was made. */
export const command: Command = {
  usage: "[OPTIONS] IMAGE",
  operands: exactly(1),
  flags: [
    listFormatFlag,
    switchFlag("human", "Print sizes and dates in human readable format", {
      short: "H",
      fallback: "true",
    }),
    switchFlag("no-trunc", "Don't truncate output"),
    textFlag("platform", 'Show history for the given platform. Formatted as "os[/arch[/variant]]"'),
    switchFlag("quiet", "Only show image IDs", { short: "q" }),
  ],
  completes: "images",
  run,
};

async function run({ operands, flags, output, engine }: Invocation): Promise<number> {
  const [image = ""] = operands;
  const items = await imageHistory(await engine(), image, platformQuery(flags.text("platform")));
  const listing = historyListing({
    isHuman: flags.isNotOff("human"),
    isTruncated: !flags.isOn("no-trunc"),
  });
  output.out(
    await renderList(items, listing, {
      format: flags.text("format"),
      isQuiet: flags.isOn("quiet"),
      output,
    }),
  );
  return 0;
}

function historyListing(options: {
  readonly isHuman: boolean;
  readonly isTruncated: boolean;
}): Listing<HistoryResponseItem> {
  const { isHuman, isTruncated } = options;
  return {
    typeName: "historyContext",
    quiet: "ID",
    columns: ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
    headers: {
      ID: "IMAGE",
      CreatedSince: isHuman ? "CREATED" : "CREATED AT",
      CreatedAt: "CREATED AT",
      CreatedBy: "CREATED BY",
      Size: "SIZE",
      Comment: "COMMENT",
    },
    blanks: { CreatedSince: "N/A" },
    fields: {
      ID: (item) => (isTruncated ? shortId(item.Id) : item.Id),
      CreatedSince: ({ Created: created }) => {
        if (!isHuman) return localRfc3339(created);
        return created <= 0 ? "" : since(created);
      },
      CreatedAt: (item) => localRfc3339(item.Created),
      CreatedBy: (item) => {
        const text = item.CreatedBy.replaceAll("\t", " ");
        return isTruncated ? ellipsis(text, createdByMaxWidth) : text;
      },
      Size: (item) => (isHuman ? listSize(item.Size) : String(item.Size)),
      Comment: (item) => item.Comment,
    },
  };
}
