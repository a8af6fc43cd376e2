/** `system df -v`: every image, container, volume and cache record with its size. */
import type { BuildCacheRecord, ImageUsage, SystemDiskUsage } from "../../api/system.ts";
import type { ContainerSummary } from "../../api/container.ts";
import type { Volume } from "../../api/volume.ts";
import { familiarName, findReference } from "../../oci/reference.ts";
import { formatSize } from "../../lib/size.ts";
import { containerListing } from "../container/listing.ts";
import { goTime, humanDuration, shortId } from "../format/human.ts";
import {
  type Listing,
  type ListOptions,
  renderList,
  renderValue,
  rowOf,
} from "../format/listing.ts";
import { imageListing, type ImageRow } from "../image/listing.ts";
import { volumeListing } from "../volume/listing.ts";

/** Renders the details: four tables, or one value with four lists for `json` and templates. */
export async function renderDetails(usage: SystemDiskUsage, options: ListOptions): Promise<string> {
  const images = (usage.Images ?? []).map(imageRowOf);
  const containers = (usage.Containers ?? []).map((one) => ({ ...one, SizeRootFs: 0 }));
  const volumes = usage.Volumes ?? [];
  const cache = [...(usage.BuildCache ?? [])].sort(byUse);
  const { format } = options;
  if (format === "" || format === "table") return tables({ images, containers, volumes, cache });
  const value = {
    Images: images.map((row) => rowOf(row, imageColumns(false))),
    Containers: containers.map((row) => rowOf(row, containerColumns(false))),
    Volumes: volumes.map((row) => rowOf(row, volumeListing)),
    BuildCache: cache.map((row) => rowOf(row, cacheColumns(false))),
  };
  return await renderValue(value, { ...options, typeName: "diskUsageContext" });
}

async function tables(lists: {
  readonly images: readonly ImageRow[];
  readonly containers: readonly ContainerSummary[];
  readonly volumes: readonly Volume[];
  readonly cache: readonly BuildCacheRecord[];
}): Promise<string> {
  const { images, containers, volumes, cache } = lists;
  const plain = { format: "", output: { isTerminal: false } };
  const cacheBytes = cache
    .filter((record) => !record.Shared)
    .reduce((sum, record) => sum + record.Size, 0);
  const parts = [
    ["Images space usage:", await renderList(images, imageColumns(true), plain)],
    ["Containers space usage:", await renderList(containers, containerColumns(true), plain)],
    ["Local Volumes space usage:", await renderList(volumes, volumeColumns, plain)],
    [
      `Build cache usage: ${formatSize(cacheBytes)}`,
      await renderList(cache, cacheColumns(true), plain),
    ],
  ];
  return parts.map(([title, table]) => `${title}\n\n${table}`).join("\n");
}

/** By its first tag alone. */
function imageRowOf(image: ImageUsage): ImageRow {
  const [first] = image.RepoTags ?? [];
  const reference = first === undefined ? undefined : findReference(first);
  const none = "<none>";
  return {
    image: { ...image, RepoTags: image.RepoTags ?? [], RepoDigests: image.RepoDigests ?? [] },
    repository: reference === undefined ? none : familiarName(reference),
    tag: reference?.tag ?? none,
    digest: "",
  };
}

function imageColumns(isTruncated: boolean): Listing<ImageRow> {
  const listing = imageListing({ isTruncated, showsDigests: false });
  const columns = ["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize"];
  return {
    ...listing,
    columns: [...columns, "Containers"],
  };
}

function containerColumns(isTruncated: boolean): Listing<ContainerSummary> {
  const columns = ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status"];
  return {
    ...containerListing({ isTruncated, showsSize: true }),
    columns: [...columns, "Names"],
  };
}

const volumeColumns: Listing<Volume> = { ...volumeListing, columns: ["Name", "Links", "Size"] };

function cacheColumns(isTruncated: boolean): Listing<BuildCacheRecord> {
  return {
    typeName: "buildCacheContext",
    quiet: "ID",
    columns: ["ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"],
    headers: {
      ID: "CACHE ID",
      CacheType: "CACHE TYPE",
      Size: "SIZE",
      CreatedSince: "CREATED",
      LastUsedSince: "LAST USED",
      UsageCount: "USAGE",
      Shared: "SHARED",
    },
    fields: {
      CacheType: (record) => record.Type,
      CreatedAt: (record) => momentOf(record.CreatedAt),
      CreatedSince: (record) => sinceText(record.CreatedAt),
      Description: (record) => record.Description,
      ID: (record) => `${isTruncated ? shortId(record.ID) : record.ID}${record.InUse ? "*" : ""}`,
      InUse: (record) => String(record.InUse),
      LastUsedAt: (record) => (record.LastUsedAt === null ? "" : momentOf(record.LastUsedAt)),
      LastUsedSince: (record) => (record.LastUsedAt === null ? "" : sinceText(record.LastUsedAt)),
      Parent: (record) => (record[" Parents"] ?? []).join(", "),
      Shared: (record) => String(record.Shared),
      Size: (record) => formatSize(record.Size),
      UsageCount: (record) => String(record.UsageCount),
    },
  };
}

function sinceText(time: string): string {
  return `${humanDuration(Date.now() - Date.parse(time))} ago`;
}

function momentOf(time: string): string {
  return goTime(Math.floor(Date.parse(time) / 1000));
}

/** Never used first, then the longest unused. */
function byUse(left: BuildCacheRecord, right: BuildCacheRecord): number {
  const [one, other] = [left.LastUsedAt ?? "", right.LastUsedAt ?? ""];
  if (one !== other) return one < other ? -1 : 1;
  return left.ID < right.ID ? -1 : 1;
}
