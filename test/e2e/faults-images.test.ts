/**
 * Registries that fail, lie or mean harm, before a whole engine: what came of them is told, nothing
 * half-made is an image, nothing stays on the disk, and the next pull from the same place works.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { clientNames } from "../support/clients.ts";
import { sha256, types } from "../support/distribution.ts";
import { imageId, referenceHost } from "../support/engine.ts";
import {
  type FaultRegistry,
  type FaultReply,
  type FaultRequest,
  startFaultRegistry,
} from "../support/fault-registry.ts";
import { busyboxEntries, testLabel } from "../support/images.ts";
import { at, listAt } from "../support/json.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: [] });
const ours = describe.skipIf(referenceHost !== undefined);
const mebibyte = 1024 * 1024;
const open: FaultRegistry[] = [];

afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

/** An image as a registry has it. */
interface Image {
  readonly layer: Buffer;
  readonly config: string;
  readonly manifest: string;
}

const archive = tar([...busyboxEntries(), { name: "hello", content: "hello\n" }]);

function makeImage(
  options: {
    readonly layer?: Buffer;
    readonly diffId?: string;
    readonly layerFields?: Readonly<Record<string, unknown>>;
    readonly fields?: Readonly<Record<string, unknown>>;
  } = {},
): Image {
  const layer = options.layer ?? gzipSync(archive);
  const config = JSON.stringify({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["cat", "/hello"], Labels: { [testLabel]: "1" } },
    rootfs: { type: "layers", diff_ids: [options.diffId ?? sha256(archive)] },
  });
  const own = { mediaType: types.layer, digest: sha256(layer), size: layer.length };
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: sha256(config), size: Buffer.byteLength(config) },
    layers: [{ ...own, ...options.layerFields }],
    ...options.fields,
  });
  return { layer, config, manifest };
}

/** Answers as an honest registry does. */
function honest(image: Image, { method, path, headers }: FaultRequest): FaultReply | undefined {
  if (path.includes("/manifests/")) {
    const digest = sha256(image.manifest);
    const named = { "content-type": types.manifest, "docker-content-digest": digest };
    return { headers: named, body: image.manifest };
  }
  for (const bytes of [image.layer, Buffer.from(image.config)]) {
    if (!path.endsWith(sha256(bytes))) continue;
    const from = /^bytes=(\d+)-/.exec(headers["range"] ?? "")?.[1];
    if (from === undefined || method === "HEAD") return { body: bytes };
    const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    return {
      status: 206,
      headers: { "content-range": range },
      body: bytes.subarray(Number(from)),
    };
  }
  return undefined;
}

type Fault = (
  request: FaultRequest,
  reply: FaultReply | undefined,
) => FaultReply | undefined | Promise<FaultReply | undefined>;

/** A registry with a fault; without one it is honest. @returns where the image is */
async function serve(image: Image, fault: { now: Fault | undefined }): Promise<string> {
  const registry = await startFaultRegistry(async (request) => {
    if (request.path === "/v2/") return undefined;
    const reply = honest(image, request);
    return fault.now === undefined ? reply : await fault.now(request, reply);
  });
  open.push(registry);
  return `${registry.host}/app:1`;
}

const isLayer = (image: Image, request: FaultRequest): boolean =>
  request.path.endsWith(sha256(image.layer));

/** What is left of a pull that was refused: no image, and pieces that go with the next prune. */
async function expectNothing(): Promise<void> {
  expect(listAt((await engine.api("GET", "/images/json?all=1")).json)).toEqual([]);
  await engine.api("POST", "/images/prune");
  const content = join(engine.daemon?.dataRoot ?? "", "content");
  expect(readdirSync(join(content, "blobs/sha256"))).toEqual([]);
  expect(at((await engine.api("GET", "/system/df?type=image")).json, "LayersSize")).toBe(0);
}

/** Pulls what must come, runs it, removes it. */
async function expectWorks(name: string): Promise<void> {
  const cli = engine.client("tug");
  await cli.ok("pull", "-q", name);
  expect(await cli.ok("run", "--rm", "--network", "none", name)).toBe("hello");
  await cli.ok("rmi", "-f", name);
}

async function* endless(): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(mebibyte).fill(0x20);
  for (let count = 0; count < 1024; count += 1) yield await Promise.resolve(chunk);
}

const good = makeImage();
const other = makeImage({ layer: gzipSync(tar([{ name: "other", content: "x" }])) });

