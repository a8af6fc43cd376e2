/** The client against a registry that fails, lies and stalls. */
import { afterEach, beforeEach, describe, expect, setSystemTime, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type FaultRegistry,
  type FaultReply,
  type FaultRequest,
  startFaultRegistry,
} from "../../test/support/fault-registry.ts";
import { until } from "../../test/support/process.ts";
import type { ContentStore } from "../content/content-store.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { silentLogger } from "../lib/log.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { digestOf } from "../oci/digest.ts";
import { dockerMediaTypes, ociMediaTypes } from "../oci/media-types.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { openRegistryClient } from "./http-registry-client.ts";
import type { RegistryClient, RegistryConfig } from "./registry-client.ts";

const config: RegistryConfig = {
  mirrors: [],
  insecureRegistries: [],
  certsDirs: [],
  downloadsMax: 3,
  uploadsMax: 5,
  attemptsMax: 3,
};
const limits = {
  connectMs: 2_000,
  answerMs: 1_000,
  stallMs: 300,
  retryDelayMs: 5,
  retryDelayMaxMs: 20,
  retryAfterMaxMs: 2_000,
  patienceMaxMs: 1_500,
};
const bytes = Buffer.alloc(300_000, "some layer or other, ");
const layer: Descriptor = {
  mediaType: ociMediaTypes.layerGzip,
  digest: digestOf(bytes),
  size: bytes.byteLength,
};
const blobPath = `/v2/app/blobs/${layer.digest}`;
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: ociMediaTypes.manifest,
  config: layer,
  layers: [],
});
const faults = (code: string, message: string): string =>
  JSON.stringify({ errors: [{ code, message }] });

let root: string;
let content: ContentStore;
let client: RegistryClient;
const open: AsyncDisposable[] = [];

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "tug-remote-"));
  content = await openContentStore({ root, logger: silentLogger });
  client = openClient();
});

afterEach(async () => {
  setSystemTime();
  await client[Symbol.asyncDispose]();
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

function openClient(changes: Partial<RegistryConfig> = {}): RegistryClient {
  return openRegistryClient({ config: { ...config, ...changes }, logger: silentLogger, limits });
}

async function serve(
  route: (request: FaultRequest) => FaultReply | undefined | Promise<FaultReply | undefined>,
): Promise<FaultRegistry & { at(name: string): Reference }> {
  const registry = await startFaultRegistry(route);
  open.push(registry);
  return { ...registry, at: (name) => parseReference(`${registry.host}/${name}`) };
}

/** Answers a blob as a right registry does, ranges included. */
function ranged(request: FaultRequest): FaultReply {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers["range"] ?? "")?.[1] ?? "0");
  if (start === 0) return { body: bytes };
  const range = `bytes ${start}-${bytes.byteLength - 1}/${bytes.byteLength}`;
  return { status: 206, headers: { "content-range": range }, body: bytes.subarray(start) };
}

const fetchLayer = async (
  reference: Reference,
  more: { readonly signal?: AbortSignal; readonly descriptor?: Descriptor } = {},
): Promise<number> => {
  const options = { descriptor: layer, content, ...more };
  return (await client.fetchBlob(reference, options)).sizeBytes;
};

