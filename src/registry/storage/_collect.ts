/**
 * The collector: what no manifest names goes out of its repository, and what no repository has goes
 * from the disk.
 *
 * A repository is looked through and changed in one turn of the event loop, and nothing else in the
 * registry makes a manifest without looking for its blobs in the same turn. So a push that goes on at
 * the same time either has its manifest in before, or finds that a blob is missing and sends it again.
 * Bytes are removed under the lock of their digest, which every push holds from its last byte to its
 * record.
 */
import { nextTurn } from "../../lib/concurrency/turn.ts";
import type { Digest } from "../../oci/digest.ts";
import type { CatalogChange, Repository } from "./_catalog.ts";
import { type RegistryContext, withDigest } from "./_context.ts";
import type { ManifestRecord } from "./_records.ts";
import type { Collection } from "../registry.ts";

/** How the collector decides. */
export interface CollectOptions {
  /** Manifests without a tag go, unless a manifest that stays names them or is their subject. */
  readonly removesUntagged: boolean;
  /** Whatever is older goes, tags and all: it is a copy, and is fetched again when it is asked for. */
  readonly copyExpiryMs?: number;
}

/** @see Registry.collect */
export async function collectGarbage(
  context: RegistryContext,
  options: CollectOptions,
): Promise<Collection> {
  const startMs = performance.now();
  context.holds.expire();
  let manifestCount = 0;
  let blobCount = 0;
  for (const name of context.catalog.names()) {
    const repository = context.catalog.find(name);
    if (repository === undefined) continue;
    const changes =
      options.copyExpiryMs === undefined
        ? planCollection(context, repository, options)
        : planExpiry(context, repository, options.copyExpiryMs);
    if (changes.length > 0) context.catalog.apply(changes);
    manifestCount += changes.filter(({ kind }) => kind === "remove-manifest").length;
    blobCount += changes.filter(({ kind }) => kind === "remove-blob").length;
    // Requests go on between two repositories.
    await nextTurn();
  }
  const { fileCount, freedBytes } = await removeUnheld(context);
  const durationMs = Math.round(performance.now() - startMs);
  return { manifestCount, blobCount, fileCount, freedBytes, durationMs };
}

/** What of one repository goes. Synchronous. */
export function planCollection(
  context: RegistryContext,
  repository: Repository,
  options: CollectOptions,
): readonly CatalogChange[] {
  const { name, manifests, blobs } = repository;
  const kept = options.removesUntagged
    ? markManifests(repository, (digest, record) =>
        context.holds.isHeld(name, { digest, sinceMs: record.pushedMs }),
      )
    : new Set(manifests.keys());
  const needed = new Set<Digest>();
  for (const digest of kept) {
    for (const blob of manifests.get(digest)?.blobs ?? []) needed.add(blob.digest);
  }
  const changes: CatalogChange[] = [];
  for (const digest of manifests.keys()) {
    if (!kept.has(digest)) changes.push({ kind: "remove-manifest", repository: name, digest });
  }
  for (const [digest, { addedMs }] of blobs) {
    if (needed.has(digest)) continue;
    if (context.holds.isHeld(name, { digest, sinceMs: addedMs })) continue;
    changes.push({ kind: "remove-blob", repository: name, digest });
  }
  return changes;
}

/** What of a repository of copies is too old. Synchronous. */
function planExpiry(
  context: RegistryContext,
  { name, blobs, manifests, tags }: Repository,
  expiryMs: number,
): readonly CatalogChange[] {
  const oldestMs = context.nowMs() - expiryMs;
  const changes: CatalogChange[] = [];
  for (const [tag, { updatedMs }] of tags) {
    if (updatedMs < oldestMs) changes.push({ kind: "remove-tag", repository: name, tag });
  }
  for (const [digest, { pushedMs }] of manifests) {
    // Somebody is about to ask for what it names.
    if (context.holds.isHeld(name, { digest, sinceMs: pushedMs })) continue;
    if (pushedMs < oldestMs) changes.push({ kind: "remove-manifest", repository: name, digest });
  }
  for (const [digest, { addedMs }] of blobs) {
    if (addedMs < oldestMs) changes.push({ kind: "remove-blob", repository: name, digest });
  }
  return changes;
}

/**
 * The manifests that stay: what a tag names or a hold keeps, what those name, and, again and again, what
 * has one of those as its subject.
 */
function markManifests(
  repository: Repository,
  isHeld: (digest: Digest, record: ManifestRecord) => boolean,
): ReadonlySet<Digest> {
  const { manifests, tags, referrers } = repository;
  const waiting = [...tags.values()].map(({ digest }) => digest);
  for (const [digest, record] of manifests) if (isHeld(digest, record)) waiting.push(digest);
  const kept = new Set<Digest>();
  for (let digest = waiting.pop(); digest !== undefined; digest = waiting.pop()) {
    const record = manifests.get(digest);
    if (record === undefined || kept.has(digest)) continue;
    kept.add(digest);
    waiting.push(...record.manifests, ...(referrers.get(digest) ?? []));
  }
  return kept;
}

/** Removes the bytes that no repository has. */
async function removeUnheld(
  context: RegistryContext,
): Promise<{ readonly fileCount: number; readonly freedBytes: number }> {
  let fileCount = 0;
  let freedBytes = 0;
  for (const { digest, sizeBytes } of await context.content.list()) {
    if (context.catalog.isHeld(digest) || !(await removeBytes(context, digest))) continue;
    fileCount += 1;
    freedBytes += sizeBytes;
  }
  return { fileCount, freedBytes };
}

/** Removes the bytes of a digest, unless a repository has it. @returns whether they went */
export async function removeBytes(context: RegistryContext, digest: Digest): Promise<boolean> {
  return await withDigest(context, digest, async () => {
    return !context.catalog.isHeld(digest) && (await context.content.remove(digest));
  });
}
