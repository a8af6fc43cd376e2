/** What is measured of images on their way: pull, push and save, with a registry on loopback. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import type { DockerRegistry } from "../test/support/docker-registry.ts";
import { runOk } from "../test/support/process.ts";
import { type Case, timed } from "./case.ts";
import { call, type Contestant, descendantsOf, memoryKb, openOurs } from "./engines.ts";
import {
  bigImage,
  closeRegistries,
  deepImage,
  deepLayerCount,
  fill,
  fillAll,
  memoryBytes,
  memoryFolder,
  registries,
  registryMaxBytes,
} from "./image-registries.ts";
import { loadArchive } from "./load-archive.ts";

const pullRounds = 5;
/** What the two last cases pull beside those that are measured for time. */
const furtherPulls = 2;
/** As many images again, packed and unpacked. */
const inMemoryMaxBytes = 3 * registryMaxBytes;
const sampleMs = 20;
const pingIntervalMs = 5;
const pingerStartMs = 500;
/** Of Docker's time, and of what decompressing and hashing alone take. */
const dockerShare = 1 / 0.8;
const bareShare = 1.5;
const kbPerMb = 1024;

let inMemory: Promise<Contestant> | undefined;

/** Whether there is room for a data root in memory. */
export const canMeasureInMemory: boolean = memoryBytes() > inMemoryMaxBytes;

/** The cases, in the order of the table. */
export const imageCases: readonly Case[] = [
  {
    name: "pull 204 MB",
    unit: "ms",
    rounds: pullRounds,
    isLarge: true,
    timesDocker: dockerShare,
    timesBare: bareShare,
    bare: gunzipAndDigest,
    prepare: async (rounds) => await fillAll(bigImage, rounds + furtherPulls),
    measure: async (contestant) => await pull(contestant, bigImage),
  },
  ...(canMeasureInMemory
    ? [
        {
          name: "pull 204 MB, disk aside",
          unit: "ms" as const,
          rounds: pullRounds,
          isLarge: true,
          isOursOnly: true,
          timesBare: bareShare,
          bare: gunzipAndDigest,
          measure: async () => await pull(await oursInMemory(), bigImage),
        },
      ]
    : []),
  {
    name: `pull ${deepLayerCount} layers`,
    unit: "ms",
    rounds: pullRounds,
    isLarge: true,
    timesDocker: dockerShare,
    prepare: async (rounds) => await fillAll(deepImage, rounds),
    measure: async (contestant) => await pull(contestant, deepImage),
  },
  {
    name: "push 204 MB",
    unit: "ms",
    rounds: pullRounds,
    bare: copyWithSkopeo,
    measure: push,
  },
  { name: "save 204 MB", unit: "ms", rounds: pullRounds, measure: save },
  {
    name: "pull, memory at its peak",
    unit: "MB",
    rounds: 1,
    isLarge: true,
    measure: async (contestant) => await peakOf(contestant, () => pull(contestant, bigImage)),
  },
  {
    name: "ping while pulling, worst",
    unit: "ms",
    budget: 10,
    rounds: 1,
    isLarge: true,
    measure: async (contestant) => await worstPing(contestant, () => pull(contestant, bigImage)),
  },
];

/** Removes what the cases have made: on the engines, whose next pull must begin from nothing, too. */
export async function closeImageCases(contestants: readonly Contestant[]): Promise<void> {
  await (await inMemory)?.[Symbol.asyncDispose]();
  await closeRegistries(async ({ source, filled }) => {
    for (const { engine } of contestants) {
      for (const name of filled) {
        await engine.api("DELETE", `/images/${source.host}/${name}?force=1`);
      }
    }
  });
}

/** An engine of ours without a disk, to be held against what needs none. */
async function oursInMemory(): Promise<Contestant> {
  inMemory ??= openInMemory();
  return await inMemory;
}

async function openInMemory(): Promise<Contestant> {
  const dataRoot = mkdtempSync(join(memoryFolder, "tugbench-data-"));
  const contestant = await openOurs({ dataRoot });
  return {
    ...contestant,
    [Symbol.asyncDispose]: async () => {
      await contestant[Symbol.asyncDispose]();
      rmSync(dataRoot, { recursive: true, force: true });
    },
  };
}

/** Images of each kind that an engine has pulled. */
const pulledCounts = new Map<string, number>();

/**
 * From nothing to an image that can run. Each pull is of an image that the engine never had, so that none is
 * removed before: some file systems are slow for minutes where much was removed.
 */
