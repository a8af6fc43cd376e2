/**
 * What the conformance suite of the specification asks, workflow by workflow: pull, push, discovery,
 * management, for each way to push and each kind of content.
 *
 * @see OCI distribution-spec, conformance
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DistributionAnswer,
  openDistribution,
  type Send,
  types,
  withQuery,
} from "../../test/support/distribution.ts";
import { silentLogger } from "../lib/log.ts";
import { parseServe } from "./config.ts";
import { type ServingRegistry, serveRegistry } from "./serve.ts";

const one = "conformance/one";
const two = "conformance/two";
const octets = { "Content-Type": "application/octet-stream" };
const empty = "application/vnd.oci.empty.v1+json";
const example = "application/vnd.example.sbom.v1";

let root = "";
let serving: ServingRegistry;
let send: Send;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "tug-conformance-"));
  const parsed = parseServe(["--root", root, "-l", "127.0.0.1:0"]);
  if (parsed.action === "help") throw new Error("no help was asked for");
  serving = await serveRegistry(parsed.config, { logger: silentLogger });
  send = openDistribution(`http://127.0.0.1:${serving.addresses[0]?.port}`);
});
afterAll(async () => {
  await serving.stop();
  rmSync(root, { recursive: true });
});

type Algorithm = "sha256" | "sha512";

interface Content {
  readonly bytes: Uint8Array;
  readonly digest: string;
}

let madeCount = 0;

/** Bytes that no other test has. */
function fresh(sizeBytes: number, algorithm: Algorithm = "sha256"): Content {
  madeCount += 1;
  return contentOf(Buffer.alloc(sizeBytes, `conformance ${madeCount} `), algorithm);
}

function contentOf(bytes: string | Uint8Array, algorithm: Algorithm = "sha256"): Content {
  const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
  return { bytes: Buffer.from(bytes), digest };
}

const begin = async (repository = one, query = ""): Promise<DistributionAnswer> =>
  await send(`POST /v2/${repository}/blobs/uploads/${query}`);

async function chunk(
  location: string,
  part: {
    readonly method?: string;
    readonly of: Content;
    readonly from: number;
    readonly to: number;
  },
): Promise<DistributionAnswer> {
  const { method = "PATCH", of, from, to } = part;
  const headers = { ...octets, "Content-Range": `${from}-${to - 1}` };
  return await send(`${method} ${location}`, { body: of.bytes.subarray(from, to), headers });
}

const finish = async (
  location: string,
  digest: string,
  body: Uint8Array = new Uint8Array(),
): Promise<DistributionAnswer> =>
  await send(`PUT ${withQuery(location, `digest=${digest}`)}`, { body, headers: octets });

/** Each way to push a blob. */
const ways: Readonly<Record<string, (blob: Content) => Promise<DistributionAnswer>>> = {
  "POST alone": async ({ bytes, digest }) =>
    await send(`POST /v2/${one}/blobs/uploads/?digest=${digest}`, { body: bytes, headers: octets }),
  "POST and PUT": async ({ bytes, digest }) =>
    await finish((await begin()).location, digest, bytes),
  "a single chunk": async (blob) => {
    const { location } = await begin();
    const sent = await chunk(location, { of: blob, from: 0, to: blob.bytes.length });
    expect(sent.status).toBe(202);
    return await finish(sent.location, blob.digest);
  },
  "three chunks": async (blob) => {
    let { location } = await begin();
    for (const [from, to] of [
      [0, 400],
      [400, 800],
      [800, blob.bytes.length],
    ] as const) {
      const sent = await chunk(location, { of: blob, from, to });
      expect([sent.status, sent.headers.get("range")]).toEqual([202, `0-${to - 1}`]);
      location = sent.location;
    }
    return await finish(location, blob.digest);
  },
  "chunks, the last with PUT": async (blob) => {
    const first = await chunk((await begin()).location, { of: blob, from: 0, to: 400 });
    const last = withQuery(first.location, `digest=${blob.digest}`);
    return await chunk(last, { method: "PUT", of: blob, from: 400, to: blob.bytes.length });
  },
  "a stream": async ({ bytes, digest }) => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes);
        controller.close();
      },
    });
    const sent = await send(`PATCH ${(await begin()).location}`, { body, headers: octets });
    expect(sent.status).toBe(202);
    return await finish(sent.location, digest);
  },
};

