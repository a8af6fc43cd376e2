import { describe, expect, test } from "bun:test";
import type { DiskUsageType } from "../api/system.ts";
import { createDiskUsage } from "./disk-usage.ts";

const image = {
  Containers: 0,
  Created: 1,
  Id: "sha256:1",
  Labels: null,
  ParentId: "",
  RepoDigests: [],
  RepoTags: ["a:1"],
  SharedSize: 1,
  Size: 3,
};

function sources(): Parameters<typeof createDiskUsage>[0] & { asked: string[] } {
  const asked: string[] = [];
  const tell = async <T>(name: string, value: T): Promise<T> => {
    asked.push(name);
    await Promise.resolve();
    return value;
  };
  return {
    asked,
    images: { layersSizeBytes: 7, list: () => tell("images", [image]) },
    containers: { list: () => tell("containers", []) },
    volumes: { usage: () => tell("volumes", []) },
  };
}

describe("createDiskUsage()", () => {
  test("measures what is asked for, the rest is null", async () => {
    const from = sources();
    const usage = createDiskUsage(from);
    expect(await usage(new Set<DiskUsageType>(["volume"]))).toEqual({
      LayersSize: 0,
      Images: null,
      Containers: null,
      Volumes: [],
      BuildCache: null,
    });
    expect(from.asked).toEqual(["volumes"]);
  });

  test("tells images without names as Docker does, and no cache where nothing is built", async () => {
    const usage = createDiskUsage(sources());
    const told = await usage(new Set<DiskUsageType>(["image", "build-cache"]));
    expect(told.LayersSize).toBe(7);
    expect(told.Images).toEqual([{ ...image, RepoDigests: null }]);
    expect(told.BuildCache).toEqual([]);
  });

  test("who asks meanwhile gets the measurement under way, who asks later a new one", async () => {
    const from = sources();
    const usage = createDiskUsage(from);
    const types = new Set<DiskUsageType>(["container"]);
    await Promise.all([usage(types), usage(types)]);
    expect(from.asked).toEqual(["containers"]);
    await usage(types);
    expect(from.asked).toEqual(["containers", "containers"]);
  });

  test("tells a record of the build cache", async () => {
    const record = {
      id: "x",
      parents: ["y"],
      type: "regular" as const,
      description: "RUN make",
      isInUse: true,
      isShared: false,
      sizeBytes: 5,
      createdNs: "1000000000",
      usageCount: 2,
    };
    const usage = createDiskUsage({ ...sources(), build: { diskUsage: async () => [record] } });
    expect((await usage(new Set<DiskUsageType>(["build-cache"]))).BuildCache).toEqual([
      {
        ID: "x",
        " Parents": ["y"],
        Type: "regular",
        Description: "RUN make",
        InUse: true,
        Shared: false,
        Size: 5,
        CreatedAt: "1970-01-01T00:00:01Z",
        LastUsedAt: null,
        UsageCount: 2,
      },
    ]);
  });
});
