/**
 * Power cuts while images are loaded, imported, built, tagged and removed at once. What was acknowledged
 * holds, and every image that is there is whole: its files as a container reads them, and its blobs as they
 * leave the machine. Seed: TUG_TEST_SEED.
 */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { busyboxEntries, dockerArchive } from "../support/images.ts";
import { at, listAt } from "../support/json.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { until } from "../support/process.ts";
import { createRandom } from "../support/random.ts";
import { damagedBlobs } from "../support/saved-blobs.ts";
import { tar } from "../support/tar.ts";

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 4);
const lack = referenceHost === undefined ? loopDiskLack() : "it is not our own daemon";
if (lack !== undefined) console.warn(`skipped: ${lack}`);
const mebibyte = 1024 * 1024;
const noiseBytes = 300_000;
const cutMaxMs = 700;
/** A client rests between two requests, so that there are not more images than can be looked at. */
const pauseMaxMs = 60;
const testMaxMs = 180_000;

/** What a name is to be after a cut: the sum of its noise, or absent. "either" while a request is out. */
interface Fate {
  readonly sum: string;
  readonly state: "there" | "gone" | "either";
}

const random = createRandom(seed);
const base = [...busyboxEntries()];
let nameCount = 0;

function freshName(kind: string): string {
  nameCount += 1;
  return `${kind}${nameCount}:1`;
}

function makeNoise(): { readonly bytes: Buffer; readonly sum: string } {
  const bytes = Buffer.alloc(noiseBytes);
  for (let index = 0; index < noiseBytes; index += 4) {
    bytes.writeUInt32LE(random.below(2 ** 32), index);
  }
  return { bytes, sum: createHash("sha1").update(bytes).digest("hex") };
}

/** Clients that go on until the daemon is gone, and what they were told. */
class Clients {
  readonly fates = new Map<string, Fate>();
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Ends when the daemon no longer answers; who has nothing to ask for, by `isOver`. */
  async work(isOver: () => boolean): Promise<void> {
    const kinds = [this.#load, this.#import, this.#build, this.#tag, this.#remove];
    await Promise.all(
      kinds.map(async (once) => {
        while (!isOver()) {
          await Bun.sleep(random.below(pauseMaxMs));
          try {
            await once();
          } catch (error) {
            if (error instanceof Error) return;
            throw error;
          }
        }
      }),
    );
  }

  /** Asks for images to be made; their names hold once the answer has said so. */
  async #make(names: readonly string[], sum: string, ask: () => Promise<string>): Promise<void> {
    for (const name of names) this.fates.set(name, { sum, state: "either" });
    const said = await ask();
    // An engine that is cut off may still say why.
    if (/"error/.test(said)) return;
    for (const name of names) this.fates.set(name, { sum, state: "there" });
  }

  readonly #load = async (): Promise<void> => {
    const { bytes, sum } = makeNoise();
    const tags = [freshName("load"), freshName("twin")];
    const layers = [tar(base), tar([{ name: "noise", content: bytes }])];
    const headers = { "Content-Type": "application/x-tar" };
    await this.#make(tags, sum, async () => {
      const archive = dockerArchive({ tags, layers });
      const { text } = await this.#engine.api("POST", "/images/load", archive, { headers });
      return tags.every((tag) => text.includes(`Loaded image: ${tag}`)) ? text : '"error';
    });
  };

  readonly #import = async (): Promise<void> => {
    const { bytes, sum } = makeNoise();
    const name = freshName("import");
    await this.#make([name], sum, async () => {
      const archive = tar([...base, { name: "noise", content: bytes }]);
      await this.#engine.importImage(name, { archive });
      return "";
    });
  };

  readonly #build = async (): Promise<void> => {
    const { bytes, sum } = makeNoise();
    const name = freshName("build");
    const context = tar([
      { name: "Dockerfile", content: "FROM base:1\nCOPY noise /noise\nRUN true\n" },
      { name: "noise", content: bytes },
    ]);
    const headers = { "Content-Type": "application/x-tar" };
    await this.#make([name], sum, async () => {
      const { text } = await this.#engine.api("POST", `/build?t=${name}`, context, { headers });
      return text.includes("Successfully tagged") ? text : '"error';
    });
  };

  #any(): readonly [string, Fate] | undefined {
    const there = [...this.fates].filter(([, { state }]) => state === "there");
    return there.length === 0 ? undefined : random.of(there);
  }

  readonly #tag = async (): Promise<void> => {
    const [source, { sum }] = this.#any() ?? ["", { sum: "" }];
    if (source === "") return;
    const name = freshName("tag");
    await this.#make([name], sum, async () => {
      const path = `/images/${source}/tag?repo=${name.replace(":1", "")}&tag=1`;
      return (await this.#engine.api("POST", path)).status === 201 ? "" : '"error';
    });
  };

  readonly #remove = async (): Promise<void> => {
    const [name, { sum }] = this.#any() ?? ["", { sum: "" }];
    if (name === "") return;
    this.fates.set(name, { sum, state: "either" });
    const { status } = await this.#engine.api("DELETE", `/images/${name}`);
    if (status === 200) this.fates.set(name, { sum, state: "gone" });
  };
}