async function pushed(content: Content, repository = one): Promise<Content> {
  const { bytes, digest } = content;
  const done = await finish((await begin(repository)).location, digest, bytes);
  expect(done.status).toBe(201);
  return content;
}

/** It is there, whole, under its own name. */
async function expectBlob(repository: string, { bytes, digest }: Content): Promise<void> {
  for (const method of ["HEAD", "GET"]) {
    const answer = await send(`${method} /v2/${repository}/blobs/${digest}`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("docker-content-digest")).toBe(digest);
    expect(answer.headers.get("content-length")).toBe(String(bytes.length));
    expect(Buffer.from(answer.bytes)).toEqual(Buffer.from(method === "HEAD" ? "" : bytes));
  }
}

async function expectGone(path: string): Promise<void> {
  for (const method of ["HEAD", "GET"]) expect((await send(`${method} ${path}`)).status).toBe(404);
}

async function removeBlob(repository: string, digest: string): Promise<void> {
  const path = `/v2/${repository}/blobs/${digest}`;
  expect((await send(`DELETE ${path}`)).status).toBe(202);
  await expectGone(path);
}

describe.each(["sha256", "sha512"] as const)("blobs by %s", (algorithm) => {
  test.each(Object.keys(ways))("pushed by %s are there, and go", async (way) => {
    const blob = fresh(1_100, algorithm);
    const done = await ways[way]?.(blob);
    expect([done?.status, done?.headers.get("docker-content-digest")]).toEqual([201, blob.digest]);
    expect(Buffer.from((await send(`GET ${done?.location}`)).bytes)).toEqual(
      Buffer.from(blob.bytes),
    );
    await expectBlob(one, blob);
    await removeBlob(one, blob.digest);
  });

  test.each(Object.keys(ways))("that are not their digest's are refused: %s", async (way) => {
    const { digest } = fresh(1_100, algorithm);
    const done = await ways[way]?.({ ...fresh(1_100), digest });
    expect([done?.status, done?.codes]).toEqual([400, ["DIGEST_INVALID"]]);
    await expectGone(`/v2/${one}/blobs/${digest}`);
  });

  test.each([`&from=${two}`, ""])("are mounted: mount=<digest>%s", async (from) => {
    const blob = await pushed(fresh(512, algorithm), two);
    await expectGone(`/v2/${one}/blobs/${blob.digest}`);
    const mounted = await begin(one, `?mount=${blob.digest}${from}`);
    expect([mounted.status, mounted.location]).toEqual([201, `/v2/${one}/blobs/${blob.digest}`]);
    await expectBlob(one, blob);
    await removeBlob(one, blob.digest);
    await expectBlob(two, blob);
    await removeBlob(two, blob.digest);
  });

  test.each([`&from=${two}`, ""])("that cannot be mounted are to be pushed: %p", async (from) => {
    const blob = fresh(512, algorithm);
    const begun = await begin(one, `?mount=${blob.digest}${from}`);
    expect(begun.status).toBe(202);
    expect((await finish(begun.location, blob.digest, blob.bytes)).status).toBe(201);
    await expectBlob(one, blob);
  });

  test.each(["", "{}"])("may be %p", async (text) => {
    const blob = await pushed(contentOf(text, algorithm));
    await expectBlob(one, blob);
    await removeBlob(one, blob.digest);
  });

  test("are served in parts", async () => {
    const { bytes, digest } = await pushed(fresh(2_048, algorithm));
    for (const [range, from, to] of [
      ["500-1499", 500, 1_500],
      ["500-", 500, 2_048],
      ["-500", 1_548, 2_048],
      ["2000-5000", 2_000, 2_048],
    ] as const) {
      const headers = { Range: `bytes=${range}` };
      const answer = await send(`GET /v2/${one}/blobs/${digest}`, { headers });
      expect([answer.status, answer.headers.get("content-range")]).toEqual([
        ...[206, `bytes ${from}-${to - 1}/2048`],
      ]);
      expect(answer.headers.get("content-length")).toBe(String(to - from));
      expect(Buffer.from(answer.bytes)).toEqual(Buffer.from(bytes.subarray(from, to)));
    }
    for (const range of ["500-0", "5000-10000"]) {
      const headers = { Range: `bytes=${range}` };
      expect((await send(`GET /v2/${one}/blobs/${digest}`, { headers })).status).toBe(416);
    }
  });
});

