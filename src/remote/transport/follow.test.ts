import { describe, expect, test } from "bun:test";
import { sendFollowing } from "./follow.ts";
import type { HttpAnswer, HttpRequest, HttpTransport } from "./transport.ts";

/** A transport that answers each URL with a redirect, or 200 when the table has none. */
function redirects(table: Readonly<Record<string, readonly [status: number, to: string]>>): {
  readonly transport: HttpTransport;
  readonly sent: HttpRequest[];
} {
  const sent: HttpRequest[] = [];
  const transport: HttpTransport = {
    send: async (request) => {
      sent.push(request);
      const [status, to] = table[request.url.href] ?? [200, undefined];
      const answer: HttpAnswer = {
        method: request.method,
        url: request.url,
        status,
        statusText: "",
        header: (name) => (name === "location" ? to : undefined),
        body: async function* () {},
        close: () => undefined,
      };
      return answer;
    },
    close: () => undefined,
  };
  return { transport, sent };
}

const request = (url: string, method = "GET"): HttpRequest => ({
  method,
  url: new URL(url),
  headers: { authorization: "secret", cookie: "secret", accept: "x" },
});

describe("sendFollowing()", () => {
  for (const [what, from, to] of [
    ["another host", "https://a.example/", "https://b.example/"],
    ["another port", "https://a.example/", "https://a.example:444/"],
    ["TLS", "http://a.example/", "https://a.example/"],
    ["a host within", "https://a.example/", "https://x.a.example/"],
  ] as const) {
    test(`takes no credentials along to ${what}`, async () => {
      const { transport, sent } = redirects({ [from]: [307, to] });
      await sendFollowing(transport, request(from));
      expect(sent[1]?.url.href).toBe(to);
      expect(sent[1]?.headers).toEqual({ accept: "x" });
    });
  }

  test("takes no user out of a URL", async () => {
    const { transport, sent } = redirects({
      "https://a.example/": [302, "https://ann:pw@b.example/"],
    });
    await sendFollowing(transport, request("https://a.example/"));
    expect(sent[1]?.url.href).toBe("https://b.example/");
  });

  test("refuses to leave TLS", async () => {
    const { transport, sent } = redirects({ "https://a.example/": [302, "http://a.example/"] });
    await expect(sendFollowing(transport, request("https://a.example/"))).rejects.toThrow(
      'Get "https://a.example/": refused to follow a redirect from TLS to http://a.example/',
    );
    expect(sent).toHaveLength(1);
  });

  test("does not send another request than the one that was meant", async () => {
    const table = { "https://a.example/": [302, "/b"] } as const;
    const { transport, sent } = redirects(table);
    const answer = await sendFollowing(transport, request("https://a.example/", "PUT"));
    expect([answer.status, sent.length]).toEqual([302, 1]);
    const kept = redirects({ "https://a.example/": [308, "/b"] });
    await sendFollowing(kept.transport, request("https://a.example/", "PUT"));
    expect(kept.sent[1]).toMatchObject({ method: "PUT", headers: { authorization: "secret" } });
  });

  test("takes a redirect without a place as the answer", async () => {
    const { transport } = redirects({ "https://a.example/": [304, ""] });
    expect((await sendFollowing(transport, request("https://a.example/"))).status).toBe(304);
  });
});
