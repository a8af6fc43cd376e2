/** Registries on loopback for the cases of images, and what is in them. */
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../test/support/docker-registry.ts";
import { runOk, start, until } from "../test/support/process.ts";
import { writeVariant } from "./load-archive.ts";
import { layoutName, type PackedLayer, packLayer, writeOciImage } from "./oci-image.ts";

/** Repository of an image of 204 MB in one layer. */
export const bigImage = "bench/big";
/** Repository of an image of `deepLayerCount` small layers. */
export const deepImage = "bench/deep";
export const deepLayerCount = 40;
const deepLayerBytes = 2_000_000;
/** A file system that is memory. */
export const memoryFolder = "/dev/shm";
/** More than both registries together ever hold. */
export const registryMaxBytes: number = 2 * 1024 ** 3;

/** Where the registry with the images to pull is; Docker may live in another network namespace. */
export interface Registries {
  readonly source: DockerRegistry;
  /** Emptied before every push. */
  readonly sink: DockerRegistry;
  /** Images that were put into the source: name and tag. */
  readonly filled: Set<string>;
  close(): Promise<void>;
}

let opened: Promise<Registries> | undefined;

/** Whether registries can be started and filled here. */
export const hasRegistries: boolean = hasDockerRegistry && Bun.which("skopeo") !== null;

/** The registries; started at the first call. */
export async function registries(): Promise<Registries> {
  opened ??= openRegistries();
  return await opened;
}

async function openRegistries(): Promise<Registries> {
  const open = async (): Promise<DockerRegistry> =>
    await startDockerRegistry({ parentFolder: registryParent() });
  const [source, sink] = await Promise.all([open(), open()]);
  const elsewhere = await shareWithNamespace([source, sink]);
  return {
    source,
    sink,
    filled: new Set(),
    close: async () => {
      for (const each of [...elsewhere, source, sink]) await each[Symbol.asyncDispose]();
    },
  };
}

/** In memory where there is enough: a registry's disk is not what is measured. */
function registryParent(): string {
  return memoryBytes() > registryMaxBytes ? memoryFolder : tmpdir();
}

/** Room in the file system that is memory; 0 without one. */
export function memoryBytes(): number {
  if (!existsSync(memoryFolder)) return 0;
  const { bavail, bsize } = statfsSync(memoryFolder);
  return bavail * bsize;
}

/** Ends the registries, if there are any. @param before has them a last time */
export async function closeRegistries(
  before: (registries: Registries) => Promise<void>,
): Promise<void> {
  const made = await opened;
  if (made === undefined) return;
  await before(made);
  await made.close();
}

/** Puts all images of a kind that will be pulled into the registry. */
export async function fillAll(repository: string, count: number): Promise<void> {
  for (let number = 0; number < count; number += 1) await fill(repository, number);
}

/** Sees to it that the registry has an image of a kind and number. @returns its name and tag */
export async function fill(repository: string, number: number): Promise<string> {
  const { source, filled } = await registries();
  const name = `${repository}:${number}`;
  if (filled.has(name)) return name;
  const folder = mkdtempSync("/tmp/tugbench-image-");
  const target = join(folder, "oci");
  if (repository === deepImage) await writeDeepImage(folder, target);
  else await writeVariant(target, number);
  const flags = ["--insecure-policy", "copy", "--dest-tls-verify=false", "--preserve-digests"];
  const [from, to] = [`oci:${target}:${layoutName}`, `docker://${source.host}/${name}`];
  await runOk(["skopeo", ...flags, from, to], { timeoutMs: 120_000 });
  rmSync(folder, { recursive: true, force: true });
  filled.add(name);
  return name;
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

/** Writes an OCI layout of many small layers, which are made in `folder`. */
async function writeDeepImage(folder: string, target: string): Promise<void> {
  const layers: PackedLayer[] = [];
  for (let index = 0; index < deepLayerCount; index += 1) {
    const file = `file-${index}`;
    const half = Buffer.alloc(deepLayerBytes / 2, `${index} `);
    const noise = crypto.getRandomValues(new Uint8Array(65_536));
    await Bun.write(join(folder, file), Buffer.concat([half, noise, half]));
    const layer = join(folder, `layer-${index}.tar`);
    await runOk(["tar", "-C", folder, "-cf", layer, file]);
    layers.push(await packLayer(layer));
  }
  await writeOciImage(target, { layers });
}
