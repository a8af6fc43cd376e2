/**
 * Removing images, by Docker's rules: a name goes before the image, an image goes when nobody uses
 * it, and the nameless images it was made from go with it.
 */
import type { ImageDeleteResponseItem } from "../../api/image.ts";
import {
  imageHasChildren,
  imageInSeveralRepositories,
  imageInUseByRunning,
  imageInUseByStopped,
  imageTagInUse,
  noSuchImage,
} from "../../lib/docker-messages.ts";
import { type EngineError, isKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Platform } from "../../oci/platform.ts";
import {
  findReference,
  formatReference,
  parseReference,
  type Reference,
  referenceName,
  withDefaultTag,
  withDigest,
} from "../../oci/reference.ts";
import { imagesOf, isBoundTo } from "../bound-names.ts";
import type { ImageRecord } from "../image-records.ts";
import type { ImageContext } from "../context.ts";
import { publishImageEvent } from "../publish-event.ts";

type Items = ImageDeleteResponseItem[];

/** What to remove. */
export interface RemoveRequest {
  readonly reference: string;
  readonly isForced: boolean;
  /** Keeps the nameless images that it was made from. */
  readonly keepsParents?: boolean;
  /** Only these of the images that the name stands for; all of them when absent or empty. */
  readonly platforms?: readonly Platform[];
}

/**
 * Removes a name, or the image when that was its last one.
 *
 * @throws conflict when other images were made from it or a running container uses it; and, unless
 * force is given, when a stopped one does or it has several names
 */
export async function removeImage(
  context: ImageContext,
  request: RemoveRequest,
): Promise<readonly ImageDeleteResponseItem[]> {
  const items: Items = [];
  const parts = await partsOf(context, request);
  if (parts === undefined) removeOne(context, { ...request, items });
  else removeParts(context, { ...request, parts, items });
  await context.metadata.flush();
  if (items.some((item) => item.Deleted !== undefined)) await context.collect();
  return withoutKept(context, items);
}

/**
 * Leaves out layers that are there after the collection: another image, a container or a build's cache
 * keeps them. A layer that went with several images is told with the last.
 */
export function withoutKept({ snapshots }: ImageContext, items: Items): Items {
  const told = new Map(items.map(({ Deleted: id }, at) => [id, at]));
  return items.filter(({ Deleted: id }, at) => {
    return id === undefined || (told.get(id) === at && snapshots.find(id) === undefined);
  });
}

/**
 * The images of the platforms asked for, where the name stands for more than those.
 *
 * @throws not-found when one is not there
 */
async function partsOf(
  { index }: ImageContext,
  { reference, platforms = [] }: RemoveRequest,
): Promise<readonly ImageRecord[] | undefined> {
  if (platforms.length === 0) return undefined;
  const ids = new Set<Digest>();
  for (const platform of platforms) ids.add((await index.resolve(reference, { platform })).id);
  const bound = index.findBound(reference);
  if (bound === undefined || imagesOf(bound).every((id) => ids.has(id))) return undefined;
  return [...ids].map((id) => index.getById(id));
}

/** The name goes on with the other platforms, and so do the digests that go with it. */
function removeParts(
  context: ImageContext,
  request: RemoveRequest & { readonly parts: readonly ImageRecord[]; readonly items: Items },
): void {
  const { index } = context;
  const { reference, parts, isForced, items } = request;
  const whole = wholeName(parseReference(reference));
  for (const record of parts) {
    const holding = index
      .listNames()
      .flatMap(([name, bound]) => (isBoundTo(bound, record.id) ? [name] : []));
    const own = [whole, ...digestsWithout(whole, holding)];
    const isLast = holding.every((name) => own.includes(name));
    if (isLast) refuseUsed(context, { record, isForced });
    for (const name of own) index.release(name, record.id);
    if (isLast) deleteImage(context, { record, items, isForced, isQuiet: false });
  }
}

/**
 * As `removeImage`, but not durable yet. What nobody needs any more is left to the collector; all layers
 * are told, see `withoutKept`.
 */
export function removeOne(
  context: ImageContext,
  request: RemoveRequest & { readonly items: Items },
): void {
  const { reference } = request;
  const record = context.index.find(reference);
  // A digest that the image does not go by here must not take another name away.
  const { digest } = findReference(reference) ?? {};
  const isById = context.index.isById(reference);
  if (digest !== undefined && !isById && context.index.findBound(reference) === undefined) {
    throw noSuchImage(reference);
  }
  const names = namesOf(context, record);
  const others = names.flatMap((name) => context.index.findName(name)?.others ?? []);
  removeNames(context, { ...request, record, names });
  // Images of further platforms go with the last name that stood for them.
  for (const id of new Set(others)) {
    const other = context.index.findById(id);
    if (other === undefined || context.index.isFurtherPlatform(id)) continue;
    if (namesOf(context, other).length > 0) continue;
    deleteUnneeded(context, { ...request, record: other });
  }
}

function removeNames(
  context: ImageContext,
  request: RemoveRequest & {
    readonly items: Items;
    readonly record: ImageRecord;
    readonly names: readonly string[];
  },
): void {
  const { index } = context;
  const { reference, isForced, items, record, names } = request;
  if (index.isById(reference)) {
    if (isSingle(names)) {
      refuseUsed(context, { record, isForced });
      for (const name of names) untag(context, { name, record, items });
    }
    deleteImage(context, { ...request, record, isQuiet: false });
    return;
  }
  if (!isForced && isSingle(names)) refuseTagUsed(context, record, reference);
  const name = boundName(reference, names);
  for (const each of [name, ...digestsWithout(name, names)]) {
    untag(context, { name: each, record, items });
  }
  if (namesOf(context, record).length > 0) return;
  deleteImage(context, { ...request, record, isQuiet: true });
}

