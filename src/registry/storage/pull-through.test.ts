import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ContentStore, ingestRefOf } from "../../content/content-store.ts";
import { openContentStore } from "../../content/local-content-store.ts";
import { EngineError } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { createFront } from "../http/front.ts";
import { openGate } from "../auth/gate.ts";
import { openRegistry } from "./local-registry.ts";
import { Metrics } from "../http/metrics.ts";
import { createUpstream, type UpstreamOptions } from "./pull-through.ts";
import { createRegistryHandler } from "../http/server.ts";

const mebibyte = 1024 * 1024;
const layer = new Uint8Array(4 * mebibyte).map((_, index) => index % 251);
const layerDigest = digestOf(layer);
/** What no manifest names. */
const others = [1, 2, 3].map((seed) => layer.map((byte) => byte ^ seed));
const contents = new Map([layer, ...others].map((bytes) => [digestOf(bytes), bytes] as const));
const config = "{}";
const manifest = new TextEncoder().encode(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: ociMediaTypes.manifest,
    config: { mediaType: ociMediaTypes.config, digest: digestOf(config), size: config.length },
    layers: [{ mediaType: ociMediaTypes.layer, digest: layerDigest, size: layer.length }],
  }),
);

/** What the other registry does when it is asked for the layer. */
interface Behaviour {
  /** Bytes of the first piece; the rest comes when `goOn` resolves. */
  readonly firstBytes: number;
  readonly goOn: Promise<void>;
  readonly isLying?: boolean;
}

let undo: AsyncDisposableStack;
let url = "";
let fetchCount = 0;
let resolveFailure: EngineError | undefined;
let nowMs = Date.now();
let quotaBytes: number | undefined;
/** The next blob that is looked for goes while it is. */
let goesAtOnce = false;

/** What the other registry lists, or its failure. */
function listed<T>(list: T): T {
  if (resolveFailure !== undefined) throw resolveFailure;
  return list;
}
const referrers = ["sbom", "signature", "sbom"].map((kind, index) => ({
  mediaType: ociMediaTypes.manifest,
  digest: digestOf(`${index}`),
  size: 1,
  artifactType: `application/${kind}`,
}));

async function transfer(
  content: ContentStore,
  digest: Digest,
  how: {
    readonly behaviour: Behaviour;
    readonly progress: (currentBytes: number) => void;
  },
): Promise<Awaited<ReturnType<UpstreamOptions["client"]["fetchBlob"]>>> {
  const { behaviour, progress } = how;
  const bytes = contents.get(digest) ?? layer;
  await using ingest = await content.ingest({ ref: ingestRefOf(digest), expected: digest });
  await ingest.write(bytes.subarray(0, behaviour.firstBytes));
  progress(ingest.sizeBytes);
  await behaviour.goOn;
  const rest = bytes.slice(behaviour.firstBytes);
  if (behaviour.isLying === true) rest[0] = 255;
  await ingest.write(rest);
  progress(ingest.sizeBytes);
  return await ingest.commit();
}

async function serve(behaviour: Behaviour): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "tug-cache-"));
  undo.defer(() => rmSync(root, { recursive: true }));
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger: silentLogger });
  undo.use(metadata);
  const content = await openContentStore({ root: join(root, "content"), logger: silentLogger });
  const find = content.find.bind(content);
  content.find = (digest) => {
    const found = find(digest);
    if (!goesAtOnce || found === undefined) return found;
    goesAtOnce = false;
    rmSync(found.path);
    return found;
  };
  const digest = digestOf(manifest);
  const descriptor = { mediaType: ociMediaTypes.manifest, digest, size: manifest.length };
  const client: UpstreamOptions["client"] = {
    resolve: async ({ tag }) => {
      if (resolveFailure !== undefined) throw resolveFailure;
      if (tag !== "v1") throw new EngineError("not-found", "manifest unknown");
      return descriptor;
    },
    fetchManifest: async () => ({ descriptor, bytes: manifest }),
    findBlobSize: async (_reference, { digest }) => listed(contents.get(digest)?.length),
    listTags: async () => listed(["v2", "v1", "v10"]),
    listReferrers: async () => listed(referrers),
    fetchBlob: async (_reference, options) => {
      fetchCount += 1;
      const totalBytes = layer.length;
      const progress = (currentBytes: number): void =>
        options.progress?.({ kind: "transferring", currentBytes, totalBytes });
      return await transfer(options.content, options.descriptor.digest, { behaviour, progress });
    },
  };
  const registry = await openRegistry({
    content,
    metadata,
    logger: silentLogger,
    graceMs: 1_000,
    uploadExpiryMs: 1_000,
    removesUntagged: false,
    ...(quotaBytes === undefined ? {} : { quota: { sizeMaxBytes: quotaBytes } }),
    upstream: (context) => createUpstream(context, { client, domain: "other" }),
    nowMs: () => nowMs,
  });
  undo.use(registry);
  const handle = createRegistryHandler({
    registry,
    gate: openGate,
    metrics: new Metrics([]),
    logger: silentLogger,
    isReadOnly: true,
    isDeleteAllowed: true,
    hasMetrics: false,
    hasAccessLog: false,
  });
  const front = createFront({ handle, logger: silentLogger });
  undo.defer(async () => await front.close());
  const { port } = await front.listen({ host: "127.0.0.1", port: 0 });
  url = `http://127.0.0.1:${port}/v2/a/app`;
  expect((await fetch(`${url}/manifests/v1`)).status).toBe(200);
}

