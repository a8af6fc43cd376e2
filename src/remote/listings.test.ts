/** Tags, referrers and search: lists of a registry that may lie, and may not end. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  type FaultRegistry,
  type FaultReply,
  type FaultRequest,
  startFaultRegistry,
} from "../../test/support/fault-registry.ts";
import { silentLogger } from "../lib/log.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { encodeIndex } from "../oci/manifest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import { parseReference } from "../oci/reference.ts";
import { loginHost } from "./_login.ts";
import { splitTerm } from "./_search.ts";
import { openRegistryClient } from "./http-registry-client.ts";
import type { RegistryClient } from "./registry-client.ts";

let client: RegistryClient;
const open: AsyncDisposable[] = [];

beforeEach(() => {
  client = openRegistryClient({
    config: {
      mirrors: [],
      insecureRegistries: [],
      certsDirs: [],
      downloadsMax: 1,
      uploadsMax: 1,
      attemptsMax: 1,
    },
    logger: silentLogger,
  });
});

afterEach(async () => {
  await client[Symbol.asyncDispose]();
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

async function serve(
  route: (request: FaultRequest) => FaultReply | undefined,
): Promise<FaultRegistry> {
  const registry = await startFaultRegistry(route);
  open.push(registry);
  return registry;
}

const tagPage = (tags: readonly string[], link?: string): FaultReply => ({
  body: JSON.stringify({ name: "app", tags }),
  headers: link === undefined ? {} : { link },
});

describe("listTags()", () => {
  test("reads all pages, by relative links and absolute ones", async () => {
    const registry: FaultRegistry = await serve(({ path, query }) => {
      if (path === "/v2/") return undefined;
      const last = query.get("last");
      if (last === null) return tagPage(["a"], '</v2/app/tags/list?last=a&n=1>; rel="next"');
      if (last === "a") {
        return tagPage(["b"], `<${registry.url}/v2/app/tags/list?last=b>; title=x; rel=next`);
      }
      return tagPage(["c"], '</v2/app/tags/list?last=a>; rel="first"');
    });
    const tags = await client.listTags(parseReference(`${registry.host}/app`), {});
    expect(tags).toEqual(["a", "b", "c"]);
  });

  test("does not follow a link to another host", async () => {
    const other = await serve(() => tagPage(["stolen"]));
    const registry = await serve(({ path }) =>
      path === "/v2/" ? undefined : tagPage(["a"], `<${other.url}/v2/app/tags/list>; rel="next"`),
    );
    expect(await client.listTags(parseReference(`${registry.host}/app`), {})).toEqual(["a"]);
    expect(other.requests).toEqual([]);
  });

  test("ends when the list does not", async () => {
    const many = Array.from({ length: 9_999 }, (_, index) => `t${index}`);
    const registry = await serve(({ path }) =>
      path === "/v2/" ? undefined : tagPage(many, '</v2/app/tags/list?again>; rel="next"'),
    );
    await expect(client.listTags(parseReference(`${registry.host}/app`), {})).rejects.toThrow(
      "it does not end",
    );
  });

  test("of what is no list is refused", async () => {
    const registry = await serve(() => ({ body: "[]" }));
    await expect(client.listTags(parseReference(`${registry.host}/app`), {})).rejects.toThrow(
      "decode tag list",
    );
  });
});

test("findBlobSize() tells a blob's length, or that it is not there", async () => {
  const [there, gone, untold] = ["there", "gone", "untold"].map(digestOf) as [
    Digest,
    Digest,
    Digest,
  ];
  const registry = await serve(({ path, method }) => {
    if (path === "/v2/") return undefined;
    expect(method).toBe("HEAD");
    if (path.endsWith(there)) return { headers: { "content-length": "12345678901" } };
    if (path.endsWith(gone)) return { status: 404 };
    return { headers: { "content-length": "many" } };
  });
  const reference = parseReference(`${registry.host}/app`);
  expect(await client.findBlobSize(reference, { digest: there })).toBe(12_345_678_901);
  expect(await client.findBlobSize(reference, { digest: gone })).toBeUndefined();
  await expect(client.findBlobSize(reference, { digest: untold })).rejects.toThrow();
});

test("listReferrers() filters what the registry has not", async () => {
  const subject = digestOf("subject");
  const entry = (artifactType: string): Descriptor => ({
    mediaType: ociMediaTypes.manifest,
    digest: digestOf(artifactType),
    size: 3,
    artifactType,
  });
  const index = encodeIndex({
    schemaVersion: 2,
    mediaType: ociMediaTypes.index,
    manifests: [entry("a/b"), entry("c/d")],
  });
  const registry = await serve(({ path }) => (path === "/v2/" ? undefined : { body: index }));
  const reference = parseReference(`${registry.host}/app`);
  const all = await client.listReferrers(reference, { digest: subject });
  expect(all).toHaveLength(2);
  const some = await client.listReferrers(reference, { digest: subject, artifactType: "c/d" });
  expect(some).toEqual([entry("c/d")]);
  expect(registry.requests[1]?.path).toBe(`/v2/app/referrers/${subject}`);
  expect(registry.requests[1]?.query.get("artifactType")).toBe("c/d");
});

describe("search()", () => {
  test("asks a registry's v1, with the words and a bound", async () => {
    const results = [
      { name: "team/app", description: "An app", star_count: 2 },
      { name: "team/apple" },
    ];
    const registry = await serve(({ path }) =>
      path === "/v1/search" ? { body: JSON.stringify({ results }) } : undefined,
    );
    const hits = await client.search(`${registry.host}/team/app`, { countMax: 1 });
    expect(hits).toEqual([
      {
        name: "team/app",
        description: "An app",
        starCount: 2,
        isOfficial: false,
        isAutomated: false,
      },
    ]);
    expect(Object.fromEntries(registry.requests[0]?.query ?? [])).toEqual({
      q: "team/app",
      n: "1",
    });
  });

  test("without v1 and catalog is told as Docker does", async () => {
    const registry = await serve(() => undefined);
    await expect(client.search(`${registry.host}/x`, { countMax: 5 })).rejects.toThrow(
      "Unexpected status code 404",
    );
  });

  for (const [term, domain, words] of [
    ["busybox", "docker.io", "busybox"],
    ["library/busybox", "docker.io", "busybox"],
    ["user/app", "docker.io", "user/app"],
    ["docker.io/library/x", "docker.io", "x"],
    ["index.docker.io/x", "docker.io", "x"],
    ["localhost/x", "localhost", "x"],
    ["reg.example:5000/a/b", "reg.example:5000", "a/b"],
  ] as const) {
    test(`"${term}" is "${words}" at ${domain}`, () => {
      expect(splitTerm(term)).toEqual({ domain, words });
    });
  }

  test("of a URL is refused", () => {
    expect(() => splitTerm("https://x/y")).toThrow("should not have a scheme");
  });
});

describe("the host of a login", () => {
  for (const [address, host] of [
    ["", "docker.io"],
    ["https://index.docker.io/v1/", "index.docker.io"],
    ["reg.example:5000", "reg.example:5000"],
    ["http://[::1]:5000/v2/", "[::1]:5000"],
  ] as const) {
    test(`of "${address}" is ${host}`, () => expect(loginHost(address)).toBe(host));
  }

  for (const address of ["user@host", "a b", "https://", "x:y", "..//", "[::1", "a:123456"]) {
    test(`of "${address}" is refused`, () => {
      expect(() => loginHost(address)).toThrow("invalid registry address");
    });
  }
});