/** All whole references of an image, tags first. */
function namesOf({ index }: ImageContext, record: ImageRecord): readonly string[] {
  return [...index.namesOf(record.id), ...index.digestsOf(record.id)];
}

/** One tag at most, and no digest but of its repository. */
function isSingle(names: readonly string[]): boolean {
  if (names.length <= 1) return true;
  const tags = names.filter((name) => !name.includes("@"));
  const repositories = new Set(names.map((name) => referenceName(parseReference(name))));
  return tags.length <= 1 && repositories.size === 1;
}

function boundName(reference: string, names: readonly string[]): string {
  const wanted = wholeName(parseReference(reference));
  return names.find((name) => name === wanted) ?? names[0] ?? wanted;
}

/** The whole name that is meant: a digest says all, whatever the tag beside it. */
function wholeName(parsed: Reference): string {
  if (parsed.digest !== undefined) return formatReference(withDigest(parsed, parsed.digest));
  return formatReference(withDefaultTag(parsed));
}

/** Docker: a repository's digests go with its last tag, seen in 28.5. */
function digestsWithout(name: string, all: readonly string[]): readonly string[] {
  if (name.includes("@")) return [];
  const repository = referenceName(parseReference(name));
  const ofRepository = all.filter((one) => referenceName(parseReference(one)) === repository);
  const hasTag = ofRepository.some((one) => one !== name && !one.includes("@"));
  return hasTag ? [] : ofRepository.filter((one) => one.includes("@"));
}

function untag(
  context: ImageContext,
  removal: { readonly name: string; readonly record: ImageRecord; readonly items: Items },
): void {
  const { name, record, items } = removal;
  const shown = context.index.show(name);
  context.index.unbind(name, record.id);
  publishImageEvent(context, { action: "untag", record, name: record.id });
  items.push({ Untagged: shown });
}

interface Deletion {
  readonly record: ImageRecord;
  readonly items: Items;
  readonly isForced: boolean;
  readonly keepsParents?: boolean;
  /** A name was removed already: that the image stays is no failure, unless nothing names it. */
  readonly isQuiet: boolean;
}

function deleteImage(context: ImageContext, deletion: Deletion): void {
  const { record, items, isQuiet } = deletion;
  const { index } = context;
  try {
    refuseUsed(context, { ...deletion, seesNames: true });
  } catch (error) {
    // Docker: a running container's last tag may be forced away; the image stays, seen in 28.5.
    const isUsed = context.users().containersOf(record.id).length > 0;
    const isDangling = namesOf(context, record).length === 0 && !hasChildren(context, record);
    if (isQuiet && isKind(error, "conflict") && (isUsed || !isDangling)) return;
    throw error;
  }
  for (const name of namesOf(context, record)) untag(context, { name, record, items });
  index.remove(record.id);
  const attributes = { name: record.id };
  context.events.publish({ type: "image", action: "delete", id: record.id, attributes });
  items.push({ Deleted: record.id });
  for (const { chainId } of record.layers.toReversed()) items.push({ Deleted: chainId });
  if (deletion.keepsParents === true || record.parentId === undefined) return;
  const parent = index.findById(record.parentId);
  if (parent !== undefined && namesOf(context, parent).length === 0) {
    deleteUnneeded(context, { ...deletion, record: parent });
  }
}

/** Goes as far as nobody else needs what is there. */
function deleteUnneeded(context: ImageContext, deletion: Omit<Deletion, "isQuiet">): void {
  try {
    deleteImage(context, { ...deletion, isForced: false, isQuiet: false });
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
  }
}

function hasChildren({ index }: ImageContext, record: ImageRecord): boolean {
  return index.list().some((other) => other.parentId === record.id);
}

/** @throws conflict with the first reason to keep an image; force overrules the last two */
function refuseUsed(
  context: ImageContext,
  options: {
    readonly record: ImageRecord;
    readonly isForced: boolean;
    readonly seesNames?: boolean;
  },
): void {
  const { record, isForced, seesNames } = options;
  const failure = findConflict(context, { record, isForced, seesNames: seesNames === true });
  if (failure !== undefined) throw failure;
}

function findConflict(
  context: ImageContext,
  options: {
    readonly record: ImageRecord;
    readonly isForced: boolean;
    readonly seesNames: boolean;
  },
): EngineError | undefined {
  const { record, isForced, seesNames } = options;
  if (hasChildren(context, record)) return imageHasChildren(record.id);
  const users = context.users().containersOf(record.id);
  const running = users.find((user) => user.isRunning);
  if (running !== undefined) return imageInUseByRunning(record.id, running.id);
  if (isForced) return undefined;
  if (seesNames && namesOf(context, record).length > 0) {
    return imageInSeveralRepositories(record.id);
  }
  const [stopped] = users;
  return stopped === undefined ? undefined : imageInUseByStopped(record.id, stopped.id);
}

/** A tag whose loss would leave a container's image without a name must be forced away. */
function refuseTagUsed(context: ImageContext, record: ImageRecord, reference: string): void {
  const [user] = context.users().containersOf(record.id);
  if (user === undefined) return;
  throw imageTagInUse(reference, { containerId: user.id, imageId: record.id });
}