/** A registry that is wrong, and what is said of it. */
const refused: Readonly<Record<string, { image?: Image; fault: Fault; says: RegExp }>> = {
  "lies about a layer's bytes": {
    fault: (request, reply) =>
      isLayer(good, request) ? { body: Buffer.alloc(good.layer.length, "x") } : reply,
    says: /digest|the bytes have/i,
  },
  "gives too few bytes": {
    fault: (request, reply) =>
      isLayer(good, request) ? { body: good.layer.subarray(0, 1000) } : reply,
    says: /\d+ bytes|size|short|end/i,
  },
  "gives bytes without end": {
    fault: (request, reply) => (isLayer(good, request) ? { body: endless() } : reply),
    says: /more than|bytes|size/i,
  },
  "lies about a manifest's digest": {
    fault: (request, reply) =>
      request.path.includes("/manifests/")
        ? { ...reply, headers: { ...reply?.headers, "docker-content-digest": sha256("x") } }
        : reply,
    says: /digest/i,
  },
  "lies about a manifest's media type": {
    fault: (request, reply) =>
      request.path.includes("/manifests/")
        ? { ...reply, headers: { ...reply?.headers, "content-type": types.index } }
        : reply,
    says: /media type|mediaType/i,
  },
  "gives a manifest of another size than an index says": {
    fault: (request, reply) => {
      if (!request.path.endsWith("/manifests/1")) return reply;
      const digest = sha256(good.manifest);
      const manifests = [{ mediaType: types.manifest, digest, size: 7 }];
      const index = { schemaVersion: 2, mediaType: types.index, manifests };
      return { headers: { "content-type": types.index }, body: JSON.stringify(index) };
    },
    says: /7 bytes|size/i,
  },
  "has a manifest of a gigabyte": {
    fault: (request, reply) =>
      request.path.includes("/manifests/") && request.method === "GET"
        ? { headers: { "content-type": types.manifest }, body: endless() }
        : reply,
    says: /large|more than|bytes/i,
  },
  "says that its manifest has a gigabyte": {
    fault: (request, reply) =>
      request.path.includes("/manifests/")
        ? {
            headers: { "content-type": types.manifest, "content-length": `${1024 * mebibyte}` },
            body: endless(),
          }
        : reply,
    says: /large|more than|bytes/i,
  },
  "redirects in a circle": {
    fault: (request, reply) =>
      isLayer(good, request) ? { status: 307, headers: { location: request.path } } : reply,
    says: /redirect/i,
  },
  "redirects to a file": {
    fault: (request, reply) =>
      isLayer(good, request) ? { status: 307, headers: { location: "file:///etc/passwd" } } : reply,
    says: /redirect|protocol|scheme/i,
  },
  "has a manifest of schema 1": {
    fault: (request, reply) =>
      request.path.includes("/manifests/")
        ? {
            headers: {
              "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws",
            },
            body: JSON.stringify({ schemaVersion: 1, name: "app", tag: "1" }),
          }
        : reply,
    says: /schema 1|DEPRECATION/i,
  },
  "has a layer of another content than the config says": {
    image: makeImage({ diffId: sha256("x") }),
    fault: (_request, reply) => reply,
    says: /diff ID|digest|bytes have/i,
  },
  "has a layer that is no archive": {
    image: makeImage({
      layer: gzipSync(Buffer.alloc(2048, "x")),
      diffId: sha256(Buffer.alloc(2048, "x")),
    }),
    fault: (_request, reply) => reply,
    says: /archive|header|checksum/i,
  },
  "has a layer that leaves its folder": {
    image: ((): Image => {
      const bad = tar([
        { name: "up", type: "symlink", link: "/tmp" },
        { name: "../../../tug-out", content: "x" },
      ]);
      return makeImage({ layer: gzipSync(bad), diffId: sha256(bad) });
    })(),
    fault: (_request, reply) => reply,
    says: /\.\.|outside|escape|leave/i,
  },
};