describe("a manifest", () => {
  const manifestOf = (reply: FaultReply): ((request: FaultRequest) => FaultReply | undefined) => {
    return ({ path }) => (path.includes("/manifests/") ? reply : undefined);
  };

  test("comes with its digest and media type, and by HEAD with its size", async () => {
    const headers = {
      "content-type": `${ociMediaTypes.manifest}; charset=utf-8`,
      "docker-content-digest": digestOf(manifest),
    };
    const registry = await serve(manifestOf({ body: manifest, headers }));
    const descriptor = {
      mediaType: ociMediaTypes.manifest,
      digest: digestOf(manifest),
      size: manifest.length,
    };
    expect(await client.resolve(registry.at("app"), {})).toEqual(descriptor);
    expect(registry.requests.map(({ method }) => method)).toEqual(["HEAD"]);
    expect((await client.fetchManifest(registry.at("app"), {})).descriptor).toEqual(descriptor);
    const accept = registry.requests[0]?.headers["accept"] ?? "";
    for (const type of [ociMediaTypes.index, dockerMediaTypes.manifestList]) {
      expect(accept).toContain(type);
    }
  });

  test("is read whole where HEAD does not tell its digest", async () => {
    const registry = await serve(manifestOf({ body: manifest }));
    expect((await client.resolve(registry.at("app"), {})).digest).toBe(digestOf(manifest));
    expect(registry.requests.map(({ method }) => method)).toEqual(["HEAD", "GET"]);
  });

  test("of another digest than the reference's is refused", async () => {
    const registry = await serve(manifestOf({ body: manifest }));
    const wanted = digestOf("another");
    await expect(client.fetchManifest(registry.at(`app@${wanted}`), {})).rejects.toMatchObject({
      kind: "data-loss",
      message: `manifest verification failed for digest ${wanted}`,
    });
  });

  test("of another digest than its header's is refused", async () => {
    const headers = { "docker-content-digest": digestOf("another") };
    const registry = await serve(manifestOf({ body: manifest, headers }));
    await expect(client.fetchManifest(registry.at("app"), {})).rejects.toMatchObject({
      kind: "data-loss",
    });
  });

  test("whose header and content disagree on the media type is refused", async () => {
    const headers = { "content-type": ociMediaTypes.index };
    const registry = await serve(manifestOf({ body: manifest, headers }));
    await expect(client.fetchManifest(registry.at("app"), {})).rejects.toThrow("its media type is");
  });

  test("that says to be too large is not read; one that does not say so is cut", async () => {
    const headers = { "content-type": ociMediaTypes.manifest };
    let sentBytes = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (; sentBytes < 1024 ** 3; sentBytes += 65_536) yield new Uint8Array(65_536);
    }
    const registry = await serve(({ path }) => ({
      headers,
      body: path.includes("/liar/") ? endless() : new Uint8Array(5 * 1024 ** 2),
    }));
    for (const name of ["honest", "liar"]) {
      await expect(client.fetchManifest(registry.at(name), {})).rejects.toMatchObject({
        kind: "data-loss",
        message: `manifest of ${registry.host}/${name}: more than 4194304 bytes`,
      });
    }
    expect(sentBytes).toBeLessThan(64 * 1024 ** 2);
  });

  for (const [what, type, body] of [
    ["said by its type", dockerMediaTypes.signedManifestV1, '{"schemaVersion":1}'],
    ["seen in its content", "application/json", '{"schemaVersion":1,"fsLayers":[]}'],
  ] as const) {
    test(`of schema 1, ${what}, is refused in Docker's words`, async () => {
      const registry = await serve(manifestOf({ body, headers: { "content-type": type } }));
      await expect(client.fetchManifest(registry.at("app:old"), {})).rejects.toMatchObject({
        kind: "invalid-argument",
        message: expect.stringMatching(
          `schema 1 support has been removed. Suggest the author of ${registry.host}/app:old to`,
        ),
      });
    });
  }

  test("that is no manifest is refused", async () => {
    for (const body of ["<html>", "[]", '{"schemaVersion":2,"mediaType":"text/html"}', ""]) {
      const registry = await serve(manifestOf({ body }));
      await expect(client.fetchManifest(registry.at("app"), {})).rejects.toMatchObject({
        kind: "invalid-argument",
      });
    }
  });
});

describe("a registry that wants to be asked later", () => {
  const later = (afterS: number) => ({
    status: 429,
    headers: { "retry-after": `${afterS}` },
    body: faults("TOOMANYREQUESTS", "slow down"),
  });

  test("is, when that is soon", async () => {
    const registry = await serve((request) => {
      if (request.path === "/v2/") return undefined;
      return request.count <= 2 ? later(0) : { body: manifest };
    });
    expect((await client.fetchManifest(registry.at("app:1"), {})).bytes.byteLength).toBeGreaterThan(
      0,
    );
    expect(registry.requests.map(({ count }) => count)).toEqual([1, 2, 3]);
  });

  test("is told of at once when that is long, and in the end when it never stops", async () => {
    for (const [afterS, count] of [
      [3600, 1],
      [0, 4],
    ] as const) {
      const registry = await serve(({ path }) => (path === "/v2/" ? undefined : later(afterS)));
      await expect(client.fetchManifest(registry.at("app:1"), {})).rejects.toThrow(
        "toomanyrequests: slow down",
      );
      expect(registry.requests).toHaveLength(count);
    }
  });
});

