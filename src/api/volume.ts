/**
 * Volumes on the wire.
 *
 * @see Engine API v1.51, tag Volume
 */
import type { StringMap } from "./container-config.ts";

/** @see Engine API v1.51, Volume.UsageData */
export interface VolumeUsageData {
  /** Bytes; -1 when unknown. */
  readonly Size: number;
  /** Containers that name it; -1 when unknown. */
  readonly RefCount: number;
}

/** @see Engine API v1.51, Volume */
export interface Volume {
  readonly CreatedAt?: string;
  readonly Driver: string;
  readonly Labels: StringMap | null;
  readonly Mountpoint: string;
  readonly Name: string;
  readonly Options: StringMap | null;
  readonly Scope: string;
  readonly Status?: Readonly<Record<string, unknown>>;
  readonly UsageData?: VolumeUsageData;
}

/**
 * A decoded body of `POST /volumes/create`.
 *
 * @see Engine API v1.51, VolumeCreateOptions
 */
export interface VolumeCreateOptions {
  readonly Name: string;
  readonly Driver: string;
  readonly DriverOpts: StringMap | null;
  readonly Labels: StringMap | null;
  /** Only for cluster volumes; kept undecoded so that it can be refused by name. */
  readonly ClusterVolumeSpec?: unknown;
}

/** The same body as a client may send it. */
export type VolumeCreateRequest = Partial<VolumeCreateOptions>;

/** @see Engine API v1.51, VolumeListResponse */
export interface VolumeListResponse {
  readonly Volumes: readonly Volume[];
  readonly Warnings: readonly string[] | null;
}

/** @see Engine API v1.51, VolumePruneResponse */
export interface VolumePruneResponse {
  readonly VolumesDeleted: readonly string[] | null;
  /** Bytes. */
  readonly SpaceReclaimed: number;
}
