/** Pushes to a registry that breaks off, forgets, and answers oddly. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  type FaultRegistry,
  type FaultReply,
  type FaultRequest,
  startFaultRegistry,
} from "../../test/support/fault-registry.ts";
import { silentLogger } from "../lib/log.ts";
import { toReadableStream } from "../lib/stream-limit.ts";
import { digestOf } from "../oci/digest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import { parseReference } from "../oci/reference.ts";
import { openRegistryClient } from "./http-registry-client.ts";
import type { RegistryClient } from "./registry-client.ts";

const bytes = Buffer.alloc(3_000_000, "what is pushed, ");
const descriptor = {
  mediaType: ociMediaTypes.layer,
  digest: digestOf(bytes),
  size: bytes.byteLength,
};
let client: RegistryClient;
const open: AsyncDisposable[] = [];

beforeEach(() => {
  client = openRegistryClient({
    config: {
      mirrors: [],
      insecureRegistries: [],
      certsDirs: [],
      downloadsMax: 3,
      uploadsMax: 5,
      attemptsMax: 3,
    },
    logger: silentLogger,
    limits: { retryDelayMs: 5, retryDelayMaxMs: 20, stallMs: 300, answerMs: 1_000, commitMs: 400 },
  });
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

const chunks = (offset: number): ReadableStream<Uint8Array> => {
  function* pieces(): Generator<Uint8Array> {
    for (let at = offset; at < bytes.byteLength; at += 65_536)
      yield bytes.subarray(at, at + 65_536);
  }
  return toReadableStream(pieces());
};

/** A registry that keeps uploads; `before` may answer first. */
async function serve(
  before: (
    request: FaultRequest,
    state: { stored: Buffer },
  ) => FaultReply | undefined | Promise<FaultReply | undefined> = () => undefined,
  location = "/upload?state=a%2Fb",
): Promise<FaultRegistry & { readonly state: { stored: Buffer } }> {
  const state = { stored: Buffer.alloc(0) };
  const registry = await startFaultRegistry(async (request) => {
    const { method, path } = request;
    const told = await before(request, state);
    if (told !== undefined || path === "/v2/") return told;
    const range = { range: `0-${Math.max(0, state.stored.byteLength - 1)}` };
    const headers = { location: location.replace("ORIGIN", registry.url), ...range };
    if (method === "POST") return { status: 202, headers };
    if (method === "GET") return { status: 204, headers };
    if (method === "PATCH") {
      state.stored = Buffer.concat([state.stored, await request.body()]);
      return { status: 202, headers: { ...headers, range: `0-${state.stored.byteLength - 1}` } };
    }
    if (method === "PUT") return { status: 201 };
    return undefined;
  });
  open.push(registry);
  return { ...registry, state };
}

const push = async (
  registry: FaultRegistry,
  more: { readonly mountFrom?: readonly string[]; readonly signal?: AbortSignal } = {},
): Promise<string[]> => {
  const kinds: string[] = [];
  await client.pushBlob(parseReference(`${registry.host}/app`), {
    descriptor,
    open: chunks,
    progress: ({ kind }) => void (kinds.at(-1) === kind || kinds.push(kind)),
    ...more,
  });
  return kinds;
};

