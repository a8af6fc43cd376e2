/** Images in every form that registries have: packed in any way, of either schema, for any platform. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { clientNames } from "../support/clients.ts";
import {
  blobOf,
  openDistribution,
  pushBlob,
  type Send,
  sha256,
  types,
} from "../support/distribution.ts";
import { referenceHost } from "../support/engine.ts";
import { busyboxEntries, testLabel } from "../support/images.ts";
import { at } from "../support/json.ts";
import { startTugRegistry, type TugRegistry } from "../support/tug-registry.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: [] });
const ours = describe.skipIf(referenceHost !== undefined);
let registry: TugRegistry;
let send: Send;

beforeAll(async () => {
  if (referenceHost !== undefined) return;
  registry = await startTugRegistry();
  send = openDistribution(registry.url);
});
afterAll(async () => await registry?.[Symbol.asyncDispose]());

const native = process.arch === "arm64" ? "arm64" : "amd64";
const low = tar([...busyboxEntries()]);
const oci = "application/vnd.oci.image.layer.v1.tar";
const docker = "application/vnd.docker.image.rootfs.diff.tar";

interface Form {
  readonly layerType: string;
  readonly pack: (bytes: Uint8Array) => Uint8Array;
  readonly manifestType?: string;
  readonly configType?: string;
}

/** Members one after the other, as parallel packers write them. */
function inMembers(bytes: Uint8Array): Uint8Array {
  const size = Math.ceil(bytes.length / 5);
  const parts = [0, 1, 2, 3, 4].map((n) => bytes.subarray(n * size, (n + 1) * size));
  return Buffer.concat(parts.map((part) => gzipSync(part)));
}

/** Frames one after the other, and one that decoders skip. */
function inFrames(bytes: Uint8Array): Uint8Array {
  const half = bytes.length >> 1;
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const parts = [bytes.subarray(0, half), bytes.subarray(half)].map((part) =>
    zstdCompressSync(part),
  );
  return Buffer.concat([parts[0] ?? skippable, skippable, parts[1] ?? skippable]);
}

const dockerTypes = { manifestType: types.dockerManifest, configType: types.dockerConfig };
const forms: Readonly<Record<string, Form>> = {
  "an OCI image with plain layers": { layerType: oci, pack: (bytes) => bytes },
  "an OCI image with gzip layers": { layerType: `${oci}+gzip`, pack: (bytes) => gzipSync(bytes) },
  "an OCI image with gzip layers of several members": {
    layerType: `${oci}+gzip`,
    pack: inMembers,
  },
  "an OCI image with zstd layers": {
    layerType: `${oci}+zstd`,
    pack: (bytes) => zstdCompressSync(bytes),
  },
  "an OCI image with zstd layers of several frames": { layerType: `${oci}+zstd`, pack: inFrames },
  "a Docker image with gzip layers": {
    layerType: `${docker}.gzip`,
    pack: (bytes) => gzipSync(bytes),
    ...dockerTypes,
  },
  "a Docker image with plain layers": {
    layerType: docker,
    pack: (bytes) => bytes,
    ...dockerTypes,
  },
};

/** Publishes an image of two layers, with annotations. @returns its manifest's descriptor */
async function publish(
  repository: string,
  form: Form,
  more: { readonly platform?: Readonly<Record<string, string>>; readonly text?: string } = {},
) {
  const { platform = { architecture: native, os: "linux" }, text = "high" } = more;
  const tars = [low, tar([{ name: "text", content: `${text}\n` }])];
  const config = blobOf(
    JSON.stringify({
      ...platform,
      config: { Cmd: ["cat", "/text"], Labels: { [testLabel]: "1" } },
      rootfs: { type: "layers", diff_ids: tars.map((bytes) => sha256(bytes)) },
    }),
  );
  const layers = tars.map((bytes) => {
    const packed = form.pack(bytes);
    return { bytes: packed, digest: sha256(packed) };
  });
  for (const blob of [config, ...layers]) await pushBlob(send, repository, blob);
  const mediaType = form.manifestType ?? types.manifest;
  // Spaces and unknown fields: what is not ours to format stays as it is.
  const manifest = JSON.stringify(
    {
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: form.configType ?? types.config,
        digest: config.digest,
        size: config.bytes.length,
      },
      layers: layers.map(({ bytes, digest }, index) => ({
        mediaType: form.layerType,
        size: bytes.length,
        digest,
        annotations: { "org.example.layer": `${index}` },
      })),
      annotations: { "org.opencontainers.image.title": "a title" },
      "x-unknown": [1, { two: null }],
    },
    undefined,
    2,
  );
  const digest = sha256(manifest);
  const put = await send(`PUT /v2/${repository}/manifests/${digest}`, {
    body: manifest,
    headers: { "Content-Type": mediaType },
  });
  expect(put.status).toBe(201);
  return { mediaType, digest, size: manifest.length, platform, manifest };
}

