import { describe, expect, test } from "bun:test";
import { parseBlock } from "../transport/address-block.ts";
import { hostOf, isInsecureHost, mirrorsOf, ownEndpoints } from "./endpoints.ts";

const urls = (endpoints: readonly { readonly url: URL }[]): string[] =>
  endpoints.map(({ url }) => url.href);

describe("endpoints", () => {
  test("docker.io is served by registry-1.docker.io, by TLS alone", () => {
    for (const domain of ["docker.io", "index.docker.io", "registry-1.docker.io"]) {
      expect(hostOf(domain)).toBe("registry-1.docker.io");
      expect(urls(ownEndpoints(domain, true))).toEqual(["https://registry-1.docker.io/"]);
    }
  });

  test("an insecure host is tried without TLS after it was with it", () => {
    expect(urls(ownEndpoints("a.example:5000", false))).toEqual(["https://a.example:5000/"]);
    expect(urls(ownEndpoints("[::1]:5000", true))).toEqual([
      "https://[::1]:5000/",
      "http://[::1]:5000/",
    ]);
  });

  test("a mirror is docker.io's unless it names its registry; what is no URL is none", () => {
    const named = ["quay.io=https://q.example/a=b", "reg:5000=http://r", "docker.io=http://d"];
    const config = {
      mirrors: ["https://m.example", "http://n/x/", "m", "ftp://x", "quay.io=q", ...named],
      insecureRegistries: [],
    };
    expect(urls(mirrorsOf("quay.io", config))).toEqual(["https://q.example/a=b/"]);
    expect(urls(mirrorsOf("reg:5000", config))).toEqual(["http://r/"]);
    expect(urls(mirrorsOf("docker.io", config))).toEqual([
      "https://m.example/",
      "http://n/x/",
      "http://d/",
    ]);
    expect(mirrorsOf("ghcr.io", config)).toEqual([]);
  });
});

for (const domain of ["127.0.0.1:99999", "[:::::]", "1.2.3.4.5.6", "a.256.256.256.256"]) {
  test(`${domain} is refused: no URL can have it`, () => {
    expect(() => ownEndpoints(domain, true)).toThrow(`invalid registry "${domain}"`);
  });
}

describe("isInsecureHost()", () => {
  const insecureRegistries = [
    "Reg.Example:5000",
    "http://other.example/",
    "10.0.0.0/8",
    "fd00::/8",
    "192.0.2.7",
    "192.0.2.8:5000",
    "192.0.2.9/32",
  ];
  const addresses: Readonly<Record<string, readonly string[]>> = {
    "inside.example": ["10.1.2.3"],
    "six.example": ["2001:db8::1", "fd00::5"],
    localhost: ["::1", "127.0.0.1"],
    "out.example": ["192.0.2.1"],
  };
  for (const [host, expected] of [
    ["reg.example:5000", "listed"],
    ["reg.example", "no"],
    ["other.example", "listed"],
    ["inside.example:443", "listed"],
    ["six.example", "listed"],
    ["10.255.0.1:5000", "listed"],
    ["11.0.0.1", "no"],
    ["[fd12::1]:5000", "listed"],
    ["out.example", "no"],
    ["192.0.2.7", "listed"],
    ["192.0.2.7:5000", "no"],
    ["192.0.2.8:5000", "listed"],
    ["192.0.2.8", "no"],
    ["192.0.2.9:5000", "listed"],
    ["unknown.example", "no"],
    ["localhost:5000", "loopback"],
    ["127.9.9.9", "loopback"],
    ["[::1]", "loopback"],
    ["128.0.0.1", "no"],
  ] as const) {
    test(`${host}: ${expected}`, async () => {
      const lookUp = async (name: string): Promise<readonly string[]> => addresses[name] ?? [];
      expect(await isInsecureHost(host, { insecureRegistries, lookUp })).toBe(expected);
    });
  }
});

test("parseBlock() refuses what is no block", () => {
  for (const text of ["", "x", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/", "fe80::1%eth0", "/8"]) {
    expect(parseBlock(text)).toBeUndefined();
  }
});
