import type { ContentStore } from "../content/content-store.ts";
import type { EventBus } from "../event/event-bus.ts";
import type { Logger } from "../lib/log.ts";
import type { Leases } from "../metadata/leases.ts";
import type { Metadata } from "../metadata/metadata.ts";
import type { RegistryClient } from "../remote/registry-client.ts";
import type { DiffHasher } from "../snapshot/diff/diff-hasher.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { Unpacker } from "../snapshot/unpack/unpack-client.ts";
import type { DistributionRecords } from "./distribution/distribution-records.ts";
import type { ImageIndex } from "./image-index.ts";
import type { ImagePolicy } from "./image-policy.ts";
import type { ImageUsers } from "./image-service.ts";
import type { SignatureStore } from "./trust/signatures.ts";

/** What the image service needs. */
export interface ImageServiceOptions {
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
  readonly unpacker: Unpacker;
  /** For commits; each has a helper of its own when absent. */
  readonly hasher?: DiffHasher;
  readonly metadata: Metadata;
  readonly leases: Leases;
  readonly events: EventBus;
  readonly logger: Logger;
  /** For pull, push and all that asks registries. */
  readonly registry?: RegistryClient;
  /** Who may come in and run; everybody when absent. */
  readonly policy?: ImagePolicy;
  /** What a push stores beside an image; nothing when absent. */
  readonly signatures?: Pick<SignatureStore, "list" | "push">;
}

/** What the parts of this folder share. */
export interface ImageContext extends ImageServiceOptions {
  readonly index: ImageIndex;
  readonly distribution: DistributionRecords;
  /** Who uses images; nobody until `useUsers`. */
  readonly users: () => ImageUsers;
  /**
   * Work that makes blobs and snapshots not yet held by an image, or goes on with such that are. The
   * collector does not wait for it: it adds to its lease what it makes before that can be seen, and
   * what it finds before it looks.
   */
  readonly making: <T>(work: (leaseId: string) => Promise<T>) => Promise<T>;
  /** Removes what nothing needs any more. */
  readonly collect: () => Promise<number>;
}
