import { expect, test } from "bun:test";
import { parseChallenges } from "./challenge.ts";
import { TokenSource, type TokenWish } from "./token-source.ts";
import type { HttpRequest, HttpTransport } from "../transport/transport.ts";

/** A token server that counts what it gives. */
function tokenServer(
  lifetimeS: number,
  give = (count: number): object => ({ token: `t${count}` }),
): {
  readonly transport: HttpTransport;
  readonly asked: HttpRequest[];
} {
  const asked: HttpRequest[] = [];
  const transport: HttpTransport = {
    send: async (request) => {
      asked.push(request);
      const text = JSON.stringify({ ...give(asked.length), expires_in: lifetimeS });
      return {
        method: "GET",
        url: request.url,
        status: 200,
        statusText: "OK",
        header: () => undefined,
        body: async function* () {
          yield Buffer.from(text);
        },
        close: () => undefined,
      };
    },
    close: () => undefined,
  };
  return { transport, asked };
}

const wish = (realm: string, more: Partial<TokenWish> = {}): TokenWish => {
  const [challenge] = parseChallenges(`Bearer realm="${realm}",service="s"`);
  if (challenge === undefined) throw new Error("no challenge");
  const request = { method: "GET", url: new URL("https://registry.example/v2/"), headers: {} };
  return { challenge, scopes: ["repository:a:pull"], request, ...more };
};

const credentials = { username: "ann", password: "pw" };

test("a token is used for nine tenths of its life", async () => {
  const { transport } = tokenServer(100);
  let nowMs = 5_000;
  const source = new TokenSource(transport, { monotonicMs: () => nowMs });
  const get = async (): Promise<string> => (await source.get(wish("https://a/t"))).token;
  expect(await get()).toBe("t1");
  nowMs += 89_999;
  expect(await get()).toBe("t1");
  nowMs += 1;
  expect(await get()).toBe("t2");
});

for (const [document, expected] of [
  [{ token: "a" }, "a"],
  [{ access_token: "b" }, "b"],
  [{ token: "", access_token: "b" }, "b"],
  [{ token: "a", access_token: "" }, "a"],
  [{ token: "a", access_token: "b" }, "b"],
  [{ token: null, access_token: "b" }, "b"],
] as const) {
  test(`of ${JSON.stringify(document)} the token is ${expected}`, async () => {
    const { transport } = tokenServer(100, () => document);
    const source = new TokenSource(transport, { monotonicMs: () => 0 });
    expect((await source.get(wish("https://a/t"))).token).toBe(expected);
  });
}

test("a token without a lifetime holds for a minute, less its last part", async () => {
  for (const lifetimeS of [0, -5]) {
    const { transport } = tokenServer(lifetimeS);
    let nowMs = 0;
    const source = new TokenSource(transport, { monotonicMs: () => nowMs });
    await source.get(wish("https://a/t"));
    nowMs = 53_999;
    expect((await source.get(wish("https://a/t"))).token).toBe("t1");
    nowMs = 54_000;
    expect((await source.get(wish("https://a/t"))).token).toBe("t2");
  }
});

test("a token is for one realm, one set of scopes in any order, one user", async () => {
  const { transport, asked } = tokenServer(100);
  const source = new TokenSource(transport, { monotonicMs: () => 0 });
  await source.get(wish("https://a/t", { scopes: ["x", "y"] }));
  await source.get(wish("https://a/t", { scopes: ["y", "x"] }));
  expect(asked).toHaveLength(1);
  await source.get(wish("https://a/t", { scopes: ["x"] }));
  await source.get(wish("https://b/t", { scopes: ["x", "y"] }));
  await source.get(wish("https://a/t", { scopes: ["x", "y"], credentials }));
  expect(asked).toHaveLength(4);
});

test("tokens that are kept are bounded", async () => {
  const { transport, asked } = tokenServer(100);
  const source = new TokenSource(transport, { monotonicMs: () => 0 });
  for (let count = 0; count < 300; count += 1) {
    await source.get(wish("https://a/t", { scopes: [`s${count}`] }));
  }
  await source.get(wish("https://a/t", { scopes: ["s299"] }));
  expect(asked).toHaveLength(300);
  await source.get(wish("https://a/t", { scopes: ["s0"] }));
  expect(asked).toHaveLength(301);
});

test("credentials do not leave TLS for a token server", async () => {
  const { transport, asked } = tokenServer(100);
  const source = new TokenSource(transport, { monotonicMs: () => 0 });
  await expect(source.get(wish("http://a/t", { credentials }))).rejects.toThrow(
    "refused to send credentials without TLS to the token server",
  );
  expect(asked).toEqual([]);
  await source.get(wish("http://ann:pw@a/t"));
  expect(asked[0]?.url.href).toStartWith("http://a/t?");
  expect(asked[0]?.headers).toEqual({});
});
