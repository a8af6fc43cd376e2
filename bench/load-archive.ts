/** An image of 204 MB made of this machine's own files, the same for every engine. */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run, runOk } from "../test/support/process.ts";

const wantedBytes = 204_000_000;
let made: Promise<LoadArchive> | undefined;

/** The image in the forms that it is read in. */
export interface LoadArchive {
  /** The tar of `docker save`. */
  readonly dockerArchive: string;
  /** An OCI layout; the image is named `big`. */
  readonly ociFolder: string;
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
  const { config, layerNames } = await writeOciImage(ociFolder, { layers: [layer], name: "big" });
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
  return {
    dockerArchive: join(folder, "image.tar"),
    ociFolder,
    layerPath: join(folder, "layer.tar.gz"),
  };
}

/** Writes an OCI layout of plain layer tars, which it packs. @returns config and names of layers */
export async function writeOciImage(
  target: string,
  image: { readonly layers: readonly string[]; readonly name: string },
): Promise<{ readonly config: string; readonly layerNames: readonly string[] }> {
  const blobs = join(target, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const diffIds: string[] = [];
  const descriptors: object[] = [];
  const layerNames: string[] = [];
  for (const layer of image.layers) {
    diffIds.push(`sha256:${await digestOf(layer)}`);
    await runOk(["gzip", "-6", "-k", layer], { timeoutMs: 120_000 });
    const digest = await digestOf(`${layer}.gz`);
    const { size } = statSync(`${layer}.gz`);
    renameSync(`${layer}.gz`, join(blobs, digest));
    const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
    descriptors.push({ mediaType, digest: `sha256:${digest}`, size });
    layerNames.push(`blobs/sha256/${digest}`);
  }
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["sh"] },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: diffIds.map(() => ({ created_by: "bench" })),
  });
  const put = (mediaType: string, text: string): object => {
    const digest = createHash("sha256").update(text).digest("hex");
    writeFileSync(join(blobs, digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = put(
    mediaType,
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: put("application/vnd.oci.image.config.v1+json", config),
      layers: descriptors,
    }),
  );
  const annotations = { "org.opencontainers.image.ref.name": image.name };
  writeFileSync(join(target, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(target, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  return { config, layerNames };
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

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
