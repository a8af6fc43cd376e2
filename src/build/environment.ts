/** What everything of a builder works with. */
import type { ContentStore } from "../content/content-store.ts";
import type { ImageService } from "../image/image-service.ts";
import type { Logger } from "../lib/log.ts";
import type { Leases } from "../metadata/leases.ts";
import type { Metadata } from "../metadata/metadata.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { SeccompPrograms } from "../runtime/seccomp/seccomp-programs.ts";
import type { ShimPool } from "../runtime/shim.ts";
import type { HostFacts } from "../runtime/spec/host-facts.ts";
import type { DiffHasher } from "../snapshot/diff/diff-hasher.ts";
import type { Unpacker } from "../snapshot/unpack/unpack-client.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { RegistryClient } from "../remote/registry-client.ts";
import type { BuildRequest } from "./build-service.ts";
import type { Copier } from "./copy/copy.ts";
import type { Progress } from "./progress/progress.ts";
import type { Sources } from "./source/source.ts";

/** One build under way. */
export interface BuildWork {
  readonly request: BuildRequest;
  /** Who is told how it goes on. */
  readonly progress: Progress;
  /** Holds what it uses until it is done. */
  readonly leaseId: string;
  /** Fires when it is over, whatever the reason. */
  readonly signal: AbortSignal;
}

/** What the engine decides for all steps; asked anew each time. */
export interface StepDefaults {
  /** The OCI runtime of steps. */
  readonly runtimes: Readonly<
    Record<string, { readonly path: string; readonly args: readonly string[] }>
  >;
  readonly defaultRuntime: string;
  /** Absolute path of the cgroup above those of steps. */
  readonly cgroupParent: string;
  /** Bytes of /dev/shm; the kernel's usual 64 MiB when absent. */
  readonly shmSizeBytes?: number;
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly hasNoNewPrivileges?: boolean;
}

/** What a builder needs of the engine. */
export interface BuildServiceOptions {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly metadata: Metadata;
  readonly leases: Leases;
  readonly content: ContentStore;
  readonly snapshots: Snapshotter;
  readonly images: ImageService;
  readonly shims: ShimPool;
  readonly networks: NetworkService;
  readonly host: HostFacts;
  readonly seccompPrograms?: SeccompPrograms;
  readonly defaults: StepDefaults;
  readonly copier: Copier;
  readonly hasher: DiffHasher;
  readonly sources: Sources;
  readonly registry: RegistryClient;
  /** Unpacks layers that come from a cache elsewhere. */
  readonly unpacker: Unpacker;
  readonly logger: Logger;
  /** Removes containers by a label, with a value or with any. */
  readonly removeContainers?: (label: string, value?: string) => Promise<void>;
  /** Bytes that the cache may keep; the least recently used goes first. */
  readonly cacheMaxBytes?: number;
}
