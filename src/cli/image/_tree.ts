/** `images --tree`: each image with the platforms it is there for. */
import type { ImageManifestSummary, ImageSummary } from "../../api/image.ts";
import { formatPlatform } from "../../oci/platform.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { listSize, shortId } from "../format/human.ts";

interface TreeRow {
  readonly name: string;
  readonly id: string;
  readonly disk: string;
  readonly content: string;
  readonly extra: string;
}

const gap = "   ";
const legend = "Info ->  U In Use";
const head: TreeRow = {
  name: "IMAGE",
  id: "ID",
  disk: "DISK USAGE",
  content: "CONTENT SIZE",
  extra: "EXTRA",
};

/** Draws images under their names. @param options.isAll with what is no image, and what is not here */
export function renderTree(
  images: readonly ImageSummary[],
  options: { readonly isAll: boolean },
): string {
  const groups = images.map((image) => rowsOf(image, options));
  const rows = [head, ...groups.flat()];
  const nameWidth = Math.max(...rows.map(({ name }) => name.length));
  const lines = groups.map((group) => group.map((row) => lineOf(row, nameWidth)));
  const title = lineOf(head, nameWidth);
  const isSpaced = groups.some((group) => group.some(({ name }) => name.startsWith("└")));
  const body = lines.map((group) => group.join("\n")).join(isSpaced ? "\n\n" : "\n");
  return `${legend.padStart(title.length)}\n\n${title}\n${body}${body === "" ? "" : "\n"}`;
}

/** Its names, the last with what is told of it, then its parts. */
function rowsOf(image: ImageSummary, options: { readonly isAll: boolean }): readonly TreeRow[] {
  const manifests = image.Manifests ?? [];
  const shown = manifests.filter(
    ({ Available, Kind }) => options.isAll || (Available && Kind === "image"),
  );
  const names = image.RepoTags.length === 0 ? ["<untagged>"] : image.RepoTags;
  const bare = names.slice(0, -1).map((name) => ({ ...emptyRow, name: escapeControls(name) }));
  const used = image.Containers > 0 || manifests.some(isUsed);
  const total = (part: keyof ImageManifestSummary["Size"]): number =>
    manifests.reduce((sum, { Size }) => sum + Size[part], 0);
  return [
    ...bare,
    {
      name: escapeControls(names.at(-1) ?? ""),
      id: shortId(image.Id),
      disk: listSize(manifests.length === 0 ? image.Size : total("Total")),
      content: listSize(total("Content")),
      extra: used ? "U" : "",
    },
    ...shown.map((manifest, at) => partOf(manifest, { isLast: at === shown.length - 1 })),
  ];
}

const emptyRow: TreeRow = { name: "", id: "", disk: "", content: "", extra: "" };

function partOf(manifest: ImageManifestSummary, place: { readonly isLast: boolean }): TreeRow {
  const { Kind, ImageData, Descriptor, ID, Size } = manifest;
  const platform = ImageData?.Platform ?? Descriptor.platform;
  const name = Kind === "image" && platform !== undefined ? formatPlatform(platform) : Kind;
  return {
    name: `${place.isLast ? "└─" : "├─"} ${escapeControls(name)}`,
    id: shortId(ID),
    disk: listSize(Size.Total),
    content: listSize(Size.Content),
    extra: isUsed(manifest) ? "U" : "",
  };
}

function isUsed({ ImageData }: ImageManifestSummary): boolean {
  return (ImageData?.Containers.length ?? 0) > 0;
}

/** Names and IDs stand left, sizes right. */
function lineOf({ name, id, disk, content, extra }: TreeRow, nameWidth: number): string {
  return [
    name.padEnd(nameWidth),
    id.padEnd(12),
    disk.padStart(head.disk.length),
    content.padStart(head.content.length),
    extra,
  ]
    .join(gap)
    .trimEnd();
}
