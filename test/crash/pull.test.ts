/** Pulls on a disk that loses its power. Seed: TUG_TEST_SEED. */
import { afterAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { hasDockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { busyboxEntries } from "../support/images.ts";
import { at, listAt } from "../support/json.ts";
import { type LoopDisk, loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { createRandom } from "../support/random.ts";
import { damagedBlobs } from "../support/saved-blobs.ts";
import { tar } from "../support/tar.ts";

const ownLack = referenceHost === undefined ? loopDiskLack() : "it is not our own daemon";
const lack = ownLack ?? (hasDockerRegistry ? undefined : "docker-registry is not installed");
if (lack !== undefined) console.warn(`skipped: ${lack}`);
const mebibyte = 1024 * 1024;
const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const random = createRandom(seed);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 4);
/** The time that a pull takes here, about. */
const pullMs = 250;

const registry = lack === undefined ? await startDockerRegistry() : undefined;
afterAll(async () => await registry?.[Symbol.asyncDispose]());

async function cut(daemon: TestDaemon, disk: LoopDisk): Promise<void> {
  await disk.cutPower(() => daemon.kill9());
  await daemon.restart();
}

/** Layers below the size from which a pull syncs each by itself. */
const smallLayerCount = 4;

/** Puts images of busybox and noise into the registry, which check what they have. @returns their names */
async function publish(host: string): Promise<readonly string[]> {
  await using maker = await startDaemon();
  const names = Array.from({ length: roundCount + 1 }, (_, at) => `${host}/cut:${at}`);
  for (const name of names) {
    const noise = randomBytes(6 * mebibyte);
    const sums = `${createHash("sha1").update(noise).digest("hex")}  /noise\n`;
    const archive = tar([
      ...busyboxEntries(),
      { name: "noise", content: noise },
      { name: "sums", content: sums },
    ]);
    await maker.engine.importImage(name, {
      archive,
      changes: ['CMD ["sha1sum","-c","/sums"]'],
    });
    const [repo, tag] = [`${host}/cut`, name.slice(host.length + 5)];
    for (let layer = 0; layer < smallLayerCount; layer += 1) {
      const make = `head -c 300000 /dev/urandom >/n${layer}; sha1sum /n${layer} >>/sums`;
      const { engine } = maker;
      const config = { Image: name, Cmd: ["sh", "-c", make], HostConfig: { NetworkMode: "none" } };
      const id = await engine.runDetached(config);
      await engine.api("POST", `/containers/${id}/wait`);
      const query = new URLSearchParams({ container: id, repo, tag });
      const check = { Cmd: ["sha1sum", "-c", "/sums"] };
      expect((await engine.api("POST", `/commit?${query}`, check)).status).toBe(201);
      await engine.api("DELETE", `/containers/${id}`);
    }
    const sent = await maker.engine.api("POST", `/images/${repo}/push?tag=${tag}`);
    expect(sent.text).toContain("digest: sha256:");
  }
  return names;
}

async function pull(engine: Engine, name: string): Promise<string> {
  return (await engine.api("POST", `/images/create?fromImage=${name}`)).text;
}

/** Runs the image, which checks all that it has. */
async function runs(engine: Engine, image: string): Promise<boolean> {
  const id = await engine.runDetached({ Image: image, HostConfig: { NetworkMode: "none" } });
  const wait = await engine.api("POST", `/containers/${id}/wait`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return at(wait.json, "StatusCode") === 0;
}

describe.skipIf(lack !== undefined)("a power cut", () => {
  test(`in a pull leaves the image whole or not there, and the next pull gets it (seed ${seed})`, async () => {
    const names = await publish(registry?.host ?? "");
    await using disk = await makeLoopDisk(512 * mebibyte);
    await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
    const { engine } = daemon;
    for (const name of names.slice(0, roundCount)) {
      const pulling = pull(engine, name).catch((error: unknown) => String(error));
      await Bun.sleep(random.below(pullMs));
      await cut(daemon, disk);
      const said = await pulling;
      const isThere = (await engine.api("GET", `/images/${name}/json`)).status === 200;
      if (said.includes("Status: Downloaded")) expect(isThere).toBe(true);
      if (isThere) expect(await runs(engine, name)).toBe(true);
      expect(await pull(engine, name)).toContain("Status: ");
      expect(await runs(engine, name)).toBe(true);
      expect(await damagedBlobs(engine, [name])).toEqual([]);
    }
    const last = names.at(-1) ?? "";
    expect(await pull(engine, last)).toContain("Status: Downloaded newer image");
    await cut(daemon, disk);
    expect(await runs(engine, last)).toBe(true);
    expect(await damagedBlobs(engine, [last])).toEqual([]);
    expect(listAt((await engine.api("GET", "/images/json")).json).length).toBe(names.length);
    await engine.removeContainers();
    await daemon.stop();
  }, 120_000);
});
