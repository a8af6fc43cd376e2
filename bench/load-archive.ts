/** An image of 204 MB made of this machine's own files, the same for every engine. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, runOk } from "../test/support/process.ts";

const wantedBytes = 204_000_000;
let folder: string | undefined;

/** The path of the archive; made at the first call, removed at the end of the process. */
export async function loadArchivePath(): Promise<string> {
  if (folder !== undefined) return join(folder, "image.tar");
  folder = mkdtempSync("/tmp/tugbench-");
  const made = folder;
  process.once("exit", () => rmSync(made, { recursive: true, force: true }));
  const layer = join(folder, "layer.tar");
  await packFiles(layer);
  const diffId = await digestOf(layer);
  await runOk(["gzip", "-6", "-k", layer], { timeoutMs: 120_000 });
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["sh"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
    history: [{ created_by: "bench" }],
  });
  const configName = `${createHash("sha256").update(config).digest("hex")}.json`;
  writeFileSync(join(folder, configName), config);
  const manifest = [{ Config: configName, RepoTags: ["tugbench-big:1"], Layers: ["layer.tar.gz"] }];
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  await runOk(["tar", "-cf", "image.tar", "layer.tar.gz", configName, "manifest.json"], {
    cwd: folder,
  });
  rmSync(layer);
  return join(folder, "image.tar");
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