describe("a push of a blob", () => {
  for (const location of ["/upload?state=a%2Fb", "ORIGIN/upload?state=a%2Fb", "upload"]) {
    test(`goes on where the registry says: ${location}`, async () => {
      const registry = await serve(undefined, location);
      expect(await push(registry)).toEqual(["waiting", "transferring", "done"]);
      expect(digestOf(registry.state.stored)).toBe(descriptor.digest);
      const put = registry.requests.find(({ method }) => method === "PUT");
      expect(put?.query.get("digest")).toBe(descriptor.digest);
      expect(put?.query.get("state")).toBe(location === "upload" ? null : "a/b");
    });
  }

  test("that breaks off goes on behind what the registry has", async () => {
    const registry = await serve(async (request, state) => {
      if (request.method !== "PATCH" || request.count > 1) return undefined;
      state.stored = (await request.body(1_000_000)).subarray(0, 1_000_000);
      return { reset: true };
    });
    expect(await push(registry)).toContain("retrying");
    expect(digestOf(registry.state.stored)).toBe(descriptor.digest);
    const second = registry.requests.filter(({ method }) => method === "PATCH")[1];
    expect(second?.headers["content-range"]).toBe(`1000000-${bytes.byteLength - 1}`);
    expect(registry.requests.map(({ method }) => method)).toEqual([
      ...["HEAD", "POST", "PATCH", "GET", "PATCH", "PUT"],
    ]);
  });

  test("begins anew when the registry has forgotten the upload", async () => {
    const registry = await serve(async (request, state) => {
      if (request.method === "GET" && request.path === "/upload") return { status: 404 };
      if (request.method !== "PATCH" || request.count > 1) return undefined;
      await request.body(1_000);
      state.stored = Buffer.alloc(0);
      return { reset: true };
    });
    await push(registry);
    expect(digestOf(registry.state.stored)).toBe(descriptor.digest);
    expect(registry.requests.filter(({ method }) => method === "POST")).toHaveLength(2);
  });

  test("hears a refusal in the middle of the bytes", async () => {
    const registry = await serve(async (request) => {
      if (request.method !== "PATCH") return undefined;
      await request.body(1_000);
      return {
        status: 403,
        headers: { connection: "close" },
        body: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      };
    });
    await expect(push(registry)).rejects.toMatchObject({
      kind: "permission-denied",
      message: "denied: requested access to the resource is denied",
    });
  });

  test("to a registry that takes no bytes is stalled, and ends", async () => {
    const registry = await serve(async ({ method }) => {
      return method === "PATCH" ? { silent: true } : undefined;
    });
    await expect(push(registry)).rejects.toMatchObject({ kind: "unavailable" });
    expect(registry.requests.filter(({ method }) => method === "PATCH").length).toBeGreaterThan(1);
  }, 20_000);

  test("that is there is not sent", async () => {
    const registry = await serve(({ method }) => (method === "HEAD" ? { status: 200 } : undefined));
    expect(await push(registry)).toEqual(["waiting", "exists"]);
  });

  test("uses the upload that a refused mount has begun", async () => {
    const registry = await serve();
    expect(await push(registry, { mountFrom: ["other", "app"] })).toEqual([
      ...["waiting", "transferring", "done"],
    ]);
    const posts = registry.requests.filter(({ method }) => method === "POST");
    expect(posts.map(({ query }) => query.get("from"))).toEqual(["other"]);
  });

  test("is canceled at once", async () => {
    const registry = await serve(({ method }) =>
      method === "PATCH" ? { silent: true } : undefined,
    );
    const controller = new AbortController();
    const pushed = push(registry, { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    await expect(pushed).rejects.toMatchObject({ kind: "canceled" });
  });

  test("ends with the client", async () => {
    const registry = await serve(({ method }) =>
      method === "PATCH" ? { silent: true } : undefined,
    );
    const pushed = push(registry);
    setTimeout(() => void client[Symbol.asyncDispose](), 100);
    await expect(pushed).rejects.toMatchObject({ kind: "canceled" });
  });

  test("without credentials tells Docker's sentence alone", async () => {
    const registry = await serve(() => ({
      status: 401,
      headers: { "www-authenticate": 'Basic realm="x"' },
    }));
    await expect(push(registry)).rejects.toMatchObject({
      kind: "unauthorized",
      message: "no basic auth credentials",
    });
  });

  test("of bytes that are no longer there fails with that", async () => {
    const registry = await serve();
    const failing = client.pushBlob(parseReference(`${registry.host}/app`), {
      descriptor,
      open: () => {
        throw new Error("gone");
      },
    });
    await expect(failing).rejects.toThrow("gone");
  });

  test("twice at once sends the bytes once", async () => {
    let isStored = false;
    const registry = await serve(({ method }) => {
      if (method === "PUT") isStored = true;
      return method === "HEAD" && isStored ? { status: 200 } : undefined;
    });
    const both = await Promise.all([push(registry), push(registry)]);
    expect(new Set(both.map((kinds) => kinds.at(-1)))).toEqual(new Set(["done", "exists"]));
  });
});

describe("a push of a manifest", () => {
  const mediaType = ociMediaTypes.manifest;
  const manifest = Buffer.from("{}");

  test("tells the digest it is stored under", async () => {
    const registry = await serve();
    const reference = parseReference(`${registry.host}/app:v1`);
    const digest = await client.pushManifest(reference, { mediaType, bytes: manifest });
    expect(digest).toBe(digestOf(manifest));
    const [put] = registry.requests;
    expect(put?.path).toBe("/v2/app/manifests/v1");
    expect(put?.headers["content-type"]).toBe(mediaType);
  });

  test("is refused when the registry stored something else", async () => {
    const headers = { "docker-content-digest": digestOf("else") };
    const registry = await serve(({ method }) =>
      method === "PUT" ? { status: 201, headers } : undefined,
    );
    const reference = parseReference(`${registry.host}/app@${digestOf(manifest)}`);
    await expect(
      client.pushManifest(reference, { mediaType, bytes: manifest }),
    ).rejects.toMatchObject({ kind: "data-loss" });
    expect(registry.requests[0]?.path).toBe(`/v2/app/manifests/${digestOf(manifest)}`);
  });
});