ours("a registry that", () => {
  for (const [what, { image = good, fault, says }] of Object.entries(refused)) {
    test(`${what} is refused with a reason`, async () => {
      const state: { now: Fault | undefined } = { now: fault };
      const name = await serve(image, state);
      const before = memoryOf(engine.daemon?.pid ?? 0);
      for (const client of clientNames) {
        const said = await engine.client(client).fails("pull", name);
        expect(said).toMatch(says);
        expect(said).not.toMatch(/internal error|undefined|\[object/);
      }
      expect(memoryOf(engine.daemon?.pid ?? 0) - before).toBeLessThan(200 * mebibyte);
      await expectNothing();
      expect(existsSync(join(engine.daemon?.dataRoot ?? "", "tug-out"))).toBe(false);
      state.now = undefined;
      if (image === good) await expectWorks(name);
    });
  }

  test("breaks off, answers half and says to wait is asked again, and the image comes", async () => {
    const name = await serve(good, {
      now: (request, reply) => {
        if (request.path.includes("/manifests/")) {
          return request.count === 1 ? { status: 503, headers: { "retry-after": "1" } } : reply;
        }
        if (!isLayer(good, request)) return request.count === 1 ? { reset: true } : reply;
        if (request.count === 1) return { status: 429, headers: { "retry-after": "1" } };
        if (request.count === 2) return { ...reply, cutAfterBytes: 5_000 };
        return reply;
      },
    });
    await expectWorks(name);
    const ranges = open[0]?.requests
      .filter((request) => isLayer(good, request))
      .map(({ headers }) => headers["range"]);
    expect(ranges?.at(-1)).toBe("bytes=5000-");
    await expectNothing();
  }, 60_000);

  test("has another range than was asked for is read anew", async () => {
    const name = await serve(good, {
      now: (request, reply) => {
        if (!isLayer(good, request)) return reply;
        if (request.count === 1) return { ...reply, cutAfterBytes: 5_000 };
        if (request.count > 2) return reply;
        const range = `bytes 0-${good.layer.length - 1}/${good.layer.length}`;
        return { status: 206, headers: { "content-range": range }, body: good.layer };
      },
    });
    await expectWorks(name);
  }, 60_000);

  test("sends elsewhere gets no credentials there", async () => {
    const storage = await startFaultRegistry((request) => honest(good, request));
    open.push(storage);
    const basic = `Basic ${btoa("ann:secret")}`;
    const name = await serve(good, {
      now: (request, reply) => {
        if (request.headers["authorization"] !== basic) {
          return { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };
        }
        // localhost is another host than 127.0.0.1.
        const location = storage.url.replace("127.0.0.1", "localhost") + request.path;
        return isLayer(good, request) ? { status: 307, headers: { location } } : reply;
      },
    });
    const auth = Buffer.from(JSON.stringify({ username: "ann", password: "secret" }));
    const answer = await engine.api("POST", `/images/create?fromImage=${name}`, undefined, {
      headers: { "X-Registry-Auth": auth.toString("base64url") },
    });
    expect(answer.text).toContain("Status: Downloaded newer image");
    expect(storage.requests.length).toBeGreaterThan(0);
    for (const { headers } of storage.requests) expect(headers["authorization"]).toBeUndefined();
    await engine.api("DELETE", `/images/${name}?force=1`);
  });

  test("has a layer elsewhere (a foreign URL) is refused, and nobody is asked there", async () => {
    const elsewhere = await startFaultRegistry(() => ({ body: good.layer }));
    open.push(elsewhere);
    const layerType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    const urls = [`${elsewhere.url}/layer.tgz`];
    const image = makeImage({ layerFields: { mediaType: layerType, urls } });
    const state: { now: Fault | undefined } = {
      now: (request, reply) => (isLayer(image, request) ? { status: 404 } : reply),
    };
    const name = await serve(image, state);
    for (const client of clientNames) {
      expect(await engine.client(client).fails("pull", name)).toContain("is foreign");
    }
    expect(elsewhere.requests).toEqual([]);
    await expectNothing();
    // A registry that has it gives it, whatever else the manifest names.
    state.now = undefined;
    await expectWorks(name);
  });

  test("has zeros that grow without end is refused before they fill the disk", async () => {
    // 3 GB of zeros in 3 MB.
    const zeros = Buffer.alloc(64 * mebibyte);
    const member = gzipSync(zeros);
    const head = tar([{ name: "zeros", sizeBytes: 48 * zeros.length }]).subarray(0, 512);
    const members = Array.from({ length: 48 }, () => member);
    const layer = Buffer.concat([gzipSync(head), ...members]);
    const name = await serve(makeImage({ layer }), { now: undefined });
    expect(await engine.client("tug").fails("pull", name)).toMatch(/expands more than \d+ times/);
    await expectNothing();
  }, 90_000);

  test("that is right is kept through all of it", async () => {
    const name = await serve(good, { now: undefined });
    await engine.client("tug").ok("pull", "-q", name);
    const id = await imageId(engine, name);
    const bad = await serve(other, { now: () => ({ reset: true }) });
    await engine
      .client("tug")
      .fails("pull", bad.replace("/app:1", `/app@${sha256(other.manifest)}`));
    expect(await imageId(engine, name)).toBe(id);
    await expectWorks(name);
  }, 60_000);
});

/** What a process has in memory, in bytes. */
function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024;
}
