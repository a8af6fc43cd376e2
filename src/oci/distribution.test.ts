import { describe, expect, test } from "bun:test";
import {
  decodeCatalog,
  decodeFaults,
  decodeManifestHead,
  decodeSearch,
  decodeTags,
  decodeToken,
} from "./distribution.ts";

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe("documents of a registry", () => {
  test("errors, and details in their stead", () => {
    const errors = [{ code: "DENIED", message: "no", detail: [1] }, { message: "x" }, {}];
    expect(decodeFaults(json({ errors }))).toEqual({
      faults: [
        { code: "DENIED", message: "no" },
        { code: "UNKNOWN", message: "x" },
        { code: "UNKNOWN", message: "" },
      ],
    });
    expect(decodeFaults(json({ details: "bad" }))).toEqual({ faults: [], details: "bad" });
    expect(decodeFaults(json({ details: { a: 1 } }))).toEqual({ faults: [] });
  });

  test("a token, by either name", () => {
    expect(decodeToken(json({ token: "a", expires_in: 60.5, issued_at: 7 }))).toEqual({
      token: "a",
      expiresInS: 60.5,
    });
    expect(decodeToken(json({ access_token: "b", refresh_token: "c", expires_in: "x" }))).toEqual({
      accessToken: "b",
      refreshToken: "c",
    });
  });

  test("lists, which may be null", () => {
    expect(decodeTags(json({ name: "x", tags: ["a", "b"] }))).toEqual(["a", "b"]);
    expect(decodeTags(json({ name: "x", tags: null }))).toEqual([]);
    expect(decodeCatalog(json({ repositories: ["a"] }))).toEqual(["a"]);
  });

  test("hits of a search", () => {
    const results = [{ name: "busybox", star_count: 3, is_official: true }];
    expect(decodeSearch(json({ num_results: 1, results }))).toEqual([
      { name: "busybox", description: "", starCount: 3, isOfficial: true, isAutomated: false },
    ]);
  });

  test("the head of a manifest", () => {
    expect(decodeManifestHead(json({ schemaVersion: 1 }))).toEqual({
      schemaVersion: 1,
      isIndex: false,
    });
    expect(decodeManifestHead(json({ mediaType: "a/b", manifests: [] }))).toEqual({
      mediaType: "a/b",
      isIndex: true,
    });
  });

  for (const [what, bytes] of [
    ["no JSON", Buffer.from("<html>")],
    ["no object", Buffer.from("[]")],
    ["tags that are numbers", json({ tags: [1] })],
    ["too many tags", json({ tags: Array.from({ length: 10_001 }, () => "a") })],
    ["too many bytes", Buffer.alloc(5 * 1024 * 1024, " ")],
  ] as const) {
    test(`${what} is refused`, () => expect(() => decodeTags(bytes)).toThrow("decode tag list"));
  }
});
