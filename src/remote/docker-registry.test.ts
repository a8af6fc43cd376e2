/** The client against Debian's docker-registry. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../../test/support/docker-registry.ts";
import type { ContentStore } from "../content/content-store.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { silentLogger } from "../lib/log.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { digestOf } from "../oci/digest.ts";
import { encodeIndex, encodeManifest } from "../oci/manifest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { openRegistryClient } from "./http-registry-client.ts";
import type { RegistryClient, RegistryConfig } from "./registry-client.ts";

const config: RegistryConfig = {
  mirrors: [],
  insecureRegistries: [],
  certsDirs: [],
  downloadsMax: 3,
  uploadsMax: 5,
  attemptsMax: 2,
};

const bytesOf = (size: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, index) => (index * 31 + seed * 7 + (index >> 8)) & 0xff);

/** Stores an image's blobs and tells its manifest. */
async function makeImage(content: ContentStore): Promise<{
  readonly manifest: Uint8Array;
  readonly layer: Descriptor;
  readonly configBlob: Descriptor;
}> {
  const layerBytes = bytesOf(700_000, 1);
  const configBytes = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{}}');
  const layer: Descriptor = {
    mediaType: ociMediaTypes.layerGzip,
    digest: (await content.put(layerBytes)).digest,
    size: layerBytes.byteLength,
  };
  const configBlob: Descriptor = {
    mediaType: ociMediaTypes.config,
    digest: (await content.put(configBytes)).digest,
    size: configBytes.byteLength,
  };
  const manifest = encodeManifest({
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: configBlob,
    layers: [layer],
  });
  return { manifest, layer, configBlob };
}

interface Bench extends AsyncDisposable {
  readonly client: RegistryClient;
  readonly content: ContentStore;
  readonly empty: ContentStore;
}

async function openBench(changes: Partial<RegistryConfig> = {}): Promise<Bench> {
  const root = mkdtempSync(join(tmpdir(), "tug-remote-"));
  const client = openRegistryClient({ config: { ...config, ...changes }, logger: silentLogger });
  return {
    client,
    content: await openContentStore({ root: join(root, "a"), logger: silentLogger }),
    empty: await openContentStore({ root: join(root, "b"), logger: silentLogger }),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

async function push(
  bench: Bench,
  reference: Reference,
  credentials?: { readonly username: string; readonly password: string },
): Promise<Awaited<ReturnType<typeof makeImage>>> {
  const image = await makeImage(bench.content);
  const call = credentials === undefined ? {} : { credentials };
  for (const descriptor of [image.layer, image.configBlob]) {
    await bench.client.pushBlob(reference, {
      ...call,
      descriptor,
      open: (offset) => bench.content.open(descriptor.digest, { offset }),
    });
  }
  await bench.client.pushManifest(reference, {
    ...call,
    mediaType: ociMediaTypes.manifest,
    bytes: image.manifest,
  });
  return image;
}

describe.skipIf(!hasDockerRegistry)("an open docker-registry", () => {
  let registry: DockerRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry();
  });
  afterAll(async () => await registry[Symbol.asyncDispose]());
  const at = (name: string): Reference => parseReference(`${registry.host}/${name}`);

  test("gives back what was pushed, by tag and by digest", async () => {
    await using bench = await openBench();
    const reference = at("team/app:v1");
    const image = await push(bench, reference);
    const digest = digestOf(image.manifest);
    const resolved = await bench.client.resolve(reference, {});
    expect(resolved).toEqual({
      mediaType: ociMediaTypes.manifest,
      digest,
      size: image.manifest.byteLength,
    });
    const fetched = await bench.client.fetchManifest(at(`team/app@${digest}`), {});
    expect(Buffer.compare(fetched.bytes, image.manifest)).toBe(0);
    const states: string[] = [];
    const blob = await bench.client.fetchBlob(reference, {
      descriptor: image.layer,
      content: bench.empty,
      progress: ({ kind }) => void (states.at(-1) === kind || states.push(kind)),
    });
    expect(blob.sizeBytes).toBe(700_000);
    expect(states).toEqual(["waiting", "transferring", "done"]);
    expect(await bench.client.listTags(reference, {})).toEqual(["v1"]);
  });

  test("takes a blob once, and mounts it from another repository", async () => {
    await using bench = await openBench();
    const { layer } = await push(bench, at("first:v1"));
    const kinds: string[] = [];
    const open = (offset: number): ReadableStream<Uint8Array> =>
      bench.content.open(layer.digest, { offset });
    const progress = ({ kind, from }: { kind: string; from?: string }): void =>
      void kinds.push(from === undefined ? kind : `${kind} ${from}`);
    await bench.client.pushBlob(at("first:v1"), { descriptor: layer, open, progress });
    await bench.client.pushBlob(at("second:v1"), {
      descriptor: layer,
      open,
      progress,
      mountFrom: ["nowhere", "first"],
    });
    expect(kinds).toEqual(["waiting", "exists", "waiting", "mounted first"]);
  });

  test("tells what it has not, in Docker's words", async () => {
    await using bench = await openBench();
    await push(bench, at("words:v1"));
    const missing = bench.client.resolve(at("words:nope"), {});
    await expect(missing).rejects.toMatchObject({
      kind: "not-found",
      message:
        `manifest for ${registry.host}/words:nope not found: ` +
        "manifest unknown: manifest unknown",
    });
    await expect(bench.client.listTags(at("never"), {})).rejects.toMatchObject({
      kind: "not-found",
      message:
        `repository ${registry.host}/never not found: ` +
        "name unknown: repository name not known to registry",
    });
  });

  test("has no referrers API; the tag schema stands in", async () => {
    await using bench = await openBench();
    const image = await push(bench, at("signed:v1"));
    const subject = digestOf(image.manifest);
    expect(await bench.client.listReferrers(at("signed"), { digest: subject })).toEqual([]);
    const artifact = {
      mediaType: ociMediaTypes.manifest,
      digest: subject,
      size: image.manifest.byteLength,
      artifactType: "application/x-signature",
    };
    await bench.client.pushManifest(at(`signed:${subject.replace(":", "-")}`), {
      mediaType: ociMediaTypes.index,
      bytes: encodeIndex({
        schemaVersion: 2,
        mediaType: ociMediaTypes.index,
        manifests: [artifact],
      }),
    });
    const options = { digest: subject, artifactType: "application/x-signature" };
    expect(await bench.client.listReferrers(at("signed"), options)).toEqual([artifact]);
    const other = { digest: subject, artifactType: "application/x-other" };
    expect(await bench.client.listReferrers(at("signed"), other)).toEqual([]);
  });

  test("is searched by its catalog", async () => {
    await using bench = await openBench();
    await push(bench, at("findable/thing:v1"));
    const hits = await bench.client.search(`${registry.host}/findable`, { countMax: 25 });
    expect(hits.map(({ name }) => name)).toEqual(["findable/thing"]);
  });

  test("an empty blob goes there and back", async () => {
    await using bench = await openBench();
    const blob = await bench.content.put(new Uint8Array(0));
    const descriptor = { mediaType: ociMediaTypes.empty, digest: blob.digest, size: 0 };
    const open = (offset: number): ReadableStream<Uint8Array> =>
      bench.content.open(blob.digest, { offset });
    await bench.client.pushBlob(at("void"), { descriptor, open });
    const got = await bench.client.fetchBlob(at("void"), { descriptor, content: bench.empty });
    expect(got.sizeBytes).toBe(0);
  });
});