async function putTag(repository: string, mediaType: string, body: string): Promise<void> {
  const path = `/v2/${repository}/manifests/1`;
  const put = await send(`PUT ${path}`, { body, headers: { "Content-Type": mediaType } });
  expect(put.status).toBe(201);
}

ours("a registry has", () => {
  for (const [index, [what, form]] of Object.entries(forms).entries()) {
    test(`${what}: it comes, runs, and goes elsewhere with every byte`, async () => {
      const repository = `forms/f${index}`;
      const { manifest, mediaType, digest } = await publish(repository, form);
      await putTag(repository, mediaType, manifest);
      const image = `${registry.host}/${repository}:1`;
      for (const name of clientNames) {
        const cli = engine.client(name);
        expect(await cli.ok("pull", image)).toContain(`Digest: ${digest}`);
        expect(await cli.ok("run", "--rm", "--network", "none", image)).toBe("high");
        const copy = `${registry.host}/copies/${name}-f${index}:1`;
        await cli.ok("tag", image, copy);
        expect(await cli.ok("push", copy)).toContain(`digest: ${digest} size: ${manifest.length}`);
        const path = copy.slice(registry.host.length + 1).replace(/:1$/, "/manifests/1");
        const back = await send(`GET /v2/${path}`, { headers: { Accept: mediaType } });
        expect([back.text, back.headers.get("content-type")]).toEqual([manifest, mediaType]);
        await cli.ok("rmi", "-f", image, copy);
      }
    });
  }

  test("an index: the host's platform comes by itself, any other with its variant when asked for", async () => {
    const repository = "forms/index";
    const form = forms["an OCI image with gzip layers"];
    if (form === undefined) return;
    const platforms = [
      { architecture: "s390x", os: "linux" },
      { architecture: "arm", os: "linux", variant: "v6" },
      { architecture: "arm", os: "linux", variant: "v7" },
      { architecture: "arm64", os: "linux", variant: "v8" },
      { architecture: "amd64", os: "linux" },
      { architecture: "amd64", os: "windows", "os.version": "10.0.1" },
    ];
    const manifests = [];
    for (const platform of platforms) {
      const text = Object.values(platform).join("-");
      const { manifest: _, ...descriptor } = await publish(repository, form, { platform, text });
      manifests.push(descriptor);
    }
    // What attests to an image is in the index as well, and is none.
    const attestation = {
      ...(await publish(repository, form, {
        platform: { architecture: "unknown", os: "unknown" },
      })),
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    };
    const { manifest: _, ...attested } = attestation;
    for (const [mediaType, entries] of [
      [types.index, [...manifests, attested]],
      [types.dockerList, manifests],
    ] as const) {
      await putTag(
        repository,
        mediaType,
        JSON.stringify({ schemaVersion: 2, mediaType, manifests: entries }),
      );
      const image = `${registry.host}/${repository}:1`;
      const cli = engine.client("tug");
      await cli.ok("pull", "-q", image);
      expect(await cli.ok("run", "--rm", "--network", "none", image)).toContain(native);
      for (const [asked, architecture, variant] of [
        ["linux/s390x", "s390x", undefined],
        ["linux/arm/v6", "arm", "v6"],
        ["linux/arm/v7", "arm", "v7"],
        ["linux/arm", "arm", "v7"],
        ["linux/arm64", "arm64", "v8"],
        ["linux/amd64", "amd64", undefined],
      ] as const) {
        await cli.ok("pull", "-q", "--platform", asked, image);
        const query = encodeURIComponent(JSON.stringify({ os: "linux", architecture, variant }));
        const { json } = await engine.api("GET", `/images/${image}/json?platform=${query}`);
        expect({ asked, architecture: at(json, "Architecture") }).toEqual({ asked, architecture });
        expect(at(json, "Variant")).toBe(variant);
      }
      for (const absent of ["linux/riscv64", "windows/amd64", "linux/arm/v5"]) {
        expect(await cli.fails("pull", "--platform", absent, image)).toMatch(
          /no matching manifest|cannot be used on this platform/,
        );
      }
      await cli.ok("rmi", "-f", image);
    }
  }, 60_000);
});
