/** Indexes with attestations, as BuildKit pushes them by default. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { parsePlatform } from "../../oci/platform.ts";
import { makeLayer, openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

const low = makeLayer("low");
const name = "reg.test/app:1";

let t: TestImages;
const pull = async (reference = name, platform = "linux/amd64"): Promise<Digest> =>
  await t.images.pull(reference, { progress: t.progress, platform: parsePlatform(platform) });

const blobs = async (): Promise<readonly string[]> => await t.blobs();

interface Attested {
  readonly index: Digest;
  /** Of each image: its attestation's manifest, and the statement in it. */
  readonly attestations: readonly { readonly manifest: Digest; readonly statement: Digest }[];
}

/** Puts an index of images for platforms, each with an attestation. */
function putAttested(
  architectures: readonly string[],
  changes: { readonly size?: number } = {},
): Attested {
  const attestations: { manifest: Digest; statement: Digest }[] = [];
  const manifests: Descriptor[] = [];
  const there = t.registry.repository("reg.test/app").blobs;
  for (const architecture of architectures) {
    const image = t.registry.putImage("reg.test/app", {
      ...{ layers: [low.packed], diffIds: [low.diffId], config: { architecture } },
    });
    const text = Buffer.from(JSON.stringify({ predicateType: "https://x", of: architecture }));
    const statement = digestOf(text);
    there.set(statement, text);
    const attestation = t.registry.putImage("reg.test/app", {
      ...{ layers: [], diffIds: [], config: { architecture: "unknown", os: "unknown" } },
      manifest: {
        layers: [
          {
            mediaType: "application/vnd.in-toto+json",
            ...{ digest: statement, size: changes.size ?? text.length },
          },
        ],
      },
    });
    attestations.push({ manifest: attestation.digest, statement });
    const annotations = {
      "vnd.docker.reference.type": "attestation-manifest",
      "vnd.docker.reference.digest": image.digest,
    };
    const platform = { os: "unknown", architecture: "unknown" };
    manifests.push({ ...image, platform: { os: "linux", architecture } });
    manifests.push({ ...attestation, platform, annotations });
  }
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: ociMediaTypes.index, manifests }),
  );
  const { digest } = t.registry.putDocument("reg.test/app", ociMediaTypes.index, bytes);
  t.registry.putTag(name, digest);
  return { index: digest, attestations };
}

async function pushElsewhere(): Promise<Digest | undefined> {
  await t.images.tag(name, { repo: "other.test/copy", tag: "1" });
  await t.images.push("other.test/copy:1", { progress: () => undefined });
  return t.registry.repository("other.test/copy").tags.get("1");
}

describe.skipIf(!isRoot)("attestations in an index", () => {
  beforeEach(async () => {
    t = await openTestImages();
  });
  afterEach(() => t.close());

  test("come with their image, and go elsewhere bit for bit", async () => {
    const { index, attestations } = putAttested(["amd64"]);
    await pull();
    await t.images.prune(new Map());
    const [attestation] = attestations;
    expect(await blobs()).toContain(attestation?.statement ?? "");
    expect(await pushElsewhere()).toBe(index);
    const there = t.registry.repository("other.test/copy");
    expect(there.manifests.has(attestation?.manifest ?? "")).toBe(true);
    expect(there.blobs.has(attestation?.statement ?? "")).toBe(true);
    // Of an image that is here nothing is fetched but what its name stands for.
    t.registry.requests.length = 0;
    await pull();
    expect(t.registry.requests.filter((line) => line.startsWith("fetch"))).toEqual([]);
    await t.images.remove(name, { force: true });
    await t.images.remove("other.test/copy:1", { force: true });
    expect(await blobs()).toEqual([]);
  });

  test("are those of the platforms that were pulled; the last makes the index whole", async () => {
    const { index, attestations } = putAttested(["amd64", "arm64"]);
    await pull(name, "linux/amd64");
    const [first, second] = attestations.map(({ statement }) => statement);
    expect(await blobs()).toContain(first ?? "");
    expect(await blobs()).not.toContain(second ?? "");
    expect(await pushElsewhere()).not.toBe(index);
    await pull(name, "linux/arm64");
    await t.images.prune(new Map());
    expect(await blobs()).toContain(first ?? "");
    expect(await pushElsewhere()).toBe(index);
  });

  test("that do not come, or are too large, are done without", async () => {
    const { attestations } = putAttested(["amd64"]);
    t.registry.repository("reg.test/app").blobs.delete(attestations[0]?.statement ?? "");
    expect(await pull()).toMatch(/^sha256:/);
    expect((await t.images.inspect(name)).RepoTags).toEqual([name]);
    putAttested(["amd64"], { size: 1024 ** 3 });
    expect(await pull()).toMatch(/^sha256:/);
    expect(t.registry.requests.filter((line) => line.startsWith("fetch")).length).toBeLessThan(5);
  });

  test("that stall keep no pull from its end", async () => {
    const { index, attestations } = putAttested(["amd64"]);
    t.registry.onBlob = async (digest, signal) => {
      if (digest !== attestations[0]?.statement) return;
      await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    };
    const startMs = performance.now();
    expect(await pull()).toMatch(/^sha256:/);
    expect(performance.now() - startMs).toBeLessThan(4_000);
    // The next goes on with them.
    t.registry.onBlob = () => undefined;
    await pull();
    expect(await pushElsewhere()).toBe(index);
  });

  test("are given up with a pull that fails", async () => {
    putAttested(["amd64"]);
    t.registry.onBlob = async (digest) => {
      if (digest === digestOf(low.packed)) throw new EngineError("unavailable", "gone");
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await expect(pull()).rejects.toThrow("gone");
    await t.images.prune(new Map());
    await expect(t.images.inspect(name)).rejects.toMatchObject({ kind: "not-found" });
  });
});
