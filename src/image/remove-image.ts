import type { ImageDeleteResponseItem } from "../api/image.ts";
import {
  imageInSeveralRepositories,
  imageInUseByRunning,
  imageInUseByStopped,
  imageTagInUse,
} from "../lib/docker-messages.ts";
import { booleanFilter, checkFilterNames, matchesLabels } from "../lib/filters.ts";
import { parseTime } from "../lib/time.ts";
import {
  familiarName,
  formatReference,
  parseReference,
  referenceName,
  withDigest,
} from "../oci/reference.ts";
import type { ImageRecord } from "./image-records.ts";
import type { FilterMap } from "./image-service.ts";
import type { ImageContext } from "./local-image-service.ts";
import { publishImageEvent } from "./_publish-event.ts";

type Items = ImageDeleteResponseItem[];

/**
 * Removes a name, or the image when that was its last one, by Docker's rules.
 *
 * @throws conflict when containers or several repositories use it and force is not given, and
 * always for a running container
 */
export async function removeImage(
  context: ImageContext,
  request: { readonly reference: string; readonly isForced: boolean },
): Promise<readonly ImageDeleteResponseItem[]> {
  const { index } = context;
  const { reference, isForced } = request;
  const record = index.find(reference);
  const names = index.namesOf(record.id);
  const items: Items = [];
  const all = [...names, ...index.digestsOf(record.id)];
  if (index.isById(reference)) {
    const repositories = new Set(all.map((name) => familiarName(parseReference(name))));
    if (repositories.size > 1 && !isForced) throw imageInSeveralRepositories(record.id);
    refuseUsed(context, { record, isForced });
    for (const name of all) untag(context, { name, record, items });
  } else {
    const name = boundName(context, { reference, names: all });
    const going = [name, ...digestsWithout(name, all)];
    if (going.length === all.length) refuseTagUsed(context, { record, isForced, name });
    for (const each of going) untag(context, { name: each, record, items });
    if (going.length < all.length) return items;
  }
  deleteImage(context, { record, items });
  await context.collect();
  return items;
}

function boundName(
  { index }: ImageContext,
  { reference, names }: { readonly reference: string; readonly names: readonly string[] },
): string {
  const parsed = parseReference(reference);
  if (parsed.digest !== undefined) {
    const byDigest = formatReference(withDigest(parsed, parsed.digest));
    return names.find((name) => name === byDigest) ?? names[0] ?? byDigest;
  }
  const wanted = index.parseTarget({ repo: familiarName(parsed), tag: parsed.tag ?? "" });
  return names.find((name) => name === wanted) ?? names[0] ?? wanted;
}

/** Docker: a repository's digests go with its last tag, seen in 28.5. */
function digestsWithout(name: string, all: readonly string[]): readonly string[] {
  if (name.includes("@")) return [];
  const repository = referenceName(parseReference(name));
  const ofRepository = all.filter((one) => referenceName(parseReference(one)) === repository);
  const hasTag = ofRepository.some((one) => one !== name && !one.includes("@"));
  return hasTag ? [] : ofRepository.filter((one) => one.includes("@"));
}

interface Removal {
  readonly record: ImageRecord;
  readonly items: Items;
}

function untag(
  context: ImageContext,
  { name, record, items }: Removal & { readonly name: string },
): void {
  const shown = context.index.show(name);
  context.index.unbind(name, record.id);
  publishImageEvent(context, { action: "untag", record, name: record.id });
  items.push({ Untagged: shown });
}

function deleteImage(context: ImageContext, { record, items }: Removal): void {
  context.index.remove(record.id);
  context.events.publish({
    type: "image",
    action: "delete",
    id: record.id,
    attributes: { name: record.id },
  });
  items.push({ Deleted: record.id });
  const needed = new Set(
    context.index.list().flatMap((image) => image.layers.map((layer) => layer.chainId)),
  );
  for (const layer of record.layers.toReversed()) {
    if (!needed.has(layer.chainId)) items.push({ Deleted: layer.chainId });
  }
}

function refuseUsed(
  context: ImageContext,
  { record, isForced }: { readonly record: ImageRecord; readonly isForced: boolean },
): void {
  const users = context.users().containersOf(record.id);
  const running = users.find((user) => user.isRunning);
  if (running !== undefined) throw imageInUseByRunning(record.id, running.id);
  const [stopped] = users;
  if (stopped !== undefined && !isForced) throw imageInUseByStopped(record.id, stopped.id);
}

/** Docker: a running container's last tag may be forced away; the image stays, seen in 28.5. */
function refuseTagUsed(
  context: ImageContext,
  options: { readonly record: ImageRecord; readonly isForced: boolean; readonly name: string },
): void {
  const { record, isForced, name } = options;
  const [user] = context.users().containersOf(record.id);
  if (user === undefined) return;
  if (!isForced) {
    throw imageTagInUse(context.index.show(name), { containerId: user.id, imageId: record.id });
  }
  refuseUsed(context, { record, isForced });
}

const pruneFilters = ["dangling", "until", "label", "label!"];

/** Removes images that no container uses: those without a name, or all with `dangling=false`. */
export async function pruneImages(
  context: ImageContext,
  filters: FilterMap,
): Promise<{
  readonly deleted: readonly ImageDeleteResponseItem[];
  readonly spaceReclaimedBytes: number;
}> {
  checkFilterNames(filters, pruneFilters);
  const isDanglingOnly = booleanFilter(filters, "dangling") ?? true;
  const until = filters.get("until")?.[0];
  const untilNs = until === undefined ? undefined : parseTime(until);
  const items: Items = [];
  for (const record of context.index.list()) {
    const names = context.index.namesOf(record.id);
    if (isDanglingOnly && names.length > 0) continue;
    if (context.users().containersOf(record.id).length > 0) continue;
    if (untilNs !== undefined && BigInt(record.storedNs) > untilNs) continue;
    const labels = context.index.config(record).config?.Labels;
    if (!matchesLabels(labels, filters.get("label"))) continue;
    if (!matchesLabels(labels, filters.get("label!"), { negate: true })) continue;
    const digests = context.index.digestsOf(record.id);
    for (const name of [...names, ...digests]) untag(context, { name, record, items });
    deleteImage(context, { record, items });
  }
  context.distribution.dropAllPieces();
  const spaceReclaimedBytes = await context.collect();
  context.events.publish({
    type: "image",
    action: "prune",
    id: "",
    attributes: { reclaimed: String(spaceReclaimedBytes) },
  });
  return { deleted: items, spaceReclaimedBytes };
}