async function tagsOf(engine: Engine): Promise<readonly string[]> {
  const list = listAt((await engine.api("GET", "/images/json?all=1")).json);
  return list.flatMap((image) => listAt(image, "RepoTags").map(String));
}

/** The sum of the noise as a container reads it. */
async function sumOf(engine: Engine, image: string): Promise<string> {
  const Cmd = ["sha1sum", "/noise"];
  const id = await engine.runDetached({ Image: image, Cmd, HostConfig: { NetworkMode: "none" } });
  await engine.api("POST", `/containers/${id}/wait`);
  const { text } = await engine.api("GET", `/containers/${id}/logs?stdout=1&stderr=1`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return /[0-9a-f]{40}(?= )/.exec(text)?.[0] ?? text;
}

async function expectAsTold(daemon: TestDaemon, fates: ReadonlyMap<string, Fate>): Promise<void> {
  const { engine } = daemon;
  const there = await tagsOf(engine);
  for (const [name, { sum, state }] of fates) {
    const isThere = there.includes(name);
    if (state !== "either") expect({ name, isThere }).toEqual({ name, isThere: state === "there" });
    if (!isThere) continue;
    expect({ name, sum: await sumOf(engine, name) }).toEqual({ name, sum });
  }
  if (there.length > 0) expect(await damagedBlobs(engine, there)).toEqual([]);
}

async function removeAll(engine: Engine, but: readonly string[] = []): Promise<void> {
  for (const tag of await tagsOf(engine)) {
    if (!but.includes(tag)) await engine.api("DELETE", `/images/${tag}?force=1`);
  }
}

describe.skipIf(lack !== undefined)("a power cut", () => {
  test(
    `while images come and go leaves what was told of them (seed ${seed})`,
    async () => {
      console.log(`seed ${seed}`);
      await using disk = await makeLoopDisk(1024 * mebibyte);
      await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
      const { engine } = daemon;
      await engine.importImage("base:1", { archive: tar(base) });
      let toldCount = 0;
      for (let round = 0; round < roundCount; round += 1) {
        const clients = new Clients(engine);
        let isCut = false;
        const working = clients.work(() => isCut);
        const told = (): number =>
          [...clients.fates.values()].filter(({ state }) => state !== "either").length;
        await until(
          () => told() > 0,
          () => "an answer",
        );
        await Bun.sleep(random.below(cutMaxMs));
        await disk.cutPower(() => daemon.kill9());
        isCut = true;
        await working;
        await daemon.restart();
        await expectAsTold(daemon, clients.fates);
        toldCount += told();
        await removeAll(engine, ["base:1"]);
      }
      expect(toldCount).toBeGreaterThanOrEqual(roundCount);
      await removeAll(engine);
      await engine.api("POST", "/build/prune?all=1");
      await engine.api("POST", '/images/prune?filters={"dangling":["false"]}');
      expect(listAt((await engine.api("GET", "/images/json?all=1")).json)).toEqual([]);
      expect(at((await engine.api("GET", "/system/df")).json, "LayersSize")).toBe(0);
      const content = join(daemon.dataRoot, "content/blobs/sha256");
      await until(
        () => readdirSync(content).length === 0,
        () => `blobs to go: ${readdirSync(content).join(", ")}`,
      );
      await daemon.stop();
    },
    testMaxMs,
  );

  test(
    "right after an import, a build, a removal or a prune was told takes none of it back",
    async () => {
      await using disk = await makeLoopDisk(512 * mebibyte);
      await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
      const { engine } = daemon;
      const fates = new Map<string, Fate>();
      const noise = makeNoise();
      const { sum } = noise;
      const importImage = async (name: string): Promise<void> => {
        const salt = { name: "salt", content: name };
        const entries = [...base, { name: "noise", content: noise.bytes }, salt];
        await engine.importImage(name, { archive: tar(entries) });
        fates.set(name, { sum, state: "there" });
      };
      const remove = async (path: string, names: readonly string[]): Promise<void> => {
        const method = path.includes("prune") ? "POST" : "DELETE";
        expect((await engine.api(method, path)).status).toBe(200);
        for (const name of names) fates.set(name, { sum, state: "gone" });
      };
      const cut = async (): Promise<void> => {
        await disk.cutPower(() => daemon.kill9());
        await daemon.restart();
        await expectAsTold(daemon, fates);
      };
      await importImage("base:1");
      await cut();
      const input = tar([{ name: "Dockerfile", content: "FROM base:1\nRUN echo 1 >/new\n" }]);
      const headers = { "Content-Type": "application/x-tar" };
      const built = await engine.api("POST", "/build?t=built:1", input, { headers });
      expect(built.text).toContain("Successfully tagged");
      fates.set("built:1", { sum, state: "there" });
      await cut();
      for (const name of ["one:1", "two:1"]) await importImage(name);
      expect((await engine.api("POST", "/images/one:1/tag?repo=again&tag=1")).status).toBe(201);
      fates.set("again:1", { sum, state: "there" });
      await remove("/images/one:1", ["one:1"]);
      await cut();
      await remove("/images/again:1", ["again:1"]);
      await cut();
      await remove("/images/built:1", ["built:1"]);
      await remove('/images/prune?filters={"dangling":["false"]}', ["base:1", "two:1"]);
      await cut();
      expect(await tagsOf(engine)).toEqual([]);
      await daemon.stop();
    },
    testMaxMs,
  );
});
