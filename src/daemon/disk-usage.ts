/** What the engine's data takes on the disk, as `system df` tells it. */
import type { ImageSummary } from "../api/image.ts";
import type { BuildCacheRecord, DiskUsageType, SystemDiskUsage } from "../api/system.ts";
import type { BuildService, CacheRecord } from "../build/build-service.ts";
import type { ContainerService } from "../container/container-service.ts";
import type { ImageService } from "../image/image-service.ts";
import { formatTime } from "../lib/time.ts";
import type { VolumeService } from "../volume/volume-service.ts";

/** Whom to ask. */
export interface DiskUsageSources {
  readonly images: Pick<ImageService, "list" | "layersSizeBytes">;
  readonly containers: Pick<ContainerService, "list">;
  readonly volumes: Pick<VolumeService, "usage">;
  /** Absent: nothing is built here. */
  readonly build?: Pick<BuildService, "diskUsage">;
}

/** Measures what is asked for; the rest is null. */
export type DiskUsage = (types: ReadonlySet<DiskUsageType>) => Promise<SystemDiskUsage>;

/**
 * Makes the function that measures. It reads every file of containers and volumes: who asks while
 * one measurement of a kind is under way gets its result.
 */
export function createDiskUsage(sources: DiskUsageSources): DiskUsage {
  const images = shared(async () => ({
    layersSizeBytes: sources.images.layersSizeBytes,
    list: (await sources.images.list({ sharedSize: true })).map(withoutEmptyNames),
  }));
  const containers = shared(() =>
    sources.containers.list({ all: true, size: true, filters: new Map() }),
  );
  const volumes = shared(() => sources.volumes.usage());
  const cache = shared(async () => ((await sources.build?.diskUsage()) ?? []).map(cacheRecordOf));
  return async (types) => {
    const [imageUsage, containerUsage, volumeUsage, cacheUsage] = await Promise.all([
      types.has("image") ? images() : undefined,
      types.has("container") ? containers() : undefined,
      types.has("volume") ? volumes() : undefined,
      types.has("build-cache") ? cache() : undefined,
    ]);
    return {
      LayersSize: imageUsage?.layersSizeBytes ?? 0,
      Images: imageUsage?.list ?? null,
      Containers: containerUsage ?? null,
      Volumes: volumeUsage ?? null,
      BuildCache: cacheUsage ?? null,
    };
  };
}

function shared<T>(measure: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= measure().finally(() => {
      running = undefined;
    });
    return running;
  };
}

/** Docker: no names are null here, seen in 28.5. */
function withoutEmptyNames(image: ImageSummary): NonNullable<SystemDiskUsage["Images"]>[number] {
  const { RepoTags: tags, RepoDigests: digests } = image;
  return {
    ...image,
    RepoTags: tags.length === 0 ? null : tags,
    RepoDigests: digests.length === 0 ? null : digests,
  };
}

function cacheRecordOf(record: CacheRecord): BuildCacheRecord {
  const { lastUsedNs } = record;
  return {
    ID: record.id,
    ...(record.parents.length === 0 ? {} : { " Parents": record.parents }),
    Type: record.type,
    Description: record.description,
    InUse: record.isInUse,
    Shared: record.isShared,
    Size: record.sizeBytes,
    CreatedAt: formatTime(BigInt(record.createdNs)),
    LastUsedAt: lastUsedNs === undefined ? null : formatTime(BigInt(lastUsedNs)),
    UsageCount: record.usageCount,
  };
}
