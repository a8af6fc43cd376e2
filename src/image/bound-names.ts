/** What names are bound to: pure rules on their records. */
import type { Digest } from "../oci/digest.ts";
import type { NameRecord } from "./image-records.ts";

/** What one image is called, in the order of the names. */
export interface Called {
  readonly tags: readonly string[];
  readonly digests: readonly string[];
}

/** Tells what each image is called. A tag is its first image's alone, a digest all of its images'. */
export function callImages(
  names: readonly (readonly [name: string, record: NameRecord])[],
): ReadonlyMap<Digest, Called> {
  const images = new Map<Digest, { tags: string[]; digests: string[] }>();
  for (const [name, record] of names) {
    const isDigestName = name.includes("@");
    for (const id of isDigestName ? imagesOf(record) : [record.id]) {
      const called = images.get(id) ?? { tags: [], digests: [] };
      (isDigestName ? called.digests : called.tags).push(name);
      images.set(id, called);
    }
  }
  return images;
}

/** The record of a name that is bound anew: images it had for the same index stay reachable by it. */
export function boundName(next: NameRecord, before: NameRecord | undefined): NameRecord {
  const { id, target } = next;
  const same =
    target !== undefined && before?.target?.digest === target.digest ? before : undefined;
  const known = same === undefined ? [] : imagesOf(same);
  const others = [...new Set([...known, ...(next.others ?? [])])].filter((one) => one !== id);
  const attachments = next.attachments ?? same?.attachments ?? [];
  const isPublished = next.isPublished ?? (before?.id === id && before.isPublished === true);
  return {
    id,
    ...(target === undefined ? {} : { target }),
    ...(others.length === 0 ? {} : { others }),
    ...(attachments.length === 0 ? {} : { attachments }),
    ...(isPublished ? { isPublished } : {}),
  };
}

/** The record without one of its images; undefined when that was the only one. */
export function shrunkName(record: NameRecord, id: Digest): NameRecord | undefined {
  const [next, ...others] = imagesOf(record).filter((one) => one !== id);
  return next === undefined ? undefined : { ...record, id: next, others };
}

/** Whether a name stands for an image, of whatever platform. */
export function isBoundTo(record: NameRecord, id: Digest): boolean {
  return imagesOf(record).includes(id);
}

/** All images of a name, the one it stands for first. */
export function imagesOf({ id, others = [] }: NameRecord): readonly Digest[] {
  return [id, ...others];
}
