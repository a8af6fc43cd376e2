/** The collector beside work that makes images: nothing that is needed is ever taken. */
import { expect, test } from "bun:test";
import { uniqueName } from "../support/engine.ts";
import { dockerArchive, rootTar } from "../support/images.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const durationMs = 4_000;

async function exitCodeOf(image: string, command: readonly string[]): Promise<number> {
  const id = await engine.runDetached({ Image: image, Cmd: command });
  const wait = await engine.api("POST", `/containers/${id}/wait`);
  await engine.api("DELETE", `/containers/${id}?force=1`);
  return Number(at(wait.json, "StatusCode"));
}

/** Commits a container that wrote, runs the image, and takes all away again. */
async function commitRound(): Promise<void> {
  const image = uniqueName("race");
  const id = await engine.runDetached({ Image: "busybox", Cmd: ["sh", "-c", "echo x >/made"] });
  await engine.api("POST", `/containers/${id}/wait`);
  const made = await engine.api("POST", `/commit?container=${id}&repo=${image}`);
  expect([made.status, made.message]).toEqual([201, ""]);
  expect(await exitCodeOf(image, ["test", "-s", "/made"])).toBe(0);
  const archive = await engine.api("GET", `/images/${image}/get`);
  expect(archive.status).toBe(200);
  await engine.api("DELETE", `/containers/${id}`);
  expect((await engine.api("DELETE", `/images/${image}?force=1`)).status).toBe(200);
  const loaded = await engine.api("POST", "/images/load", archive.bytes);
  expect(loaded.text).toContain(`Loaded image: ${image}:latest`);
  expect((await engine.api("DELETE", `/images/${image}?force=1`)).status).toBe(200);
}

/** Loads an image of two layers, the first shared with everybody, and saves it. */
async function loadRound(): Promise<void> {
  const image = uniqueName("load");
  const layers = [rootTar(), tar([{ name: "stamp", content: image }])];
  const answer = await engine.api(
    "POST",
    "/images/load",
    dockerArchive({ tags: [`${image}:1`], layers }),
  );
  expect(answer.text).toContain(`Loaded image: ${image}:1`);
  expect(await exitCodeOf(`${image}:1`, ["grep", "-q", image, "/stamp"])).toBe(0);
  expect((await engine.api("DELETE", `/images/${image}:1`)).status).toBe(200);
}

async function repeat(end: number, work: () => Promise<void>): Promise<number> {
  let count = 0;
  for (; performance.now() < end; count += 1) await work();
  return count;
}

test("commits, loads, saves and runs while images are pruned all the time", async () => {
  const end = performance.now() + durationMs;
  const prune = async (): Promise<void> => {
    expect((await engine.api("POST", "/images/prune")).status).toBe(200);
    await Bun.sleep(5);
  };
  const counts = await Promise.all([
    repeat(end, commitRound),
    repeat(end, commitRound),
    repeat(end, loadRound),
    repeat(end, prune),
  ]);
  for (const count of counts) expect(count).toBeGreaterThan(0);
  const images = listAt((await engine.api("GET", "/images/json?all=1")).json);
  expect(images.map((image) => textAt(image, "RepoTags", 0))).toEqual(["busybox:latest"]);
}, 60_000);

test("an export whose container is removed meanwhile does not end as if it were whole", async () => {
  const id = await engine.runDetached({
    Image: "busybox",
    Cmd: ["sh", "-c", "head -c 30000000 /dev/urandom >/big"],
  });
  await engine.api("POST", `/containers/${id}/wait`);
  const response = await engine.open("GET", `/containers/${id}/export`);
  const reader = response.body?.getReader();
  await reader?.read();
  expect((await engine.api("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  const rest = (async () => {
    let sizeBytes = 0;
    for (;;) {
      const next = await reader?.read();
      if (next === undefined || next.done) return sizeBytes;
      sizeBytes += next.value.length;
    }
  })();
  await expect(rest).rejects.toThrow();
});