describe("a failure is told in Docker's words:", () => {
  for (const [name, reply, kind, sentence] of [
    [
      "denied",
      { status: 403, body: faults("DENIED", "requested access to the resource is denied") },
      "not-found",
      "pull access denied for HOST/app, repository does not exist or may require 'docker login': " +
        "denied: requested access to the resource is denied",
    ],
    [
      "unknown name",
      { status: 404, body: faults("NAME_UNKNOWN", "repository name not known to registry") },
      "not-found",
      "repository HOST/app not found: name unknown: repository name not known to registry",
    ],
    [
      "unknown manifest, without a message",
      { status: 404, body: '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}' },
      "not-found",
      "manifest for HOST/app:latest not found: manifest unknown: manifest unknown",
    ],
    [
      "unauthorized",
      { status: 401, body: faults("UNAUTHORIZED", "authentication required") },
      "unauthorized",
      "unauthorized: authentication required",
    ],
    ["HTML", { status: 404, body: "<html>no</html>" }, "not-found", "unknown: <html>no</html>"],
    [
      "a broken server",
      { status: 500, body: "oops" },
      "unavailable",
      "received unexpected HTTP status: 500 Internal Server Error",
    ],
    [
      "too many",
      { status: 429, body: faults("TOOMANYREQUESTS", "slow down") },
      "unavailable",
      "toomanyrequests: slow down",
    ],
    [
      "a terminal's controls",
      { status: 400, body: faults("X", "\u001b[31mred\u0007") },
      "invalid-argument",
      "x: [31mred",
    ],
  ] as const) {
    test(name, async () => {
      const registry = await serve(({ path }) => (path === "/v2/" ? undefined : reply));
      await expect(client.fetchManifest(registry.at("app:latest"), {})).rejects.toMatchObject({
        kind,
        message: sentence.replaceAll("HOST", registry.host),
      });
    });
  }

  test("nobody there", async () => {
    await expect(client.resolve(parseReference("127.0.0.1:1/x"), {})).rejects.toMatchObject({
      kind: "unavailable",
      message: 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    });
  });

  test("no answer", async () => {
    const registry = await serve(() => ({ silent: true }));
    await expect(client.resolve(registry.at("app"), {})).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/^Get "http:.*\/v2\/": no answer within 1000 ms$/),
    });
  });

  test("a redirect loop", async () => {
    const registry = await serve(({ path }) =>
      path === "/v2/" ? undefined : { status: 302, headers: { location: path } },
    );
    await expect(client.resolve(registry.at("app:1"), {})).rejects.toMatchObject({
      message: `Head "${registry.url}/v2/app/manifests/1": stopped after 10 redirects`,
    });
    expect(registry.requests).toHaveLength(11);
  });
});

