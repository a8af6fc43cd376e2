/** Disks that are full, lose their power, or bring back damaged files. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { dockerArchive, rootTar } from "../support/images.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { type LoopDisk, loopDiskLack, makeLoopDisk } from "../support/loop-disk.ts";
import { run } from "../support/process.ts";

const lack = referenceHost === undefined ? loopDiskLack() : "it is not our own daemon";
if (lack !== undefined) console.warn(`skipped: ${lack}`);
const mebibyte = 1024 * 1024;

/** Fills a disk to its last block. */
async function fillUp(path: string): Promise<void> {
  await run(["sh", "-c", `cat /dev/zero >${path}/ballast; sync; cat /dev/zero >${path}/ballast2`]);
}

async function runsWell(engine: Engine, image: string): Promise<boolean> {
  const id = await engine.runDetached({ Image: image, Cmd: ["sh", "-c", "sha1sum /bin/busybox"] });
  const wait = await engine.api("POST", `/containers/${id}/wait`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return at(wait.json, "StatusCode") === 0;
}

describe.skipIf(lack !== undefined)("a full disk", () => {
  test("reads, stop and rm still work, writes are refused in a sentence", async () => {
    await using disk = await makeLoopDisk(160 * mebibyte);
    await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    const config = { Image: "busybox", Cmd: ["sleep", "600"] };
    const ids = [await engine.runDetached(config), await engine.runDetached(config)];
    await fillUp(disk.path);
    const load = await engine.api(
      "POST",
      "/images/load",
      dockerArchive({ tags: ["big:1"], layers: [rootTar()] }),
    );
    expect(`${load.status} ${load.text}`).toMatch(/no space left|disk.*full|5\d\d|errorDetail/i);
    expect((await engine.api("GET", "/containers/json")).status).toBe(200);
    expect((await engine.api("GET", `/containers/${ids[0]}/json`)).status).toBe(200);
    expect((await engine.api("POST", `/containers/${ids[0]}/stop?t=0`)).status).toBe(204);
    expect(at(await engine.inspect(ids[0] ?? ""), "State", "Running")).toBe(false);
    expect((await engine.api("DELETE", `/containers/${ids[0]}`)).status).toBe(204);
    expect((await engine.api("DELETE", `/containers/${ids[1]}?force=1`)).status).toBe(204);
    await daemon.kill9();
    await daemon.restart();
    expect(listAt((await engine.api("GET", "/containers/json?all=1")).json)).toHaveLength(0);
    for (const name of ["ballast", "ballast2"]) rmSync(join(disk.path, name), { force: true });
    expect(await runsWell(engine, "busybox")).toBe(true);
    expect(await daemon.leaks()).toEqual([]);
    await kill(daemon);
  }, 60_000);
});

describe.skipIf(lack !== undefined)("a power cut", () => {
  test("after load, import, create and tag were acknowledged loses none of them", async () => {
    await using disk = await makeLoopDisk(256 * mebibyte);
    await using daemon = await startDaemon({ dataRoot: join(disk.path, "data") });
    const { engine } = daemon;
    await engine.ensureImages("busybox");
    await cut(daemon, disk);
    expect(await runsWell(engine, "busybox")).toBe(true);
    const entries = [{ name: "stamp", content: "loaded" }];
    const layers = [rootTar(), rootTar({ entries, changes: [] })];
    const load = await engine.api(
      "POST",
      "/images/load",
      dockerArchive({ tags: ["cut:1"], layers }),
    );
    expect(load.text).toContain("Loaded image: cut:1");
    await cut(daemon, disk);
    expect(await runsWell(engine, "cut:1")).toBe(true);
    const created = await engine.api("POST", "/containers/create?name=kept", { Image: "cut:1" });
    const id = textAt(created.json, "Id");
    expect((await engine.api("POST", "/images/cut:1/tag?repo=cut&tag=2")).status).toBe(201);
    expect((await engine.api("POST", "/volumes/create", { Name: "kept" })).status).toBe(201);
    await cut(daemon, disk);
    expect(textAt(await engine.inspect("kept"), "Id")).toBe(id);
    expect((await engine.api("GET", "/images/cut:2/json")).status).toBe(200);
    expect((await engine.api("GET", "/volumes/kept")).status).toBe(200);
    expect((await engine.api("DELETE", "/containers/kept")).status).toBe(204);
    await cut(daemon, disk);
    expect((await engine.api("GET", "/containers/kept/json")).status).toBe(404);
    await kill(daemon);
  }, 120_000);
});

describe.skipIf(referenceHost !== undefined)("a damaged file", () => {
  test("is quarantined and told, the rest is served", async () => {
    await using daemon = await startDaemon();
    const { engine } = daemon;
    await engine.ensureImages("busybox", "web");
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "600"] });
    await daemon.kill9();
    const index = join(daemon.dataRoot, "content/index.json");
    if (existsSync(index)) writeFileSync(index, '{"schemaVersion":2,"mani');
    const blobs = join(daemon.dataRoot, "content/blobs/sha256");
    const [blob = ""] = readdirSync(blobs);
    truncateSync(join(blobs, blob), 1);
    await daemon.restart();
    expect((await engine.api("GET", "/_ping")).status).toBe(200);
    expect(at(await engine.inspect(id), "State", "Running")).toBe(true);
    expect((await engine.api("GET", "/images/json")).status).toBe(200);
  }, 30_000);

  test("even when it is the database: the daemon starts, says so, and keeps the damaged one", async () => {
    await using daemon = await startDaemon();
    await daemon.engine.ensureImages("busybox");
    await daemon.kill9();
    const path = join(daemon.dataRoot, "metadata.db");
    for (const suffix of ["-wal", "-shm"]) rmSync(`${path}${suffix}`, { force: true });
    writeFileSync(path, "this is no database".repeat(500));
    await daemon.restart();
    const info = await daemon.engine.api("GET", "/info");
    expect(info.status).toBe(200);
    expect(JSON.stringify(at(info.json, "Warnings"))).toMatch(/metadata|damage|quarantine/i);
    await daemon.engine.ensureImages("busybox");
    expect(await runsWell(daemon.engine, "busybox")).toBe(true);
  }, 30_000);
});

/** The daemon dies with the power; the disk comes back with what it had. */
async function cut(daemon: TestDaemon, disk: LoopDisk): Promise<void> {
  await disk.cutPower(() => daemon.kill9());
  await daemon.restart();
}

async function kill(daemon: TestDaemon): Promise<void> {
  await daemon.engine.removeContainers();
  await daemon.stop();
}