async function pull({ engine }: Contestant, repository: string): Promise<number> {
  const { source } = await registries();
  const key = pullKey(engine, repository);
  const number = pulledCounts.get(key) ?? 0;
  pulledCounts.set(key, number + 1);
  await fill(repository, number);
  const name = `${source.host}/${repository}`;
  return await timed(async () => {
    // Podman alone does not take loopback for a safe place.
    const query = new URLSearchParams({
      fromImage: name,
      tag: String(number),
      tlsVerify: "false",
    });
    const answer = await engine.api("POST", `/images/create?${query}`);
    assert.match(answer.text, /Status: Downloaded newer image|Pull complete|"id":/);
    assert.doesNotMatch(answer.text, /errorDetail/);
  });
}

function pullKey({ socketPath }: Contestant["engine"], repository: string): string {
  return `${socketPath} ${repository}`;
}

/** An image that an engine has: the first that it pulled. */
async function pulled(contestant: Contestant): Promise<string> {
  const { source } = await registries();
  if (!pulledCounts.has(pullKey(contestant.engine, bigImage))) await pull(contestant, bigImage);
  return `${source.host}/${bigImage}:0`;
}

async function push(contestant: Contestant): Promise<number> {
  const { engine } = contestant;
  const { sink } = await registries();
  const have = await pulled(contestant);
  const [name, tag] = [`${sink.host}/${bigImage}`, "1"];
  await call(engine, "POST", `/images/${have}/tag?repo=${name}&tag=${tag}`);
  emptySink(sink);
  const elapsedMs = await timed(async () => {
    const auth = { "X-Registry-Auth": Buffer.from("{}").toString("base64") };
    const path = `/images/${name}/push?tag=${tag}&tlsVerify=false`;
    const answer = await engine.api("POST", path, undefined, { headers: auth });
    assert.doesNotMatch(answer.text, /errorDetail/);
    assert.equal(answer.status, 200, answer.text);
  });
  await engine.api("DELETE", `/images/${name}:${tag}`);
  return elapsedMs;
}

function emptySink(sink: DockerRegistry): void {
  rmSync(join(sink.folder, "data"), { recursive: true, force: true });
}

async function save(contestant: Contestant): Promise<number> {
  const name = await pulled(contestant);
  return await timed(async () => {
    const response = await contestant.engine.open("GET", `/images/${name}/get`);
    let count = 0;
    for await (const chunk of response.body ?? []) count += chunk.length;
    assert.ok(count > 50_000_000, `only ${count} bytes were saved`);
  });
}

/** What no engine can do without: read the layer, decompress it, hash both. */
async function gunzipAndDigest(): Promise<number> {
  const { layerPath } = await loadArchive();
  return await timed(async () => {
    const packed = createHash("sha256");
    const plain = createHash("sha256");
    const source = createReadStream(layerPath, { highWaterMark: 1024 * 1024 });
    source.on("data", (chunk) => packed.update(chunk));
    const unpacked = source.pipe(createGunzip({ chunkSize: 1024 * 1024 }));
    for await (const chunk of unpacked as AsyncIterable<Buffer>) plain.update(chunk);
    packed.digest();
    plain.digest();
  });
}

async function copyWithSkopeo(): Promise<number> {
  const { source, sink } = await registries();
  emptySink(sink);
  const flags = ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
  const image = await fill(bigImage, 0);
  const names = [`docker://${source.host}/${image}`, `docker://${sink.host}/${image}`];
  return await timed(
    async () => await runOk(["skopeo", ...flags, ...names], { timeoutMs: 60_000 }),
  );
}

/** Memory of the engine and of its helpers at its peak while some work is done, in MB. */
export async function peakOf(
  contestant: Contestant,
  work: () => Promise<unknown>,
): Promise<number> {
  const known = new Set(contestant.companionPids());
  const now = (): number =>
    descendantsOf(contestant.daemonPids())
      .filter((pid) => !known.has(pid))
      .reduce((sum, pid) => sum + memoryKb(pid, "Pss"), 0);
  let peakKb = now();
  const timer = setInterval(() => {
    peakKb = Math.max(peakKb, now());
  }, sampleMs);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return peakKb / kbPerMb;
}

/**
 * The longest that an engine takes to answer while some work is done, asked by a process that need not wait for
 * a processor: it is the engine that is measured.
 */
async function worstPing(contestant: Contestant, work: () => Promise<unknown>): Promise<number> {
  const program = join(import.meta.dirname, "_pinger.ts");
  const argv = [process.execPath, program, contestant.engine.socketPath, String(pingIntervalMs)];
  const pinger = Bun.spawn(["nice", "-n", "-15", ...argv], { stdin: "pipe", stdout: "pipe" });
  await Bun.sleep(pingerStartMs);
  try {
    await work();
  } finally {
    await pinger.stdin.end();
  }
  return Number(await new Response(pinger.stdout).text());
}
