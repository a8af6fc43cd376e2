/** A registry that is killed, loses its power, or has no space left: what it acknowledged is whole, and
 * what it did not is not half there. */
import { describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type DistributionAnswer,
  imageOf,
  openDistribution,
  pushBlob,
  pushImage,
  type Send,
  sha256,
  type TestImage,
} from "../support/distribution.ts";
import { loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { run, runOk, until } from "../support/process.ts";
import { startTugRegistry, type TugRegistry, tugArgv } from "../support/tug-registry.ts";

const lack = loopDiskLack();
if (lack !== undefined) console.warn(`skipped with a disk of its own: ${lack}`);
const mebibyte = 1024 * 1024;
const octets = { "Content-Type": "application/octet-stream" };

/** An image that was acknowledged, tag and all. */
interface Acknowledged {
  readonly repository: string;
  readonly tag: string;
  readonly image: TestImage;
}

/** Pushes images until the registry is gone; notes those whose manifest was answered 201. */
async function pushUntilGone(
  url: string,
  worker: { readonly name: string; readonly acknowledged: Acknowledged[] },
): Promise<void> {
  const send = openDistribution(url);
  for (let count = 0; ; count += 1) {
    const target = { repository: `crash/${worker.name}`, tag: `t${count}` };
    const image = imageOf(`${worker.name} ${count} ${"x".repeat((count * 7_919) % 200_000)}`);
    try {
      const answer = await pushImage(send, target, image);
      if (answer.status === 201) worker.acknowledged.push({ ...target, image });
    } catch (error) {
      if (error instanceof Error) return;
      throw error;
    }
  }
}

async function bytesOf(send: Send, line: string): Promise<string> {
  const answer = await send(line);
  return answer.status === 200 ? sha256(answer.bytes) : `${answer.status}`;
}

/** All that was acknowledged is there and whole. */
async function expectWhole(send: Send, all: readonly Acknowledged[]): Promise<void> {
  for (const { repository, tag, image } of all) {
    const { config, layer, manifest } = image;
    expect(await bytesOf(send, `GET /v2/${repository}/manifests/${tag}`)).toBe(manifest.digest);
    for (const { digest } of [config, layer]) {
      expect(await bytesOf(send, `GET /v2/${repository}/blobs/${digest}`)).toBe(digest);
    }
  }
}

/** Whatever a tag leads to is whole, whether it was acknowledged or not. */
async function expectNothingHalf(send: Send): Promise<number> {
  let count = 0;
  const catalog = JSON.parse((await send("GET /v2/_catalog")).text) as { repositories: string[] };
  for (const name of catalog.repositories) {
    const listed = JSON.parse((await send(`GET /v2/${name}/tags/list`)).text) as { tags: string[] };
    for (const tag of listed.tags) {
      const { text } = await send(`GET /v2/${name}/manifests/${tag}`);
      const { config, layers } = JSON.parse(text) as {
        config: { digest: string };
        layers: { digest: string }[];
      };
      for (const { digest } of [config, ...layers]) {
        expect(await bytesOf(send, `GET /v2/${name}/blobs/${digest}`)).toBe(digest);
        count += 1;
      }
    }
  }
  return count;
}

/** Pushes from several clients at once for a while, then breaks the registry off. */
async function pushAndBreak(
  registry: TugRegistry,
  options: { readonly round: number; readonly breakOff: () => Promise<void> },
): Promise<readonly Acknowledged[]> {
  const acknowledged: Acknowledged[] = [];
  const workers = ["a", "b", "c"].map((name) =>
    pushUntilGone(registry.url, { name: `${name}${options.round}`, acknowledged }),
  );
  await until(() => acknowledged.length >= 4, "four pushes", 20_000);
  await Bun.sleep(Math.random() * 100);
  await options.breakOff();
  await Promise.all(workers);
  return acknowledged;
}

describe("kill -9", () => {
  test("in the middle of pushes loses nothing that was acknowledged", async () => {
    await using registry = await startTugRegistry();
    const send = openDistribution(registry.url);
    const all: Acknowledged[] = [];
    for (let round = 0; round < 4; round += 1) {
      const breakOff = async (): Promise<void> => await registry.kill9();
      all.push(...(await pushAndBreak(registry, { round, breakOff })));
      await registry.restart();
      await expectWhole(send, all);
      expect(await expectNothingHalf(send)).toBeGreaterThanOrEqual(all.length * 2);
    }
    await registry.stop();
    const gc = ["gc", "--root", registry.root, "--gc-grace", "0"];
    await runOk([...tugArgv("registry", ...gc)]);
    await registry.restart();
    await expectWhole(send, all);
  }, 90_000);

  test("leaves an upload to be resumed where its bytes end", async () => {
    await using registry = await startTugRegistry();
    const send = openDistribution(registry.url);
    const whole = crypto.getRandomValues(new Uint8Array(60_000));
    const begun = await send("POST /v2/crash/resumed/blobs/uploads/");
    const patch = async (from: number, to: number): Promise<DistributionAnswer> =>
      await send(`PATCH ${begun.location}`, {
        body: whole.slice(from, to),
        headers: { ...octets, "Content-Range": `${from}-${to - 1}` },
      });
    expect((await patch(0, 40_000)).status).toBe(202);
    await registry.kill9();
    await registry.restart();
    const asked = await send(`GET ${begun.location}`);
    expect([asked.status, asked.headers.get("range")]).toEqual([204, "0-39999"]);
    expect((await patch(40_000, 50_000)).headers.get("range")).toBe("0-49999");
    expect(await registry.stop()).toBe(0);
    await registry.restart();
    const digest = sha256(whole);
    const done = await send(`PUT ${begun.location}?digest=${digest}`, {
      body: whole.slice(50_000),
      headers: octets,
    });
    expect(done.status).toBe(201);
    expect(await bytesOf(send, `GET /v2/crash/resumed/blobs/${digest}`)).toBe(digest);
    expect(readdirSync(join(registry.root, "content/ingest"))).toEqual([]);
  }, 60_000);
});

describe.skipIf(lack !== undefined)("a disk of its own", () => {
  test("that loses its power has all that was acknowledged", async () => {
    await using disk = await makeLoopDisk(160 * mebibyte);
    await using registry = await startTugRegistry({ root: join(disk.path, "root") });
    const send = openDistribution(registry.url);
    const all = await pushAndBreak(registry, {
      round: 0,
      breakOff: async () => await disk.cutPower(async () => await registry.kill9()),
    });
    await registry.restart();
    await expectWhole(send, all);
    await expectNothingHalf(send);
    await registry.stop();
  }, 60_000);

  test("that is full is told in a sentence, and removing helps", async () => {
    await using disk = await makeLoopDisk(64 * mebibyte);
    const flags = ["--gc-grace", "0"];
    await using registry = await startTugRegistry({ root: join(disk.path, "root"), flags });
    const send = openDistribution(registry.url);
    const image = imageOf("kept");
    await pushImage(send, { repository: "full", tag: "kept" }, image);
    const push = async (seed: number): Promise<DistributionAnswer> => {
      const bytes = new Uint8Array(8 * mebibyte).fill(seed);
      return await pushBlob(send, "full", { bytes, digest: sha256(bytes) });
    };
    const answers: DistributionAnswer[] = [];
    for (let seed = 0; seed < 9; seed += 1) answers.push(await push(seed));
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused.length).toBeGreaterThan(0);
    for (const { status, text } of refused) {
      expect([status, text]).toEqual([507, expect.stringContaining("no space left on device")]);
    }
    await run(["sh", "-c", `cat /dev/zero >${disk.path}/ballast`]);
    expect((await push(77)).status).toBe(507);
    expect((await send("POST /v2/full/blobs/uploads/")).status).toBe(202);
    await expectWhole(send, [{ repository: "full", tag: "kept", image }]);
    expect((await send(`DELETE /v2/full/blobs/${image.layer.digest}`)).status).toBe(202);
    await runOk([...tugArgv("registry", "gc", "--root", registry.root)]);
    rmSync(join(disk.path, "ballast"));
    expect((await push(78)).status).toBe(201);
    expect(await pushImage(send, { repository: "full", tag: "kept" }, image)).toMatchObject({
      status: 201,
    });
    await expectWhole(send, [{ repository: "full", tag: "kept", image }]);
    await registry.kill9();
  }, 60_000);
});

