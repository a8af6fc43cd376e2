/** An image of 204 MB made of this machine's own files, the same for every engine. */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip, gzipSync } from "node:zlib";
import { run, runOk } from "../test/support/process.ts";
import { packLayer, writeOciImage } from "./oci-image.ts";

const wantedBytes = 204_000_000;
/** Header and content of a small file in a tar. */
const headBytes = 1024;
let made: Promise<LoadArchive> | undefined;

/** The image in the forms that it is read in. */
export interface LoadArchive {
  /** The tar of `docker save`. */
  readonly dockerArchive: string;
  /** Its one layer, packed with gzip. */
  readonly layerPath: string;
}

/** The image; made at the first call, removed at the end of the process. */
export async function loadArchive(): Promise<LoadArchive> {
  made ??= makeArchive();
  return await made;
}

async function makeArchive(): Promise<LoadArchive> {
  const folder = mkdtempSync("/tmp/tugbench-");
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const layer = join(folder, "layer.tar");
  await packFiles(layer);
  const ociFolder = join(folder, "oci");
  const layers = [await packLayer(layer)];
  const { config, layerNames } = await writeOciImage(ociFolder, { layers });
  const [layerName = ""] = layerNames;
  const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
  writeFileSync(join(folder, configName), config);
  copyFileSync(join(ociFolder, layerName), join(folder, "layer.tar.gz"));
  const manifest = [{ Config: configName, RepoTags: ["tugbench-big:1"], Layers: ["layer.tar.gz"] }];
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  await runOk(["tar", "-cf", "image.tar", "layer.tar.gz", configName, "manifest.json"], {
    cwd: folder,
  });
  rmSync(layer);
  return { dockerArchive: join(folder, "image.tar"), layerPath: join(folder, "layer.tar.gz") };
}

/**
 * Writes the image once more, as another: its layer has one more file, in a member of gzip before the rest.
 *
 * @param target becomes an OCI layout
 */
export async function writeVariant(target: string, number: number): Promise<void> {
  const { layerPath } = await loadArchive();
  mkdirSync(target);
  writeFileSync(join(target, "variant"), String(number));
  await runOk(["tar", "-cf", "head.tar", "variant"], { cwd: target });
  // Header and content; what ends an archive is at the end of the rest.
  const head = readFileSync(join(target, "head.tar")).subarray(0, headBytes);
  const packedPath = join(target, "layer.tar.gz");
  writeFileSync(packedPath, gzipSync(head));
  await pipeline(createReadStream(layerPath), createWriteStream(packedPath, { flags: "a" }));
  const hash = createHash("sha256").update(head);
  await pipeline(createReadStream(layerPath), createGunzip(), hash);
  const diffId = `sha256:${hash.digest("hex")}`;
  await writeOciImage(target, { layers: [{ packedPath, diffId }] });
}

/** Packs files of this machine until there are enough of them. */
async function packFiles(target: string): Promise<void> {
  const listed = await runOk(
    [
      "find",
      "/usr/lib",
      "/usr/share",
      "-xdev",
      "-type",
      "f",
      "-size",
      "-8M",
      "-printf",
      "%s %P %H\n",
    ],
    { timeoutMs: 60_000 },
  );
  const names: string[] = [];
  let sum = 0;
  for (const entry of listed.split("\n")) {
    const [size = "0", path = "", root = ""] = entry.split(" ");
    if (sum >= wantedBytes || !existsSync(join(root, path))) continue;
    sum += Number(size) + 1024;
    names.push(join(root, path).slice(1));
  }
  await run(["tar", "-C", "/", "-cf", target, "-T", "-"], {
    input: names.join("\n"),
    timeoutMs: 60_000,
  });
}