describe("an upload", () => {
  test("out of order is refused with 416, and goes on where it is", async () => {
    const blob = fresh(1_200);
    const { location } = await begin();
    expect((await chunk(location, { of: blob, from: 400, to: 800 })).status).toBe(416);
    expect((await chunk(location, { of: blob, from: 0, to: 400 })).status).toBe(202);
    // A chunk that came once does not come twice; the stale location still tells how far it is.
    expect((await chunk(location, { of: blob, from: 0, to: 400 })).status).toBe(416);
    const asked = await send(`GET ${location}`);
    expect([asked.status, asked.headers.get("range")]).toEqual([204, "0-399"]);
    expect((await chunk(asked.location, { of: blob, from: 400, to: 800 })).status).toBe(202);
    const last = withQuery(asked.location, `digest=${blob.digest}`);
    const put = { method: "PUT", of: blob };
    expect((await chunk(last, { ...put, from: 0, to: 1_200 })).status).toBe(416);
    expect((await send(`GET ${location}`)).headers.get("range")).toBe("0-799");
    expect((await chunk(last, { ...put, from: 800, to: 1_200 })).status).toBe(201);
    await expectBlob(one, blob);
  });

  test("that is canceled is over, and left nothing", async () => {
    const blob = fresh(512);
    const { location } = await begin();
    await chunk(location, { of: blob, from: 0, to: 512 });
    expect((await send(`DELETE ${location}`)).status).toBe(204);
    expect((await send(`GET ${location}`)).codes).toEqual(["BLOB_UPLOAD_UNKNOWN"]);
    await expectGone(`/v2/${one}/blobs/${blob.digest}`);
  });
});

const described = (content: Content, mediaType: string): Record<string, unknown> => ({
  mediaType,
  digest: content.digest,
  size: content.bytes.length,
});

/** A manifest whose parts are pushed. */
async function imageOf(
  extra: object = {},
  layers: readonly object[] | undefined = undefined,
): Promise<Record<string, unknown>> {
  const config = await pushed(fresh(200));
  const layer = await pushed(fresh(300));
  return {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: described(config, types.config),
    layers: layers ?? [described(layer, types.layer)],
    ...extra,
  };
}

const put = async (name: string, { bytes }: Content, type: string): Promise<DistributionAnswer> =>
  await send(`PUT /v2/${one}/manifests/${name}`, {
    body: bytes,
    headers: { "Content-Type": type },
  });

async function stored(
  document: object,
  options: { readonly type?: string; readonly algorithm?: Algorithm } = {},
): Promise<Content> {
  const content = contentOf(JSON.stringify(document), options.algorithm);
  expect((await put(content.digest, content, options.type ?? types.manifest)).status).toBe(201);
  return content;
}

async function indexOf(extra: object = {}, algorithm: Algorithm = "sha256"): Promise<object> {
  const images = [await stored(await imageOf(), { algorithm }), await stored(await imageOf())];
  const manifests = images.map((image) => described(image, types.manifest));
  return { schemaVersion: 2, mediaType: types.index, manifests, ...extra };
}

const artifact = async (extra: object = {}): Promise<Record<string, unknown>> => {
  const config = described(await pushed(contentOf("{}")), empty);
  return { ...(await imageOf({ artifactType: example })), config, ...extra };
};

