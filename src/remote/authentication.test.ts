/** Tokens, passwords, redirects, mirrors: who gets which credentials. */
import { afterEach, beforeEach, describe, expect, setSystemTime, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type FaultRegistry,
  type FaultReply,
  type FaultRequest,
  startFaultRegistry,
} from "../../test/support/fault-registry.ts";
import { openContentStore } from "../content/local-content-store.ts";
import { silentLogger } from "../lib/log.ts";
import { digestOf } from "../oci/digest.ts";
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
const credentials = { username: "ann", password: "s3cret" };
const basic = `Basic ${btoa("ann:s3cret")}`;
const manifest = JSON.stringify({ schemaVersion: 2, mediaType: ociMediaTypes.manifest });
const open: AsyncDisposable[] = [];
let client: RegistryClient;

beforeEach(() => {
  client = openRegistryClient({ config, logger: silentLogger });
});

afterEach(async () => {
  setSystemTime();
  await client[Symbol.asyncDispose]();
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});

type Served = FaultRegistry & { at(name: string): Reference };

async function serve(
  route: (request: FaultRequest) => FaultReply | undefined | Promise<FaultReply | undefined>,
): Promise<Served> {
  const registry = await startFaultRegistry(route);
  open.push(registry);
  return { ...registry, at: (name) => parseReference(`${registry.host}/${name}`) };
}

/** A registry with a token server beside it; `token` makes what that answers. */
async function serveWithTokens(
  token: (request: FaultRequest, issuedCount: number) => FaultReply,
  isGood: (authorization: string | undefined) => boolean = (text) =>
    text?.startsWith("Bearer ") === true,
): Promise<{ readonly registry: Served; readonly tokens: Served }> {
  let issuedCount = 0;
  const tokens = await serve((request) => {
    issuedCount += 1;
    return token(request, issuedCount);
  });
  const challenge = `Bearer realm="${tokens.url}/token?x=1",service="registry.test"`;
  const registry = await serve(({ headers, path }) => {
    if (path !== "/v2/" && isGood(headers["authorization"])) return { body: manifest };
    if (path === "/v2/" && headers["authorization"] !== undefined) return { body: "{}" };
    return { status: 401, headers: { "www-authenticate": challenge }, body: "{}" };
  });
  return { registry, tokens };
}

const grant = (token: string, more: object = {}): FaultReply => ({
  body: JSON.stringify({ token, ...more }),
});

