/**
 * Pulls, cancels, removals and prunes of images that share layers, all at once, by a seed.
 *
 * Covers what the collector may take and may not. Does not cover a crash in between.
 */
import { expect, test } from "bun:test";
import { isKind } from "../../lib/errors.ts";
import { makeLayer, openTestImages, type TestImages } from "../test-images.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log("skipped: images are unpacked by root only");

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const workerCount = 4;
const stepCount = 25;

function randomOf(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

/** Images of three layers each; neighbours share some of them. @returns their names */
function publish(t: TestImages): readonly string[] {
  const layers = Array.from({ length: 5 }, (_, at) => makeLayer(`layer${at}`, 1_500));
  return [0, 1, 2].map((at) => {
    const own = layers.slice(at, at + 3);
    const image = t.registry.putImage("reg.test/race", {
      layers: own.map((layer) => layer.packed),
      diffIds: own.map((layer) => layer.diffId),
    });
    t.registry.putTag(`reg.test/race:${at}`, image.digest);
    return `reg.test/race:${at}`;
  });
}

/** One step of one worker; what may fail because of another worker does. */
async function step(
  t: TestImages,
  { name, what, ms }: { readonly name: string; readonly what: number; readonly ms: number },
): Promise<void> {
  const { images, progress } = t;
  try {
    if (what < 4) await images.pull(name, { progress });
    else if (what < 6) await images.pull(name, { progress, signal: AbortSignal.timeout(ms) });
    else if (what < 8) await images.remove(name, { force: true });
    else if (what === 8) await images.prune(new Map([["dangling", ["false"]]]));
    else await images.push(name, { progress });
  } catch (error) {
    if (!isKind(error, "not-found", "canceled")) throw error;
  }
}

test.skipIf(!isRoot)(
  `images are whole after pulls, removals and prunes at once (TUG_TEST_SEED=${seed})`,
  async () => {
    const t = await openTestImages();
    try {
      const names = publish(t);
      const random = randomOf(seed);
      t.registry.onBlob = async () => await Bun.sleep(random(3));
      const worker = async (): Promise<void> => {
        for (let at = 0; at < stepCount; at += 1) {
          const name = names[random(names.length)] ?? "";
          await step(t, { name, what: random(10), ms: random(60) });
        }
      };
      await Promise.all(Array.from({ length: workerCount }, worker));
      for (const { Id, RepoTags } of await t.images.list({ all: true })) {
        const { chainId } = await t.images.resolve(Id);
        expect(t.hasSnapshot(chainId ?? ""), `${RepoTags} has its file system`).toBe(true);
        for (const tag of RepoTags) await t.images.push(tag, { progress: t.progress });
      }
      for (const name of names) await t.images.pull(name, { progress: t.progress });
      await t.images.prune(new Map([["dangling", ["false"]]]));
      expect(t.images.count).toBe(0);
      expect(await t.blobs()).toEqual([]);
      expect(t.snapshotCount()).toBe(0);
    } finally {
      t.close();
    }
  },
  30_000,
);
