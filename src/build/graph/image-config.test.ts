import { describe, expect, test } from "bun:test";
import { digestOf } from "../../oci/digest.ts";
import { imageIdOf, makeImageConfig } from "./image-config.ts";
import { StageImage } from "./stage-image.ts";
import type { BuiltLayer } from "../step.ts";

const platform = { os: "linux", architecture: "arm64", variant: "v8" };
const atS = (second: number): string => String(BigInt(second) * 1_000_000_000n);
const made = (name: string, second: number): BuiltLayer => ({
  diffId: digestOf(name),
  chainId: digestOf(`chain ${name}`),
  sizeBytes: 1,
  tarSizeBytes: 1024,
  createdNs: atS(second),
});

function draft(): StageImage {
  const image = new StageImage(platform, {
    architecture: "arm64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [digestOf("base")] },
    history: [{ created: "2001-01-01T00:00:00Z", created_by: "base" }],
  });
  image.note("ENV first", { hasLayer: false });
  image.note("RUN one", { hasLayer: true });
  image.note("CMD between", { hasLayer: false });
  image.note("RUN two", { hasLayer: true });
  image.note("CMD last", { hasLayer: false });
  return image;
}

const baseLayer: BuiltLayer = {
  digest: digestOf("packed"),
  diffId: digestOf("base"),
  chainId: digestOf("base"),
  sizeBytes: 10,
  unpackedSizeBytes: 20,
  mediaType: "application/vnd.oci.image.layer.v1.tar",
};
const layers = [baseLayer, made("one", 1_600_000_000), made("two", 1_600_000_060)];

describe("makeImageConfig()", () => {
  test("entries get the time of their layer, or of the one before them, or of the first", () => {
    const { history = [], created } = makeImageConfig(draft(), { layers });
    expect(history.map((entry) => entry.created)).toEqual([
      "2001-01-01T00:00:00Z",
      "2020-09-13T12:26:40Z",
      "2020-09-13T12:26:40Z",
      "2020-09-13T12:26:40Z",
      "2020-09-13T12:27:40Z",
      "2020-09-13T12:27:40Z",
    ]);
    expect(created).toBe("2020-09-13T12:27:40Z");
  });

  test("an epoch is the time of the image and clamps what is later", () => {
    const config = makeImageConfig(draft(), { layers, epochS: 1_600_000_000 });
    expect(config.created).toBe("2020-09-13T12:26:40Z");
    expect(config.history?.map((entry) => entry.created)).toEqual([
      "2001-01-01T00:00:00Z",
      ...Array.from({ length: 5 }, () => "2020-09-13T12:26:40Z"),
    ]);
  });

  test("the same layers give the same image", () => {
    const id = imageIdOf(makeImageConfig(draft(), { layers }));
    expect(imageIdOf(makeImageConfig(draft(), { layers }))).toBe(id);
  });

  test("an image without any layer has no time", () => {
    const image = new StageImage(platform);
    image.note("ENV a", { hasLayer: false });
    const config = makeImageConfig(image, { layers: [] });
    expect(config.created).toBeUndefined();
    expect(config.history).toEqual([
      { created_by: "ENV a", comment: "buildkit.dockerfile.v0", empty_layer: true },
    ]);
  });

  test("tells platform and layers", () => {
    const config = makeImageConfig(draft(), { layers });
    expect([config.os, config.architecture, config.variant]).toEqual(["linux", "arm64", "v8"]);
    expect(config.rootfs.diff_ids).toEqual(layers.map(({ diffId }) => diffId));
  });
});