describe("a blob", () => {
  test("cut off at 99 % goes on from there", async () => {
    const registry = await serve((request) => {
      const reply = ranged(request);
      return request.count === 1 ? { ...reply, cutAfterBytes: 297_000 } : reply;
    });
    expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
    const ranges = registry.requests.map(({ headers }) => headers["range"]);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[1]).toBe("bytes=297000-");
  });

  test("goes on after a restart of the daemon", async () => {
    const registry = await serve((request) => {
      const reply = ranged(request);
      return request.count <= 3 ? { ...reply, cutAfterBytes: 10 } : reply;
    });
    await expect(fetchLayer(registry.at("app"))).rejects.toMatchObject({ kind: "unavailable" });
    await client[Symbol.asyncDispose]();
    content = await openContentStore({ root, logger: silentLogger });
    expect(await content.sweep()).toBe(0);
    client = openClient();
    expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
    expect(registry.requests.at(-1)?.headers["range"]).toBe("bytes=30-");
    expect(readdirSync(join(root, "ingest"))).toEqual([]);
  });

  test("begins anew where the registry knows no ranges", async () => {
    const registry = await serve(({ count }) =>
      count === 1 ? { body: bytes, cutAfterBytes: 1_000 } : { body: bytes },
    );
    expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
  });

  for (const [what, contentRange] of [
    ["begins elsewhere", `bytes 0-${bytes.byteLength - 1}/${bytes.byteLength}`],
    ["is of another whole", `bytes 1000-${bytes.byteLength - 1}/${bytes.byteLength + 1}`],
    ["is none", "rubbish"],
  ] as const) {
    test(`whose range ${what} begins anew`, async () => {
      const registry = await serve((request) => {
        if (request.count === 1) return { body: bytes, cutAfterBytes: 1_000 };
        if (request.count > 2) return ranged(request);
        return { status: 206, headers: { "content-range": contentRange }, body: bytes };
      });
      expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
      expect(registry.requests.at(-1)?.headers["range"]).toBeUndefined();
    });
  }

  test("whose earlier piece is damaged is fetched once more, whole", async () => {
    const registry = await serve(ranged);
    const ingest = await content.ingest({ ref: layer.digest.replace(":", "-") });
    await ingest.write(Buffer.alloc(1_000, "rubbish"));
    await ingest.suspend();
    expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
    expect(registry.requests.map(({ headers }) => headers["range"])).toEqual([
      "bytes=1000-",
      undefined,
    ]);
  });

  for (const [what, reply] of [
    ["other bytes", { body: Buffer.alloc(layer.size, "x") }],
    ["too many bytes", { body: Buffer.alloc(layer.size + 1, bytes) }],
    ["too few bytes", { body: bytes.subarray(1) }],
    ["endless bytes", { body: endlessZeros() }],
  ] as const) {
    test(`of ${what} is refused, and not tried again`, async () => {
      const registry = await serve(({ path }) => (path === blobPath ? reply : undefined));
      await expect(fetchLayer(registry.at("app"))).rejects.toMatchObject({ kind: "data-loss" });
      expect(registry.requests).toHaveLength(1);
      expect(await content.list()).toEqual([]);
    });
  }

  test("that stalls is taken up again", async () => {
    const registry = await serve((request) => {
      const reply = ranged(request);
      return request.count === 1 ? { ...reply, stallAfterBytes: 2_000 } : reply;
    });
    expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
    expect(registry.requests.at(-1)?.headers["range"]).toBe("bytes=2000-");
  });

  test("that the registry keeps resetting fails after so many attempts", async () => {
    const registry = await serve(({ path }) => (path === blobPath ? { reset: true } : undefined));
    await expect(fetchLayer(registry.at("app"))).rejects.toMatchObject({ kind: "unavailable" });
    expect(registry.count("GET", blobPath)).toBe(config.attemptsMax);
  });

  test("waits as long as 429 and 503 say, by the registry's own clock", async () => {
    const registry = await serve((request) => {
      if (request.path !== blobPath) return undefined;
      if (request.count === 1) return { status: 429, headers: { "retry-after": "1" } };
      if (request.count > 2) return ranged(request);
      const date = "Sat, 01 Jan 2000 00:00:00 GMT";
      const later = "Sat, 01 Jan 2000 00:00:01 GMT";
      return { status: 503, headers: { date, "retry-after": later } };
    });
    const states: (number | undefined)[] = [];
    const startMs = performance.now();
    await client.fetchBlob(registry.at("app"), {
      descriptor: layer,
      content,
      progress: ({ kind, retryInS }) => void (kind === "retrying" && states.push(retryInS)),
    });
    expect(states).toEqual([1, 1]);
    expect(performance.now() - startMs).toBeGreaterThan(1_900);
  });

  test("that is missing is not asked for again", async () => {
    const registry = await serve(() => undefined);
    await expect(fetchLayer(registry.at("app"))).rejects.toMatchObject({ kind: "not-found" });
    expect(registry.requests).toHaveLength(1);
  });

  test("is not asked for when it is there", async () => {
    const registry = await serve(ranged);
    await content.put(bytes);
    expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
    expect(registry.requests).toEqual([]);
  });

  const half = bytes.byteLength / 2;
  for (const [what, lie] of [
    ["other bytes", { body: Buffer.alloc(bytes.byteLength, "x") }],
    ["a half that is wrong", { body: Buffer.alloc(bytes.byteLength, "x"), cutAfterBytes: half }],
  ] as const) {
    test(`of which a mirror gives ${what} is fetched from the registry`, async () => {
      const mirror = await serve(({ path }) => (path.endsWith("/v2/") ? undefined : lie));
      const registry = await serve((request) => ranged(request));
      const { host } = registry;
      client.configure({ ...config, mirrors: [`${host}=${mirror.url}`] });
      expect(await fetchLayer(registry.at("app"))).toBe(layer.size);
      expect(mirror.requests).toHaveLength(1);
      expect(registry.requests.at(-1)?.headers["range"]).toBeUndefined();
    });
  }

  test("of a foreign URL is not looked for there", async () => {
    const elsewhere = await serve((request) => ranged(request));
    const registry = await serve(() => undefined);
    const urls = ["file:///etc/passwd", `${elsewhere.url}/layer.tgz`];
    const fetching = client.fetchBlob(registry.at("app"), {
      descriptor: { ...layer, urls },
      content,
    });
    await expect(fetching).rejects.toMatchObject({
      kind: "not-found",
      message: expect.stringContaining("is foreign"),
    });
    expect(elsewhere.requests).toEqual([]);
  });
});