beforeEach(() => {
  undo = new AsyncDisposableStack();
  fetchCount = 0;
  resolveFailure = undefined;
  quotaBytes = undefined;
});
afterEach(async () => await undo.disposeAsync());

describe("a blob that is not here yet", () => {
  test("is served while it comes, to all who ask, but for its last byte", async () => {
    const gate = Promise.withResolvers<void>();
    await serve({ firstBytes: 2 * mebibyte, goOn: gate.promise });
    const answers = [await fetch(`${url}/blobs/${layerDigest}`)];
    answers.push(await fetch(`${url}/blobs/${layerDigest}`));
    expect(answers.map((one) => one.headers.get("content-length"))).toEqual(
      Array(2).fill(String(layer.length)),
    );
    const readers = answers.map((one) => one.body?.getReader());
    const firsts = await Promise.all(readers.map(async (reader) => await reader?.read()));
    expect(firsts.every((piece) => (piece?.value?.length ?? 0) > 0)).toBe(true);
    const part = await fetch(`${url}/blobs/${layerDigest}`, { headers: { Range: "bytes=5-7" } });
    expect([part.status, [...new Uint8Array(await part.arrayBuffer())]]).toEqual([206, [5, 6, 7]]);
    gate.resolve();
    for (const [index, reader] of readers.entries()) {
      let sizeBytes = firsts[index]?.value?.length ?? 0;
      for (let piece = await reader?.read(); piece?.done === false; piece = await reader?.read()) {
        sizeBytes += piece.value.length;
      }
      expect(sizeBytes).toBe(layer.length);
    }
    expect(fetchCount).toBe(1);
    const again = new Uint8Array(await (await fetch(`${url}/blobs/${layerDigest}`)).arrayBuffer());
    expect(digestOf(again)).toBe(layerDigest);
    expect(fetchCount).toBe(1);
  });

  test("that breaks off, or lies, is never had whole, and is fetched anew", async () => {
    const gone = Promise.reject(new EngineError("unavailable", "gone"));
    gone.catch(() => undefined);
    for (const behaviour of [
      { firstBytes: 2 * mebibyte, goOn: gone },
      { firstBytes: 2 * mebibyte, goOn: Bun.sleep(50), isLying: true },
    ]) {
      fetchCount = 0;
      await serve(behaviour);
      for (let round = 1; round <= 2; round += 1) {
        const answer = await fetch(`${url}/blobs/${layerDigest}`);
        await expect(answer.arrayBuffer()).rejects.toThrow();
        expect(fetchCount).toBe(round);
      }
    }
  });

  test("and that no manifest here names is asked for all the same", async () => {
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    const elsewhere = url.replace("a/app", "a/other");
    const answer = await fetch(`${elsewhere}/blobs/${layerDigest}`);
    expect(digestOf(new Uint8Array(await answer.arrayBuffer()))).toBe(layerDigest);
    expect((await fetch(`${elsewhere}/blobs/${digestOf("nowhere")}`)).status).toBe(404);
    resolveFailure = new EngineError("unavailable", "out of reach");
    expect((await fetch(`${elsewhere}/blobs/${layerDigest}`)).status).toBe(200);
    expect((await fetch(`${elsewhere}/blobs/${digestOf("nowhere")}`)).status).toBe(503);
  });

  test("and breaks off before it begins is answered with a failure", async () => {
    const gone = Promise.reject(new EngineError("unavailable", "gone"));
    gone.catch(() => undefined);
    await serve({ firstBytes: 0, goOn: gone });
    expect((await fetch(`${url}/blobs/${layerDigest}`)).status).toBe(503);
    expect((await fetch(`${url}/blobs/${digestOf("named by nobody")}`)).status).toBe(404);
  });
});

test("a blob that goes while it is asked for is fetched again", async () => {
  await serve({ firstBytes: 1, goOn: Promise.resolve() });
  const bytes = async (): Promise<Digest> => {
    const answer = await fetch(`${url}/blobs/${layerDigest}`);
    expect(answer.status).toBe(200);
    return digestOf(new Uint8Array(await answer.arrayBuffer()));
  };
  expect([await bytes(), fetchCount]).toEqual([layerDigest, 1]);
  goesAtOnce = true;
  expect([await bytes(), fetchCount]).toEqual([layerDigest, 2]);
});