/** Each kind of manifest that the suite knows, and its media type. */
const kinds: Readonly<Record<string, () => Promise<readonly [document: object, type: string]>>> = {
  image: async () => [await imageOf(), types.manifest],
  "image of four megabytes": async () => {
    const pairs = Array.from({ length: 390 }, (_, index) => [`a${index}`, "A".repeat(10_000)]);
    return [await imageOf({ annotations: Object.fromEntries(pairs) }), types.manifest];
  },
  "image that does not say what it is": async () => {
    return [await imageOf({ mediaType: undefined }), types.manifest];
  },
  "image without layers": async () => [await imageOf({}, []), types.manifest],
  "image of layers that are elsewhere": async () => {
    const mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    const urls = ["https://store.example/layer"];
    return [await imageOf({}, [{ ...described(fresh(9), mediaType), urls }]), types.manifest];
  },
  "image with data in its descriptor": async () => {
    const config = await pushed(fresh(200));
    const data = Buffer.from(config.bytes).toString("base64");
    return [
      await imageOf({ config: { ...described(config, types.config), data } }),
      types.manifest,
    ];
  },
  "image with fields of its own": async () => {
    return [await imageOf({ "org.example": { deep: [1, null, "x"] } }), types.manifest];
  },
  index: async () => [await indexOf(), types.index],
  "index of an index": async () => {
    const inner = await stored(await indexOf(), { type: types.index });
    return [await indexOf({ manifests: [described(inner, types.index)] }), types.index];
  },
  "empty index": async () => [await indexOf({ manifests: [] }), types.index],
  "index of sha512": async () => [await indexOf({}, "sha512"), types.index],
  artifact: async () => [await artifact(), types.manifest],
  "artifact of more parts than an image has": async () => {
    const part = described(await pushed(fresh(10)), example);
    return [await artifact({ layers: Array(5_000).fill(part) }), types.manifest];
  },
  "artifact without content": async () => {
    const nothing = described(await pushed(contentOf("{}")), empty);
    return [await artifact({ layers: [nothing] }), types.manifest];
  },
  "index of artifacts": async () => [await indexOf({ artifactType: example }), types.index],
};

describe("a manifest", () => {
  test.each(Object.keys(kinds))("is stored bit for bit, listed and removed: %s", async (kind) => {
    const made = await kinds[kind]?.();
    if (made === undefined) throw new Error("no such kind");
    const [document, type] = made;
    for (const algorithm of ["sha256", "sha512"] as const) {
      const content = contentOf(JSON.stringify(document), algorithm);
      const tag = `tag-${createHash("md5").update(kind).digest("hex")}`;
      const names = algorithm === "sha256" ? [content.digest, tag] : [content.digest];
      for (const name of names) {
        const done = await put(name, content, type);
        expect([done.status, done.headers.get("docker-content-digest")]).toEqual([
          ...[201, content.digest],
        ]);
        expect(Buffer.from((await send(`GET ${done.location}`)).bytes)).toEqual(
          Buffer.from(content.bytes),
        );
      }
      for (const name of names) {
        for (const method of ["HEAD", "GET"]) {
          const answer = await send(`${method} /v2/${one}/manifests/${name}`, {
            headers: { Accept: type },
          });
          expect([answer.status, answer.headers.get("content-type")]).toEqual([200, type]);
          expect(answer.headers.get("docker-content-digest")).toBe(content.digest);
          expect(answer.headers.get("content-length")).toBe(String(content.bytes.length));
          expect(answer.bytes.length).toBe(method === "HEAD" ? 0 : content.bytes.length);
        }
      }
      const tags = async (): Promise<string> => (await send(`GET /v2/${one}/tags/list`)).text;
      expect((await tags()).includes(`"${tag}"`)).toBe(algorithm === "sha256");
      for (const name of names.toReversed()) {
        expect((await send(`DELETE /v2/${one}/manifests/${name}`)).status).toBe(202);
        await expectGone(`/v2/${one}/manifests/${name}`);
        expect((await send(`DELETE /v2/${one}/manifests/${name}`)).status).toBe(404);
      }
      expect(await tags()).not.toContain(`"${tag}"`);
    }
  });

  test.each([contentOf("none").digest, "none", ".INVALID_MANIFEST_NAME"])(
    "that is not there is 404: %s",
    async (name) => await expectGone(`/v2/${one}/manifests/${name}`),
  );

  test("that is not its digest's is refused, in the form of the specification", async () => {
    const content = contentOf(JSON.stringify(await imageOf()));
    const other = { ...content, bytes: Buffer.concat([content.bytes, Buffer.from("  ")]) };
    expect((await put(content.digest, other, types.manifest)).codes).toEqual(["DIGEST_INVALID"]);
    const wrong = await put("sha256:totallywrong", contentOf("blablabla"), types.manifest);
    expect([wrong.status, wrong.codes]).toEqual([400, ["DIGEST_INVALID"]]);
    expect(wrong.headers.get("content-type")).toBe("application/json");
    const bad = "sha256:baddigeststring";
    expect((await put(bad, content, types.manifest)).status).toBe(400);
    expect((await send(`GET /v2/${one}/manifests/${bad}`)).status).toBe(400);
  });
});

