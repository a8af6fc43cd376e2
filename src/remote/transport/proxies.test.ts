import { describe, expect, test } from "bun:test";
import { findProxy, proxyAuthorization } from "./proxies.ts";

const httpProxy = "proxy.example:3128";
const httpsProxy = "http://ann:p%40ss@secure.example:8080";

describe("findProxy()", () => {
  test("goes by the URL's scheme", () => {
    const config = { httpProxy, httpsProxy };
    expect(findProxy(new URL("http://a.example"), config)?.href).toBe("http://proxy.example:3128/");
    expect(findProxy(new URL("https://a.example"), config)?.host).toBe("secure.example:8080");
    expect(findProxy(new URL("https://a.example"), { httpProxy })).toBeUndefined();
    expect(findProxy(new URL("https://a.example"), { httpsProxy: "" })).toBeUndefined();
  });

  for (const [noProxy, url, isDirect] of [
    ["", "http://localhost:5000", true],
    ["", "http://127.0.0.2", true],
    ["", "http://[::1]:5000", true],
    ["", "http://a.example", false],
    ["*", "http://a.example", true],
    ["example", "http://a.example", true],
    ["a.example", "http://a.example", true],
    ["a.example", "http://b.a.example", true],
    ["a.example", "http://ba.example", false],
    [".a.example", "http://a.example", false],
    [".a.example", "http://b.a.example", true],
    ["*.a.example", "http://b.a.example", true],
    [" x.y , A.Example:80", "http://a.example", true],
    ["a.example:81", "http://a.example", false],
    ["a.example:443", "https://a.example", true],
    ["10.0.0.0/8", "http://10.2.3.4:5000", true],
    ["10.0.0.0/8", "http://11.2.3.4", false],
    ["10.2.3.4", "http://10.2.3.4", true],
    ["10.2.3.4:80", "http://10.2.3.4:81", false],
    ["fd00::/8", "http://[fd00::1]", true],
    ["[fd00::1]:80", "http://[fd00::1]", true],
  ] as const) {
    test(`NO_PROXY=${noProxy}: ${url} goes ${isDirect ? "direct" : "by proxy"}`, () => {
      const config = { httpProxy, httpsProxy, noProxy };
      expect(findProxy(new URL(url), config) === undefined).toBe(isDirect);
    });
  }

  test("refuses other schemes and rubbish, without showing the password", () => {
    const url = new URL("http://a.example");
    for (const text of ["socks5://ann:s3cret@x", "http://ann:s3cret@", "http://ann:s3cret@a b"]) {
      let sentence = "";
      try {
        findProxy(url, { httpProxy: text });
      } catch (error) {
        sentence = String(error);
      }
      expect(sentence).toContain("proxy");
      expect(sentence).not.toContain("s3cret");
    }
  });

  test("a proxy's user is for the proxy", () => {
    expect(proxyAuthorization(new URL(httpsProxy))).toBe(`Basic ${btoa("ann:p@ss")}`);
    expect(proxyAuthorization(new URL("http://x"))).toBeUndefined();
  });
});