describe("the collector", () => {
  test("that runs all the time breaks no push and no image", async () => {
    await using registry = await startTugRegistry();
    const acknowledged: Acknowledged[] = [];
    const send = openDistribution(registry.url);
    const push = async (name: string): Promise<void> => {
      for (let count = 0; count < 12; count += 1) {
        const target = { repository: `race/${name}`, tag: `t${count % 3}` };
        // Half of the images are shared: two clients push the same bytes at once.
        const image = imageOf(count % 2 === 0 ? `shared ${count}` : `${name} ${count}`);
        expect((await pushImage(send, target, image)).status).toBe(201);
        acknowledged.push({ ...target, tag: image.manifest.digest, image });
        await send(`DELETE /v2/race/${name}/manifests/t${(count + 1) % 3}`);
      }
    };
    let isDone = false;
    const collect = async (): Promise<number> => {
      let count = 0;
      for (; !isDone; count += 1) {
        await fetch("http://registry/gc", {
          method: "POST",
          unix: join(registry.root, "control.sock"),
        });
      }
      return count;
    };
    const collecting = collect();
    await Promise.all(["a", "b", "c", "d"].map(push));
    isDone = true;
    expect(await collecting).toBeGreaterThan(3);
    await expectWhole(send, acknowledged);
  }, 60_000);

  test("that spares nothing refuses a manifest rather than break it", async () => {
    await using registry = await startTugRegistry({
      flags: ["--gc-grace", "0", "--delete-untagged"],
    });
    const send = openDistribution(registry.url);
    const acknowledged: Acknowledged[] = [];
    const refused: DistributionAnswer[] = [];
    let isDone = false;
    const collecting = (async (): Promise<void> => {
      while (!isDone) {
        const unix = join(registry.root, "control.sock");
        await fetch("http://registry/gc", { method: "POST", unix });
      }
    })();
    await Promise.all(
      ["a", "b", "c"].map(async (name) => {
        for (let count = 0; count < 15; count += 1) {
          const target = { repository: `bare/${name}`, tag: `t${count}` };
          const image = imageOf(`bare ${count % 4}`);
          const answer = await pushImage(send, target, image);
          if (answer.status === 201) acknowledged.push({ ...target, image });
          else refused.push(answer);
        }
      }),
    );
    isDone = true;
    await collecting;
    for (const { codes } of refused) expect(codes).toEqual(["MANIFEST_BLOB_UNKNOWN"]);
    await expectWhole(send, acknowledged);
    await expectNothingHalf(send);
  }, 60_000);
});
