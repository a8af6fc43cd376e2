import type { Digest } from "../../oci/digest.ts";
import type { RegistryContext } from "./_context.ts";
import type { QuotaRequest } from "./_quota.ts";

/**
 * Makes room for a copy of another registry's: what was asked for longest ago goes. Who reads it now
 * reads on, and who asks again has it fetched again.
 *
 * While others are being fetched that may be too little still: `quota.lackOf` tells.
 *
 * @returns whose bytes may go from the disk; to be removed when no digest is locked
 * @throws DENIED when nothing that could go would help
 */
export function makeRoom(
  { catalog, quota, holds, logger }: RegistryContext,
  repository: string,
  wanted: QuotaRequest,
): readonly Digest[] {
  const lack = quota.lackOf(repository, wanted);
  if (lack === undefined) return [];
  if (!quota.isEverEnough(wanted)) quota.admit(repository, wanted);
  const names = lack === "repository" ? [repository] : catalog.names();
  const copies = names.flatMap((name) =>
    [...(catalog.find(name)?.blobs ?? [])].map(([digest, { addedMs }]) => {
      return { name, digest, usedMs: holds.heldMs(name, digest) ?? addedMs };
    }),
  );
  const removed: Digest[] = [];
  for (const { name, digest } of copies.sort((left, right) => left.usedMs - right.usedMs)) {
    catalog.apply([{ kind: "remove-blob", repository: name, digest }]);
    removed.push(digest);
    if (quota.lackOf(repository, wanted) === undefined) break;
  }
  logger.info("copies gave way to another", { repository, count: removed.length });
  return removed;
}
