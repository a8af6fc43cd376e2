import type { ContentStore } from "../../content/content-store.ts";
import type { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import type { Logger } from "../../lib/log.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Catalog } from "./_catalog.ts";
import type { Holds } from "./_holds.ts";
import type { Quota } from "./_quota.ts";

/** What the parts of one registry share. */
export interface RegistryContext {
  readonly content: ContentStore;
  readonly catalog: Catalog;
  readonly holds: Holds;
  readonly quota: Quota;
  /** By digest: bytes become a blob with its record, or are removed, one at a time. */
  readonly locks: KeyedMutex;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

/** The bytes that a lock under a digest guards: both what makes them visible and what removes them. */
export async function withDigest<T>(
  context: RegistryContext,
  digest: Digest,
  work: () => Promise<T>,
): Promise<T> {
  return await context.locks.run(digest, work);
}