describe("a quota", () => {
  test("lets the oldest copies give way to what is asked for", async () => {
    quotaBytes = layer.length + 10_000;
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    const get = async (repository: string, digest: Digest): Promise<readonly [number, boolean]> => {
      nowMs += 1_000;
      const answer = await fetch(`${url.replace("a/app", repository)}/blobs/${digest}`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      return [answer.status, digestOf(bytes) === digest];
    };
    const digests = others.map((bytes) => digestOf(bytes));
    for (const digest of digests) expect(await get("a/app", digest)).toEqual([200, true]);
    expect(fetchCount).toBe(3);
    const [first, , last] = digests;
    if (first === undefined || last === undefined) throw new Error("too few");
    // The last is here, and has room in another repository as well; the first went.
    expect([await get("a/app", last), fetchCount]).toEqual([[200, true], 3]);
    expect([await get("a/two", last), fetchCount]).toEqual([[200, true], 3]);
    expect([await get("a/app", first), fetchCount]).toEqual([[200, true], 4]);
    expect([await get("a/two", last), fetchCount]).toEqual([[200, true], 5]);
  });

  test("that has room for one alone lets the others wait", async () => {
    quotaBytes = layer.length + 10_000;
    await serve({ firstBytes: 1, goOn: Bun.sleep(20) });
    const answers = await Promise.all(
      [...others, ...others].map(async (bytes) => {
        const answer = await fetch(`${url}/blobs/${digestOf(bytes)}`);
        return [answer.status, (await answer.arrayBuffer()).byteLength];
      }),
    );
    expect(answers).toEqual(Array(6).fill([200, layer.length]));
  });

  test("has no room for what is larger than all of it", async () => {
    quotaBytes = layer.length - 1;
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    const answer = await fetch(`${url}/blobs/${layerDigest}`);
    expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("quota")]);
    expect(fetchCount).toBe(0);
  });
});

describe("a list", () => {
  const get = async (path: string): Promise<{ status: number; text: string }> => {
    const answer = await fetch(`${url}${path}`);
    return { status: answer.status, text: await answer.text() };
  };

  test("of tags is the other's, in order and in pages", async () => {
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    expect((await get("/tags/list")).text).toContain('"tags":["v1","v10","v2"]');
    expect((await get("/tags/list?n=1&last=v1")).text).toContain('"tags":["v10"]');
  });

  test("of referrers is the other's too", async () => {
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    const digestsOf = async (query: string): Promise<readonly string[]> => {
      const { text } = await get(`/referrers/${digestOf("subject")}${query}`);
      return (JSON.parse(text) as { manifests: { digest: string }[] }).manifests.map(
        ({ digest }) => digest,
      );
    };
    const sorted = referrers.map(({ digest }) => digest).sort();
    expect(await digestsOf("")).toEqual(sorted);
    expect(await digestsOf(`?last=${sorted[0]}`)).toEqual(sorted.slice(1));
    const only = "?artifactType=application/signature";
    expect(await digestsOf(only)).toEqual([digestOf("1")]);
  });

  test("is of the copies when the other does not answer, and a failure when there are none", async () => {
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    resolveFailure = new EngineError("unavailable", "out of reach");
    expect((await get("/tags/list")).text).toContain('"tags":["v1"]');
    expect((await get(`/referrers/${digestOf("subject")}`)).text).toContain('"manifests":[]');
    expect((await fetch(url.replace("a/app", "a/none/tags/list"))).status).toBe(503);
    resolveFailure = new EngineError("permission-denied", "access denied");
    expect((await fetch(url.replace("a/app", "a/none/tags/list"))).status).toBe(403);
    resolveFailure = new EngineError("not-found", "no such repository");
    expect((await fetch(url.replace("a/app", "a/none/tags/list"))).status).toBe(404);
  });
});

describe("a tag", () => {
  test("is believed for a minute, and longer when the other does not answer", async () => {
    await serve({ firstBytes: 1, goOn: Promise.resolve() });
    resolveFailure = new EngineError("unavailable", "out of reach");
    expect((await fetch(`${url}/manifests/v1`)).status).toBe(200);
    nowMs += 3_600_000;
    expect((await fetch(`${url}/manifests/v1`)).status).toBe(200);
    expect((await fetch(`${url}/manifests/v2`)).status).toBe(503);
    resolveFailure = new EngineError("unauthorized", "no basic auth credentials");
    expect((await fetch(`${url}/manifests/v1`)).status).toBe(200);
    const refused = await fetch(`${url}/manifests/v2`);
    expect([refused.status, await refused.text()]).toEqual([
      403,
      expect.stringContaining("DENIED"),
    ]);
    resolveFailure = undefined;
    expect((await fetch(`${url}/manifests/v2`)).status).toBe(404);
  });
});