describe.skipIf(!hasDockerRegistry)("a docker-registry with users", () => {
  const credentials = { username: "ann", password: "s3cret: ü" };
  let registry: DockerRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry({ htpasswd: credentials });
  });
  afterAll(async () => await registry[Symbol.asyncDispose]());
  const at = (name: string): Reference => parseReference(`${registry.host}/${name}`);

  test("takes the right password for push, pull and login", async () => {
    await using bench = await openBench();
    const { layer } = await push(bench, at("app:v1"), credentials);
    const content = bench.empty;
    const blob = await bench.client.fetchBlob(at("app"), {
      descriptor: layer,
      content,
      credentials,
    });
    expect(blob.sizeBytes).toBe(layer.size);
    expect(await bench.client.login(registry.host, { credentials })).toEqual({});
  });

  test("refuses a wrong one and none, in Docker's words", async () => {
    await using bench = await openBench();
    const wrong = { ...credentials, password: "wrong" };
    await expect(bench.client.login(registry.url, { credentials: wrong })).rejects.toMatchObject({
      kind: "unauthorized",
      message: `login attempt to ${registry.url}/v2/ failed with status: 401 Unauthorized`,
    });
    await expect(bench.client.resolve(at("app:v1"), { credentials: wrong })).rejects.toMatchObject({
      kind: "unauthorized",
      message: "unauthorized: authentication required",
    });
    await expect(bench.client.resolve(at("app:v1"), {})).rejects.toMatchObject({
      kind: "unauthorized",
      message: `Head "${registry.url}/v2/app/manifests/v1": no basic auth credentials`,
    });
    expect(registry.log()).not.toContain("s3cret");
  });
});

describe.skipIf(!hasDockerRegistry)("a docker-registry with TLS", () => {
  let registry: DockerRegistry;
  beforeAll(async () => {
    registry = await startDockerRegistry({ tls: true });
  });
  afterAll(async () => await registry[Symbol.asyncDispose]());

  test("is trusted by the CA in its folder of certs.d", async () => {
    await using bench = await openBench({ certsDirs: ["/nonexistent", registry.certsDir ?? ""] });
    const { layer } = await push(bench, parseReference(`${registry.host}/safe:v1`));
    const again = bench.client.fetchBlob(parseReference(`${registry.host}/safe:v1`), {
      descriptor: layer,
      content: bench.empty,
    });
    expect((await again).sizeBytes).toBe(layer.size);
  });

  test("is not trusted under a name without one; an insecure name need not be", async () => {
    const host = `localhost:${registry.port}`;
    const lookUp = async (): Promise<readonly string[]> => ["192.0.2.1"];
    const reference = parseReference(`${host}/safe:v1`);
    await using secure = openRegistryClient({ config, logger: silentLogger, lookUp });
    await expect(secure.resolve(reference, {})).rejects.toMatchObject({
      kind: "unavailable",
      message:
        `Get "https://${host}/v2/": tls: failed to verify certificate: ` +
        "x509: certificate signed by unknown authority",
    });
    const insecure = { ...config, insecureRegistries: ["192.0.2.0/24"] };
    await using lax = openRegistryClient({ config: insecure, logger: silentLogger, lookUp });
    expect((await lax.resolve(reference, {})).mediaType).toBe(ociMediaTypes.manifest);
  });
});
