/** What is measured of images on their way: pull, push and save, with a registry on loopback. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../test/support/docker-registry.ts";
import { request } from "../test/support/http.ts";
import { runOk, start, until } from "../test/support/process.ts";
import { type Case, timed } from "./case.ts";
import { call, type Contestant, descendantsOf, memoryKb } from "./engines.ts";
import { loadArchive } from "./load-archive.ts";
import { settle } from "./settle.ts";

/** Where the registry with the images to pull is; Docker may live in another network namespace. */
interface Registries {
  readonly source: DockerRegistry;
  /** Emptied before every push. */
  readonly sink: DockerRegistry;
  close(): Promise<void>;
}

const bigImage = "bench/big:1";
const deepImage = "bench/deep:1";
const deepLayerCount = 40;
const deepLayerBytes = 2_000_000;
const pullRounds = 3;
const sampleMs = 20;
const pingIntervalMs = 5;
/** Of Docker's time, and of what decompressing and hashing alone take. */
const dockerShare = 1 / 0.8;
const bareShare = 1.5;
const kbPerMb = 1024;

let opened: Promise<Registries> | undefined;

/** Whether these cases can be measured here. */
export const canMeasureImages: boolean = hasDockerRegistry && Bun.which("skopeo") !== null;

/** The cases, in the order of the table. */
export const imageCases: readonly Case[] = [
  {
    name: "pull 204 MB",
    unit: "ms",
    rounds: pullRounds,
    timesDocker: dockerShare,
    timesBare: bareShare,
    bare: gunzipAndDigest,
    measure: async (contestant) => await pull(contestant, bigImage),
  },
  {
    name: `pull ${deepLayerCount} layers`,
    unit: "ms",
    rounds: pullRounds,
    timesDocker: dockerShare,
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
    measure: async (contestant) => await peakOf(contestant, () => pull(contestant, bigImage)),
  },
  {
    name: "ping while pulling, worst",
    unit: "ms",
    budget: 10,
    rounds: 1,
    measure: async (contestant) => await worstPing(contestant, () => pull(contestant, bigImage)),
  },
];

/** Removes what the cases have made: on the engines, whose next pull must begin from nothing, too. */
export async function closeImageCases(contestants: readonly Contestant[]): Promise<void> {
  const made = await opened;
  if (made === undefined) return;
  for (const { engine } of contestants) {
    for (const name of [bigImage, deepImage]) {
      await engine.api("DELETE", `/images/${made.source.host}/${name}?force=1`);
    }
  }
  await made.close();
}

async function registries(): Promise<Registries> {
  opened ??= openRegistries();
  return await opened;
}

async function openRegistries(): Promise<Registries> {
  const [source, sink] = await Promise.all([startDockerRegistry(), startDockerRegistry()]);
  const archive = await loadArchive();
  const flags = ["--insecure-policy", "copy", "--dest-tls-verify=false", "--preserve-digests"];
  const fill = async (from: string, name: string): Promise<void> => {
    const argv = ["skopeo", ...flags, from, `docker://${source.host}/${name}`];
    await runOk(argv, { timeoutMs: 120_000 });
  };
  await fill(`oci:${archive.ociFolder}:big`, bigImage);
  const deep = mkdtempSync("/tmp/tugbench-deep-");
  await fill(`oci:${await makeDeepImage(deep)}:deep`, deepImage);
  rmSync(deep, { recursive: true, force: true });
  const elsewhere = await shareWithNamespace([source, sink]);
  return {
    source,
    sink,
    close: async () => {
      for (const each of [...elsewhere, source, sink]) await each[Symbol.asyncDispose]();
    },
  };
}

/** The same registries, as they are reached from the network namespace that Docker is in. */
async function shareWithNamespace(
  shared: readonly DockerRegistry[],
): Promise<readonly AsyncDisposable[]> {
  const path = process.env["TUG_BENCH_DOCKER_NETNS"] ?? "/run/netns/peer";
  if (!existsSync(path)) return [];
  return await Promise.all(
    shared.map(async ({ folder, host }) => {
      const config = join(folder, "config-elsewhere.json");
      const text = await Bun.file(join(folder, "config.json")).text();
      await Bun.write(config, text.replace("127.0.0.1:0", host));
      const child = start(["nsenter", `--net=${path}`, "docker-registry", "serve", config]);
      await until(
        () => /listening on/.test(`${child.stdout}${child.stderr}`),
        () => `docker-registry in ${path}; it said ${child.stdout}${child.stderr}`,
      );
      return child;
    }),
  );
}

/** An OCI layout of many small layers, made in a folder. */
async function makeDeepImage(folder: string): Promise<string> {
  const { writeOciImage } = await import("./load-archive.ts");
  const layers: string[] = [];
  for (let index = 0; index < deepLayerCount; index += 1) {
    const file = `file-${index}`;
    const half = Buffer.alloc(deepLayerBytes / 2, `${index} `);
    const noise = crypto.getRandomValues(new Uint8Array(65_536));
    await Bun.write(join(folder, file), Buffer.concat([half, noise, half]));
    const layer = join(folder, `layer-${index}.tar`);
    await runOk(["tar", "-C", folder, "-cf", layer, file]);
    layers.push(layer);
  }
  const target = join(folder, "oci");
  await writeOciImage(target, { layers, name: "deep" });
  return target;
}

/** From nothing to an image that can run. */
async function pull({ engine }: Contestant, image: string): Promise<number> {
  const { source } = await registries();
  const [repository = "", tag = ""] = image.split(":");
  const name = `${source.host}/${repository}`;
  await engine.api("DELETE", `/images/${name}:${tag}?force=1`);
  // Engines that answer before the files are gone would remove them on the pull's time.
  await settle();
  return await timed(async () => {
    // Podman alone does not take loopback for a safe place.
    const query = new URLSearchParams({ fromImage: name, tag, tlsVerify: "false" });
    const answer = await engine.api("POST", `/images/create?${query}`);
    assert.match(answer.text, /Status: Downloaded newer image|Pull complete|"id":/);
    assert.doesNotMatch(answer.text, /errorDetail/);
  });
}

async function push(contestant: Contestant): Promise<number> {
  const { engine } = contestant;
  const { source, sink } = await registries();
  const [repository = "", tag = ""] = bigImage.split(":");
  const have = `${source.host}/${repository}:${tag}`;
  if ((await engine.api("GET", `/images/${have}/json`)).status !== 200) {
    await pull(contestant, bigImage);
  }
  const name = `${sink.host}/${repository}`;
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
  const { source } = await registries();
  const name = `${source.host}/${bigImage}`;
  if ((await contestant.engine.api("GET", `/images/${name}/json`)).status !== 200) {
    await pull(contestant, bigImage);
  }
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
  const names = [`docker://${source.host}/${bigImage}`, `docker://${sink.host}/${bigImage}`];
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

async function worstPing(contestant: Contestant, work: () => Promise<unknown>): Promise<number> {
  let worstMs = 0;
  let isOver = false;
  const pinging = (async () => {
    while (!isOver) {
      const path = "/_ping";
      const took = await timed(
        async () => await request(contestant.engine.socketPath, { method: "GET", path }),
      );
      worstMs = Math.max(worstMs, took);
      await Bun.sleep(pingIntervalMs);
    }
  })();
  try {
    await work();
  } finally {
    isOver = true;
    await pinging;
  }
  return worstMs;
}
