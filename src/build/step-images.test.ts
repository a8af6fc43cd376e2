import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ImageDraft } from "../image/image-service.ts";
import { EngineError } from "../lib/errors.ts";
import { silentLogger } from "../lib/log.ts";
import { digestOf } from "../oci/digest.ts";
import { familiarString } from "../oci/reference.ts";
import { type StepImage, StepImages } from "./step-images.ts";

let root: string;
let images: Map<string, ImageDraft>;
let snapshots: Set<string>;
let steps: StepImages;
let leaseCount: number;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tug-steps-"));
  images = new Map();
  snapshots = new Set([digestOf("one"), digestOf("two")]);
  leaseCount = 0;
  steps = new StepImages({
    root: join(root, "steps"),
    images: {
      create: async (draft) => {
        for (const name of draft.names) images.set(familiarString(name), draft);
        const id = digestOf(JSON.stringify(draft.config));
        return await Promise.resolve({ id, manifestDigest: id, layers: [] });
      },
      remove: async (name) => {
        if (!images.delete(name)) throw new EngineError("not-found", `No such image: ${name}`);
        return await Promise.resolve([]);
      },
    },
    snapshots: {
      find: (key) => (snapshots.has(key) ? ({ key, kind: "committed" } as never) : undefined),
    },
    leases: {
      create: () => {
        leaseCount += 1;
        return "lease";
      },
      add: () => undefined,
      remove: () => {
        leaseCount -= 1;
      },
    } as never,
    logger: silentLogger,
  });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function step(number: number, layer: string): StepImage {
  const diffId = digestOf(layer);
  const layers = [{ chainId: diffId, diffId, tarSizeBytes: 1, sizeBytes: 1, createdNs: "1" }];
  return {
    number,
    text: `RUN ${layer}`,
    config: { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [diffId] } },
    layers,
  };
}

describe("StepImages", () => {
  test.each([
    ["app", "step/app:2"],
    ["app:v1", "step/app:v1-2"],
    ["team/app:latest", "step/team/app:2"],
    ["localhost:5000/team/app", "step/localhost_5000/team/app:2"],
    ["example.com/app:3", "step/example.com/app:3-2"],
    [digestOf("image"), `step/${digestOf("image").slice(7, 19)}:2`],
  ])("finds the steps of %s as %s", async (name, found) => {
    const names = await steps.note([name], [step(1, "one"), step(2, "two")]);
    expect(names[1]).toBe(found);
    expect(await steps.make(found)).toBe(true);
    expect(images.get(found)?.layers[0]?.diffId).toBe(digestOf("two"));
    expect(leaseCount).toBe(0);
  });

  test.each([
    "step/app:3",
    "step/app",
    "step/app:x",
    "step/app:v2-1",
    "step/other:1",
    "app:1",
    "example.com/step/app:1",
    "step/app:99999",
    "Not A Reference",
    digestOf("x"),
  ])("knows nothing of %s", async (name) => {
    await steps.note(["app"], [step(1, "one")]);
    expect(await steps.make(name)).toBe(false);
  });

  test("a new build takes the names of other results away, and leaves those that are the same", async () => {
    await steps.note(["app", "app:2"], [step(1, "one"), step(2, "two")]);
    for (const name of ["step/app:1", "step/app:2", "step/app:2-2"]) await steps.make(name);
    await steps.note(["app"], [step(1, "one"), step(2, "one")]);
    expect([...images.keys()]).toEqual(["step/app:1", "step/app:2-2"]);
  });

  test("says when a layer is not in the cache any more", async () => {
    await steps.note(["app"], [step(1, "one")]);
    snapshots.clear();
    await expect(steps.make("step/app:1")).rejects.toMatchObject({
      kind: "not-found",
      message: expect.stringContaining("not in the build cache any more"),
    });
    expect(leaseCount).toBe(0);
  });

  test("a record that is broken is none", async () => {
    await steps.note(["app"], [step(1, "one")]);
    const [file = ""] = readdirSync(join(root, "steps"));
    for (const bytes of ["", "x", Bun.gzipSync("{}"), Bun.gzipSync('{"steps":[{}]}')]) {
      writeFileSync(join(root, "steps", file), bytes);
      expect(await steps.make("step/app:1")).toBe(false);
    }
    await steps.note(["app"], [step(1, "two")]);
    expect(await steps.make("step/app:1")).toBe(true);
  });
});
