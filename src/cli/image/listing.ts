/** How images are listed. */
import type { ImageSummary } from "../../api/image.ts";
import { familiarName, findReference } from "../../oci/reference.ts";
import { formatSize } from "../../lib/size.ts";
import { goTime, listSize, shortId, since } from "../format/human.ts";
import type { Listing } from "../format/listing.ts";

const none = "<none>";
/** Go's zero time, in seconds since 1970. */
const noMomentS = -62_135_596_800;

/** One line of the list: an image by one of its names. */
export interface ImageRow {
  readonly image: ImageSummary;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

/** Makes the lines for images: one per tag; with digests, one per tag and digest. */
export function imageRows(
  images: readonly ImageSummary[],
  options: { readonly expandsDigests: boolean; readonly showsDigests: boolean },
): readonly ImageRow[] {
  return images.flatMap((image) => rowsOf(image, options));
}

function rowsOf(
  image: ImageSummary,
  options: { readonly expandsDigests: boolean; readonly showsDigests: boolean },
): readonly ImageRow[] {
  const tags = byRepository(image.RepoTags, (reference) => reference.tag);
  const digests = byRepository(image.RepoDigests, (reference) => reference.digest);
  const rows: ImageRow[] = [];
  for (const [repository, list] of tags) {
    const known = options.expandsDigests ? (digests.get(repository) ?? []) : [];
    digests.delete(repository);
    for (const tag of list) {
      for (const digest of known.length === 0 ? [none] : known) {
        rows.push({ image, repository, tag, digest });
      }
    }
  }
  for (const [repository, list] of digests) {
    const shown = options.showsDigests ? list : [""];
    for (const digest of shown) rows.push({ image, repository, tag: none, digest });
  }
  if (rows.length > 0) return rows;
  return [{ image, repository: none, tag: none, digest: none }];
}

function byRepository(
  names: readonly string[] | null | undefined,
  part: (reference: { readonly tag?: string; readonly digest?: string }) => string | undefined,
): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const name of names ?? []) {
    const reference = findReference(name);
    const value = reference === undefined ? undefined : part(reference);
    if (reference === undefined || value === undefined) continue;
    const repository = familiarName(reference);
    result.set(repository, [...(result.get(repository) ?? []), value]);
  }
  return result;
}

/** The columns of `images`. */
export function imageListing(options: {
  readonly isTruncated: boolean;
  readonly showsDigests: boolean;
}): Listing<ImageRow> {
  const { isTruncated, showsDigests } = options;
  return {
    typeName: "imageContext",
    quiet: "ID",
    columns: [
      "Repository",
      "Tag",
      ...(showsDigests ? ["Digest"] : []),
      "ID",
      "CreatedSince",
      "Size",
    ],
    headers: {
      ID: "IMAGE ID",
      Repository: "REPOSITORY",
      Tag: "TAG",
      Digest: "DIGEST",
      CreatedSince: "CREATED",
      CreatedAt: "CREATED AT",
      Size: "SIZE",
      VirtualSize: "SIZE",
      SharedSize: "SHARED SIZE",
      UniqueSize: "UNIQUE SIZE",
      Containers: "CONTAINERS",
    },
    blanks: { CreatedSince: "N/A" },
    fields: {
      ID: ({ image }) => (isTruncated ? shortId(image.Id) : image.Id),
      Repository: (row) => row.repository,
      Tag: (row) => row.tag,
      Digest: (row) => row.digest,
      CreatedSince: ({ image }) => (image.Created === noMomentS ? "" : since(image.Created)),
      CreatedAt: ({ image }) => goTime(image.Created),
      Size: ({ image }) => listSize(image.Size),
      VirtualSize: ({ image }) => formatSize(image.Size),
      SharedSize: ({ image }) => (image.SharedSize === -1 ? "N/A" : formatSize(image.SharedSize)),
      UniqueSize: ({ image }) =>
        image.SharedSize === -1 ? "N/A" : formatSize(image.Size - image.SharedSize),
      Containers: ({ image }) => (image.Containers === -1 ? "N/A" : String(image.Containers)),
    },
  };
}