describe("discovery", () => {
  test("of a repository that has nothing", async () => {
    expect((await send("GET /v2/conformance/none/tags/list")).status).toBe(404);
    const answer = await send(`GET /v2/conformance/none/referrers/${contentOf("x").digest}`);
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, types.index]);
    expect(JSON.parse(answer.text)).toEqual({
      ...{ schemaVersion: 2, mediaType: types.index, manifests: [] },
    });
  });

  test("of tags, by number and from the last", async () => {
    const content = contentOf(JSON.stringify(await imageOf()));
    const names = ["test0", "test1", "test2", "test3"];
    for (const name of names) expect((await put(name, content, types.manifest)).status).toBe(201);
    const tags = async (query: string): Promise<readonly string[]> =>
      (JSON.parse((await send(`GET /v2/${one}/tags/list${query}`)).text) as { tags: string[] })
        .tags;
    expect(await tags("")).toEqual(names);
    expect(await tags("?n=2")).toEqual(names.slice(0, 2));
    expect(await tags("?n=2&last=test1")).toEqual(names.slice(2));
    expect(await tags("?last=test1")).toEqual(names.slice(2));
  });

  test("of what names a manifest as its subject, there or not, and by its type", async () => {
    const there = described(await stored(await imageOf()), types.manifest);
    const missing = described(fresh(123), types.manifest);
    for (const subject of [there, missing]) {
      const annotations = { "org.example.of": "a test" };
      const config = described(await pushed(fresh(30)), example);
      const referrers = [
        [await artifact({ subject, annotations }), types.manifest, example],
        [await imageOf({ subject, annotations, config }), types.manifest, example],
        [await imageOf({ subject, annotations }), types.manifest, types.config],
        [await indexOf({ subject, annotations, artifactType: empty }), types.index, empty],
      ] as const;
      const wanted: Record<string, unknown>[] = [];
      for (const [document, type, artifactType] of referrers) {
        const content = contentOf(JSON.stringify(document));
        const done = await put(content.digest, content, type);
        expect(done.status).toBe(201);
        expect(done.headers.get("oci-subject")).toBe(String(subject["digest"]));
        wanted.push({ ...described(content, type), annotations, artifactType });
      }
      const list = async (query = ""): Promise<[unknown[], Headers]> => {
        const answer = await send(`GET /v2/${one}/referrers/${subject["digest"]}${query}`);
        return [(JSON.parse(answer.text) as { manifests: unknown[] }).manifests, answer.headers];
      };
      const [all, headers] = await list();
      expect(headers.get("content-type")).toBe(types.index);
      expect(all).toHaveLength(4);
      expect(all).toEqual(expect.arrayContaining(wanted));
      const [some, filtered] = await list(`?artifactType=${example}`);
      expect(filtered.get("oci-filters-applied")).toBe("artifactType");
      expect(some).toHaveLength(2);
      expect(some).toEqual(expect.arrayContaining(wanted.slice(0, 2)));
    }
  });
});