function endlessZeros(): AsyncIterable<Uint8Array> {
  async function* zeros(): AsyncGenerator<Uint8Array> {
    for (let count = 0; count < 10_000; count += 1) yield new Uint8Array(65_536);
  }
  return zeros();
}

describe("several fetches of one blob", () => {
  test("share one transfer, and each hears of it", async () => {
    const registry = await serve(async (request) => {
      await Bun.sleep(50);
      return ranged(request);
    });
    const told = [0, 0];
    const blobs = await Promise.all(
      told.map(
        async (_, index) =>
          await client.fetchBlob(registry.at(`app${index}`), {
            descriptor: layer,
            content,
            progress: () => {
              told[index] = (told[index] ?? 0) + 1;
            },
          }),
      ),
    );
    expect(blobs[0]).toEqual(blobs[1]);
    expect(registry.requests).toHaveLength(1);
    expect(Math.min(...told)).toBeGreaterThan(1);
  });

  test("go on when one of them is canceled; the last lays aside what has come", async () => {
    const registry = await serve((request) => ({ ...ranged(request), stallAfterBytes: 50_000 }));
    const [first, second] = [new AbortController(), new AbortController()];
    const one = fetchLayer(registry.at("app"), { signal: first.signal });
    const two = fetchLayer(registry.at("app"), { signal: second.signal });
    const file = join(root, "ingest", layer.digest.replace(":", "-"));
    await until(
      () => existsSync(file) && statSync(file).size === 50_000,
      () => "50000 bytes",
    );
    first.abort();
    await expect(one).rejects.toMatchObject({ kind: "canceled" });
    second.abort();
    await expect(two).rejects.toMatchObject({ kind: "canceled" });
    expect(statSync(file).size).toBe(50_000);
    expect(registry.requests).toHaveLength(1);
    truncateSync(file, 40_000);
    await using next = await content.ingest({ ref: layer.digest.replace(":", "-"), resume: true });
    expect(next.sizeBytes).toBe(40_000);
  });

  test("waits for no place when it is canceled", async () => {
    client.configure({ ...config, downloadsMax: 1 });
    const registry = await serve((request) => ({ ...ranged(request), stallAfterBytes: 5 }));
    const [first, second] = [new AbortController(), new AbortController()];
    const holds = fetchLayer(registry.at("app"), { signal: first.signal });
    await until(
      () => registry.requests.length > 0,
      () => "a request",
    );
    const descriptor = { ...layer, digest: digestOf("another") };
    const waits = fetchLayer(registry.at("app"), { signal: second.signal, descriptor });
    await Bun.sleep(20);
    const startMs = performance.now();
    second.abort();
    await expect(waits).rejects.toMatchObject({ kind: "canceled" });
    expect(performance.now() - startMs).toBeLessThan(100);
    expect(registry.requests).toHaveLength(1);
    first.abort();
    await expect(holds).rejects.toMatchObject({ kind: "canceled" });
  });

  test("of different rights: who may is not refused for who may not", async () => {
    const registry = await serve(async (request) => {
      if (request.path.startsWith("/v2/hidden/")) {
        await Bun.sleep(50);
        return { status: 403, body: faults("DENIED", "no") };
      }
      return request.path === "/v2/" ? undefined : ranged(request);
    });
    const refused = fetchLayer(registry.at("hidden"));
    const allowed = fetchLayer(registry.at("app"));
    await expect(refused).rejects.toMatchObject({ kind: "not-found" });
    expect(await allowed).toBe(layer.size);
  });

  test("end with the client", async () => {
    const registry = await serve((request) => ({ ...ranged(request), stallAfterBytes: 5 }));
    const fetched = fetchLayer(registry.at("app"));
    await until(
      () => registry.requests.length > 0,
      () => "a request",
    );
    const [outcome] = await Promise.allSettled([fetched, client[Symbol.asyncDispose]()]);
    expect(outcome).toMatchObject({ status: "rejected", reason: { kind: "canceled" } });
    await expect(fetchLayer(registry.at("app"))).rejects.toMatchObject({ kind: "canceled" });
  });
});
