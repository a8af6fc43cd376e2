import { beforeEach, describe, expect, test } from "bun:test";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeIndex } from "../../oci/manifest.ts";
import { dockerMediaTypes, ociMediaTypes } from "../../oci/media-types.ts";
import { createManifestService, type ManifestService } from "./manifests.ts";
import { makeMemoryRegistry, type MemoryRegistry } from "./memory-registry.ts";

const layer = Buffer.from("a layer");
let registry: MemoryRegistry;
let manifests: ManifestService;

beforeEach(() => {
  registry = makeMemoryRegistry();
  manifests = createManifestService(registry);
});

const image = (name: string, architecture: string) => ({
  ...registry.putImage(name, {
    layers: [layer],
    diffIds: [digestOf(layer)],
    config: { architecture },
  }),
  platform: { os: "linux", architecture },
});

const indexOf = (...entries: readonly ReturnType<typeof image>[]) => {
  const mediaType = ociMediaTypes.index;
  return { mediaType, bytes: encodeIndex({ schemaVersion: 2, mediaType, manifests: entries }) };
};

/** What the repository has of what it ought to have. */
const has = (name: string, digest: Digest): boolean =>
  registry.repository(name).manifests.has(digest);

describe("put()", () => {
  test("an index whose manifests are there is stored as it is", async () => {
    const index = indexOf(image("reg.test/app", "amd64"), image("reg.test/app", "arm64"));
    expect(await manifests.put("reg.test/app:1", index)).toBe(digestOf(index.bytes));
    expect(registry.repository("reg.test/app").tags.get("1")).toBe(digestOf(index.bytes));
    expect(registry.requests).toEqual(["push manifest app"]);
  });

  test("manifests of other repositories are brought with their blobs, by mounts", async () => {
    const [amd, arm] = [image("reg.test/amd", "amd64"), image("reg.test/arm", "arm64")];
    const sources = ["reg.test/amd:1", `reg.test/arm@${arm.digest}`];
    await manifests.put("reg.test/app:1", { ...indexOf(amd, arm), sources });
    const target = registry.repository("reg.test/app");
    expect([has("reg.test/app", amd.digest), has("reg.test/app", arm.digest)]).toEqual([
      true,
      true,
    ]);
    expect(target.blobs.has(digestOf(layer))).toBe(true);
    for (const { digest } of [amd, arm]) {
      const { config } = JSON.parse(
        Buffer.from(target.manifests.get(digest)?.bytes ?? []).toString(),
      ) as { config: { digest: string } };
      expect(target.blobs.has(config.digest)).toBe(true);
    }
    // No bytes of blobs went through: the registry was asked to mount them.
    expect(registry.requests.filter((line) => line.startsWith("push app"))).toEqual([]);
    expect(registry.requests.at(-1)).toBe("push manifest app");
  });

  test("what neither the repository nor a source has is refused, and nothing is stored", async () => {
    const index = indexOf(image("reg.test/elsewhere", "amd64"));
    for (const sources of [[], ["reg.test/other"]]) {
      await expect(manifests.put("reg.test/app:1", { ...index, sources })).rejects.toMatchObject({
        kind: "not-found",
      });
    }
    expect(registry.repository("reg.test/app").tags.size).toBe(0);
  });

  test("sources of another registry are refused in Docker's words", async () => {
    const index = indexOf(image("reg.test/app", "amd64"));
    await expect(
      manifests.put("reg.test/app:1", { ...index, sources: ["other.test/app"] }),
    ).rejects.toThrow(
      "cannot use source images from a different registry than the target image: other.test != reg.test",
    );
    expect(registry.requests).toEqual([]);
  });

  test("a registry that mounts nothing is told, and nothing is stored", async () => {
    const { pushBlob } = registry;
    registry.pushBlob = async (reference, options) =>
      await pushBlob(reference, { ...options, mountFrom: [] });
    const index = indexOf(image("reg.test/from", "amd64"));
    await expect(
      manifests.put("reg.test/app:1", { ...index, sources: ["reg.test/from"] }),
    ).rejects.toMatchObject({ kind: "not-implemented" });
    expect(registry.repository("reg.test/app").manifests.size).toBe(0);
  });

  test("an index in an index of another repository is not followed", async () => {
    const inner = indexOf(image("reg.test/from", "amd64"));
    const put = registry.putDocument("reg.test/from", inner.mediaType, inner.bytes);
    const outer = indexOf({ ...put, platform: { os: "linux", architecture: "amd64" } });
    await expect(
      manifests.put("reg.test/app:1", { ...outer, sources: ["reg.test/from"] }),
    ).rejects.toThrow(`reg.test/from@${put.digest} is a manifest list`);
  });

  test.each(["", "{}", "[]", '{"schemaVersion":1}', "\u0000"])(
    "%p is no manifest",
    async (text) => {
      const bytes = Buffer.from(text);
      const mediaType = dockerMediaTypes.manifest;
      await expect(manifests.put("reg.test/app:1", { mediaType, bytes })).rejects.toMatchObject({
        kind: "invalid-argument",
      });
      expect(registry.requests).toEqual([]);
    },
  );
});

test("get() and listTags() tell what the registry has", async () => {
  const { digest } = image("reg.test/app", "amd64");
  registry.putTag("reg.test/app:1", digest);
  registry.putTag("reg.test/app:2", digest);
  expect((await manifests.get("reg.test/app:1", {})).descriptor.digest).toBe(digest);
  expect(await manifests.listTags("reg.test/app", {})).toEqual(["1", "2"]);
  await expect(manifests.get("reg.test/app", {})).rejects.toMatchObject({ kind: "not-found" });
});