describe("a bearer token", () => {
  test("is asked for with service, scope and password, and kept", async () => {
    const { registry, tokens } = await serveWithTokens((_request, count) => grant(`t${count}`));
    await client.fetchManifest(registry.at("team/app"), { credentials });
    await client.fetchManifest(registry.at("team/app"), { credentials });
    expect(tokens.requests).toHaveLength(1);
    const [asked] = tokens.requests;
    expect(Object.fromEntries(asked?.query ?? [])).toEqual({
      x: "1",
      service: "registry.test",
      scope: "repository:team/app:pull",
      account: "ann",
    });
    expect(asked?.headers["authorization"]).toBe(basic);
    expect(registry.requests.map(({ headers }) => headers["authorization"])).toEqual([
      "Bearer t1",
      "Bearer t1",
    ]);
  });

  test("of one user is not used for another", async () => {
    const { registry, tokens } = await serveWithTokens((_request, count) => grant(`t${count}`));
    await client.fetchManifest(registry.at("app"), { credentials });
    await client.fetchManifest(registry.at("app"), {});
    await client.fetchManifest(registry.at("app"), {
      credentials: { ...credentials, password: "x" },
    });
    expect(tokens.requests.map(({ headers }) => headers["authorization"])).toEqual([
      basic,
      undefined,
      `Basic ${btoa("ann:x")}`,
    ]);
  });

  test("that has expired is replaced", async () => {
    const { registry, tokens } = await serveWithTokens((_request, count) =>
      grant(`t${count}`, { expires_in: 0.05 }),
    );
    await client.fetchManifest(registry.at("app"), {});
    await Bun.sleep(60);
    await client.fetchManifest(registry.at("app"), {});
    expect(tokens.requests).toHaveLength(2);
  });

  test("holds by its lifetime, whatever the clocks say", async () => {
    const { registry, tokens } = await serveWithTokens((_request, count) =>
      grant(`t${count}`, { expires_in: 300, issued_at: "1999-01-01T00:00:00Z" }),
    );
    await client.fetchManifest(registry.at("app"), {});
    setSystemTime(new Date("2099-01-01T00:00:00Z"));
    await client.fetchManifest(registry.at("app"), {});
    setSystemTime(new Date("1999-01-01T00:00:00Z"));
    await client.fetchManifest(registry.at("app"), {});
    expect(tokens.requests).toHaveLength(1);
  });

  test("that is refused before its time is replaced once, and no more", async () => {
    let good = "Bearer t1";
    const { registry, tokens } = await serveWithTokens(
      (_request, count) => grant(`t${count}`),
      (authorization) => authorization === good,
    );
    await client.fetchManifest(registry.at("app"), {});
    good = "Bearer t2";
    await client.fetchManifest(registry.at("app"), {});
    expect(tokens.requests).toHaveLength(2);
    good = "none";
    await expect(client.fetchManifest(registry.at("app"), {})).rejects.toMatchObject({
      kind: "unauthorized",
      message: "unauthorized: authentication required",
    });
    expect(tokens.requests).toHaveLength(3);
  });

  test("comes by a refresh token as well", async () => {
    const bodies: string[] = [];
    const tokens = await serve(async (request) => {
      bodies.push(`${request.method} ${(await request.body()).toString()}`);
      return { body: '{"access_token":"got"}' };
    });
    const registry = await serve(({ headers }) =>
      headers["authorization"] === "Bearer got"
        ? { body: manifest }
        : { status: 401, headers: { "www-authenticate": `Bearer realm=${tokens.url}/t` } },
    );
    await client.fetchManifest(registry.at("app"), { credentials: { identityToken: "r e" } });
    expect(bodies).toEqual([
      "POST grant_type=refresh_token&refresh_token=r+e&client_id=docker&service=&" +
        "scope=repository%3Aapp%3Apull",
    ]);
  });

  test("that the caller has is sent as it is", async () => {
    const { registry, tokens } = await serveWithTokens(() => grant("never"));
    await client.fetchManifest(registry.at("app"), { credentials: { registryToken: "mine" } });
    expect(registry.requests[0]?.headers["authorization"]).toBe("Bearer mine");
    expect(tokens.requests).toEqual([]);
    await expect(
      client.fetchManifest(registry.at("app"), { credentials: { registryToken: "a\r\nb" } }),
    ).rejects.toMatchObject({ kind: "invalid-argument" });
  });

  for (const [what, reply, sentence] of [
    [
      "by a wrong password",
      { status: 401, body: '{"details":"incorrect username or password"}' },
      "unauthorized: incorrect username or password",
    ],
    ["by nothing", grant(""), "authorization server did not include a token in the response"],
    ["by rubbish", grant("a\nb"), "authorization server did not include a token in the response"],
  ] as const) {
    test(`is not had ${what}`, async () => {
      const { registry } = await serveWithTokens(() => reply);
      await expect(client.fetchManifest(registry.at("app:1"), { credentials })).rejects.toThrow(
        `Get "${registry.url}/v2/app/manifests/1": ${sentence}`,
      );
      await expect(client.login(registry.host, { credentials })).rejects.toThrow(
        `Get "${registry.url}/v2/": ${sentence}`,
      );
    });
  }

  test("whose scope does not suffice is told as Docker does", async () => {
    const tokens = await serve(() => grant("t"));
    const challenge = `Bearer realm="${tokens.url}/t",error="insufficient_scope"`;
    const registry = await serve(() => ({
      status: 401,
      headers: { "www-authenticate": challenge },
    }));
    await expect(client.fetchManifest(registry.at("secret"), {})).rejects.toMatchObject({
      kind: "not-found",
      message:
        `pull access denied for ${registry.host}/secret, repository does not exist or may require ` +
        "'docker login': denied: requested access to the resource is denied",
    });
  });

  test("is not asked for where the realm is no URL", async () => {
    for (const realm of ["file:///etc/passwd", "", "x"]) {
      const registry = await serve(() => ({
        status: 401,
        headers: { "www-authenticate": `Bearer realm="${realm}"` },
      }));
      await expect(client.fetchManifest(registry.at("app"), { credentials })).rejects.toThrow(
        "no valid realm in the token challenge",
      );
    }
  });

  test("of a login brings an identity token", async () => {
    const { registry, tokens } = await serveWithTokens(() =>
      grant("t", { refresh_token: "identity" }),
    );
    expect(await client.login(`http://${registry.host}/v1/`, { credentials })).toEqual({
      identityToken: "identity",
    });
    expect(tokens.requests[0]?.query.get("offline_token")).toBe("true");
  });
});

