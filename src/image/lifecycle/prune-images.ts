import type { ImageDeleteResponseItem } from "../../api/image.ts";
import { EngineError, isKind, messageOf } from "../../lib/errors.ts";
import { nextTurn } from "../../lib/concurrency/turn.ts";
import { booleanFilter, checkFilterNames, matchesLabels } from "../../lib/filters.ts";
import { parseTime } from "../../lib/time.ts";
import type { ImageRecord } from "../image-records.ts";
import type { FilterMap } from "../image-service.ts";
import type { ImageContext } from "../context.ts";
import { removeOne, withoutKept } from "./remove-image.ts";

const pruneFilters = ["dangling", "until", "label", "label!"];

/** What was pruned. */
export interface PrunedImages {
  readonly deleted: readonly ImageDeleteResponseItem[];
  /** Of the files of layers that are gone. */
  readonly spaceReclaimedBytes: number;
}

/** Removes images that no container uses: those without a tag, or all with `dangling=false`. */
export async function pruneImages(
  context: ImageContext,
  filters: FilterMap,
): Promise<PrunedImages> {
  checkFilterNames(filters, pruneFilters);
  const isDanglingOnly = booleanFilter(filters, "dangling") ?? true;
  const { index } = context;
  const records = index.list();
  const sizes = new Map(
    records.flatMap(({ layers }) => layers.map((one) => [one.chainId, one.unpackedSizeBytes])),
  );
  const removed: ImageDeleteResponseItem[] = [];
  for (const record of chooseImages(context, records, filters)) {
    // To each removal all images are looked at: whoever asks meanwhile is answered between two.
    await nextTurn();
    const tags = index.namesOf(record.id);
    if (isDanglingOnly && tags.length > 0) continue;
    const names = [...tags, ...index.digestsOf(record.id)];
    for (const reference of names.length === 0 ? [record.id] : names) {
      prune(context, { reference, items: removed });
    }
  }
  await context.metadata.flush();
  context.distribution.dropAllPieces();
  await context.content.sweep({ keepMs: 0 });
  await context.collect();
  const deleted = withoutKept(context, removed);
  const spaceReclaimedBytes = deleted.reduce(
    (sum, { Deleted: id }) => sum + (id === undefined ? 0 : (sizes.get(id as never) ?? 0)),
    0,
  );
  context.events.publish({
    type: "image",
    action: "prune",
    id: "",
    attributes: { reclaimed: String(spaceReclaimedBytes) },
  });
  return { deleted, spaceReclaimedBytes };
}

/** What the filters let through; steps to another image, and further platforms, go with that one. */
function chooseImages(
  { index }: ImageContext,
  records: readonly ImageRecord[],
  filters: FilterMap,
): readonly ImageRecord[] {
  const [until, further] = filters.get("until") ?? [];
  if (further !== undefined) {
    throw new EngineError("invalid-argument", "more than one until filter specified");
  }
  const untilNs = until === undefined ? undefined : parseTime(until);
  const parents = new Set(records.map((record) => record.parentId));
  return records.filter((record) => {
    const isNamed = index.namesOf(record.id).length + index.digestsOf(record.id).length > 0;
    const isPart = parents.has(record.id) || index.isFurtherPlatform(record.id);
    if (!isNamed && isPart) return false;
    const { created, config } = index.config(record);
    const isOlder =
      untilNs === undefined ||
      (created !== undefined && created !== "" && parseTime(created) <= untilNs);
    return (
      isOlder &&
      matchesLabels(config?.Labels, filters.get("label")) &&
      matchesLabels(config?.Labels, filters.get("label!"), { negate: true })
    );
  });
}

/** What cannot be removed stays. */
function prune(
  context: ImageContext,
  image: { readonly reference: string; readonly items: ImageDeleteResponseItem[] },
): void {
  const { reference, items } = image;
  try {
    removeOne(context, { reference, isForced: false, items });
  } catch (error) {
    if (!isKind(error, "conflict", "not-found")) throw error;
    context.logger.debug("image is not pruned", { reference, reason: messageOf(error) });
  }
}
