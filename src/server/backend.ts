/**
 * What the HTTP adapter needs from the engine. The domain services satisfy it structurally, so that
 * there is no adapter code and no cycle.
 */
import type { BuildService } from "../build/build-service.ts";
import type { Buildkit } from "../build/control/buildkit.ts";
import type { EventBus } from "../event/event-bus.ts";
import type { ImageService } from "../image/image-service.ts";
import type { ContainerService } from "../container/container-service.ts";
import type { ManifestService } from "../image/distribution/manifests.ts";
import type { TrustService } from "../image/trust/trust-service.ts";
import type { NetworkService } from "../network/network-service.ts";
import type { VolumeService } from "../volume/volume-service.ts";
import type { DiskUsageType, SystemDiskUsage, SystemInfo, SystemVersion } from "../api/system.ts";

/** Facts about the engine and the machine. */
export interface SystemBackend {
  info(): Promise<SystemInfo>;
  version(): SystemVersion;
  /** Of the kinds asked for; the rest is null. Reads every file of containers and volumes. */
  diskUsage(types: ReadonlySet<DiskUsageType>): Promise<SystemDiskUsage>;
}

/** Everything that routes are served from. */
export interface Backend {
  readonly containers: ContainerService;
  readonly images: ImageService;
  readonly builds: BuildService;
  /** BuildKit's protocol; loaded when somebody first speaks it. */
  readonly buildkit: () => Promise<
    Pick<Buildkit, "checkSession" | "acceptSession" | "acceptCalls" | "openClient" | "openTrace">
  >;
  readonly trust: TrustService;
  readonly manifests: ManifestService;
  readonly volumes: VolumeService;
  readonly networks: Pick<NetworkService, "list" | "inspect">;
  readonly events: EventBus;
  readonly system: SystemBackend;
}