describe("a redirect", () => {
  test("of the token server takes no refresh token along to another host", async () => {
    const other = await serve(() => ({ body: '{"access_token":"got"}' }));
    const tokens = await serve(({ path }) => ({
      status: 307,
      headers: { location: path === "/t" ? "/moved" : `${other.url}/t` },
    }));
    const registry = await serve(() => ({
      status: 401,
      headers: { "www-authenticate": `Bearer realm=${tokens.url}/t` },
    }));
    const asked = client.fetchManifest(registry.at("app"), { credentials: { identityToken: "r" } });
    await expect(asked).rejects.toThrow(
      `refused to follow a redirect with a secret to ${other.url}`,
    );
    expect([tokens.requests.length, other.requests.length]).toEqual([2, 0]);
  });

  test("to another host takes no credentials along, nor back", async () => {
    const digest = digestOf("blob");
    const seen: (string | undefined)[] = [];
    const storage = await serve(({ headers, path }) => {
      seen.push(headers["authorization"]);
      if (path !== "/back") return { body: "blob" };
      return { status: 307, headers: { location: `${registry.url}/end` } };
    });
    const registry: Served = await serve(({ headers, path }) => {
      if (path === "/end") {
        seen.push(headers["authorization"]);
        return { body: "blob" };
      }
      if (headers["authorization"] === undefined) {
        return { status: 401, headers: { "www-authenticate": "Basic realm=x" } };
      }
      const location = path.startsWith("/v2/back/") ? `${storage.url}/back` : `${storage.url}/b`;
      return { status: 307, headers: { location } };
    });
    for (const name of ["app", "back"]) {
      const root = mkdtempSync(join(tmpdir(), "tug-remote-"));
      const content = await openContentStore({ root, logger: silentLogger });
      const descriptor = { mediaType: "application/x", digest, size: 4 };
      await client.fetchBlob(registry.at(name), { descriptor, content, credentials });
      rmSync(root, { recursive: true });
    }
    expect(seen).toEqual([undefined, undefined, undefined]);
    const first = registry.requests[0];
    expect(first?.headers["authorization"]).toBe(basic);
  });

  test("within the host keeps them", async () => {
    const registry = await serve(({ headers, path }) => {
      if (headers["authorization"] !== basic) {
        return { status: 401, headers: { "www-authenticate": "Basic realm=x" } };
      }
      return path === "/moved"
        ? { body: manifest }
        : { status: 302, headers: { location: "/moved" } };
    });
    await client.fetchManifest(registry.at("app"), { credentials });
    expect(registry.count("GET", "/moved")).toBe(1);
  });

  test("to what is no web page is refused", async () => {
    for (const location of ["file:///etc/passwd", "ftp://x/y", "http://"]) {
      const registry = await serve(({ path }) =>
        path === "/v2/" ? undefined : { status: 302, headers: { location } },
      );
      await expect(client.fetchManifest(registry.at("app"), {})).rejects.toThrow("redirect");
    }
  });
});

describe("mirrors of docker.io", () => {
  test("are asked in order, without credentials, and passed over when they fail", async () => {
    const broken = await serve(({ path }) => (path === "/v2/" ? undefined : { status: 500 }));
    const empty = await serve(() => undefined);
    const good = await serve(() => ({ body: manifest }));
    const mirrors = ["http://127.0.0.1:1", broken.url, `${empty.url}/`, `${good.url}/cache`];
    client.configure({ ...config, mirrors });
    const fetched = await client.fetchManifest(parseReference("busybox"), { credentials });
    expect(fetched.bytes.byteLength).toBe(manifest.length);
    expect(broken.requests).toHaveLength(1);
    expect(empty.requests).toHaveLength(1);
    expect(good.requests.map(({ path }) => path)).toEqual([
      "/cache/v2/",
      "/cache/v2/library/busybox/manifests/latest",
    ]);
    expect(good.requests[1]?.headers["authorization"]).toBeUndefined();
  });
});
