/** Images as OCI layouts, which skopeo takes to a registry. */
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runOk } from "../test/support/process.ts";

/** What the image of a layout is called in it. */
export const layoutName = "image";

/** A layer, packed with gzip. */
export interface PackedLayer {
  readonly packedPath: string;
  /** Of the unpacked bytes. */
  readonly diffId: string;
}

/** Packs a tar. */
export async function packLayer(path: string): Promise<PackedLayer> {
  await runOk(["gzip", "-6", "-k", path], { timeoutMs: 120_000 });
  return { packedPath: `${path}.gz`, diffId: `sha256:${await digestOf(path)}` };
}

/** Writes an OCI layout of layers, whose files it takes. @returns config and names of layers */
export async function writeOciImage(
  target: string,
  image: { readonly layers: readonly PackedLayer[] },
): Promise<{ readonly config: string; readonly layerNames: readonly string[] }> {
  const blobs = join(target, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const diffIds: string[] = [];
  const descriptors: object[] = [];
  const layerNames: string[] = [];
  for (const { packedPath, diffId } of image.layers) {
    diffIds.push(diffId);
    const digest = await digestOf(packedPath);
    const { size } = statSync(packedPath);
    renameSync(packedPath, join(blobs, digest));
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
  const annotations = { "org.opencontainers.image.ref.name": layoutName };
  writeFileSync(join(target, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(target, "index.json"),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  return { config, layerNames };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
