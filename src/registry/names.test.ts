import { describe, expect, test } from "bun:test";
import { isKind } from "../lib/errors.ts";
import { isRepositoryName, parseManifestName, parsePath } from "./names.ts";

const digest = `sha256:${"a".repeat(64)}`;

describe("names of repositories", () => {
  test.each([
    ..."a ab a1 a/b a/b/c/d a.b a_b a__b a-b a--b a---b 0/1 blobs/uploads tags/list".split(" "),
    "a".repeat(255),
  ])("%p is one", (name) => expect(isRepositoryName(name)).toBe(true));

  test.each([
    ...["", "/", "a/", "/a", "a//b", "A", "a/B", "a..b", "a___b", ".a", "a.", "-a", "a-", "_a"],
    ...["a b", "a\n", "ä", "a:b", "a@b", "..", "a/../b", "a%2fb", "a".repeat(256), "\0"],
  ])("%p is none", (name) => expect(isRepositoryName(name)).toBe(false));
});

describe("paths", () => {
  test.each([
    ["/v2/", { kind: "ping" }],
    ["/v2", { kind: "ping" }],
    ["/v2/_catalog", { kind: "catalog" }],
    ["/v2/a/b/tags/list", { kind: "tags", repository: "a/b" }],
    ["/v2/tags/list/tags/list", { kind: "tags", repository: "tags/list" }],
    ["/v2/a/manifests/v1", { kind: "manifest", repository: "a", name: { kind: "tag", tag: "v1" } }],
    [`/v2/a/manifests/${digest}`, { kind: "manifest", name: { kind: "digest", digest } }],
    [`/v2/a/manifests/sha256%3A${"a".repeat(64)}`, { name: { kind: "digest", digest } }],
    [`/v2/blobs/blobs/${digest}`, { kind: "blob", repository: "blobs", digest }],
    [`/v2/a/referrers/${digest}`, { kind: "referrers", repository: "a", digest }],
    ["/v2/a/blobs/uploads/", { kind: "uploads", repository: "a" }],
    ["/v2/a/blobs/uploads", { kind: "uploads", repository: "a" }],
    ["/v2/a/blobs/uploads/blobs/uploads/", { kind: "uploads", repository: "a/blobs/uploads" }],
    [`/v2/a/b/blobs/uploads/${"0".repeat(32)}`, { kind: "upload", id: "0".repeat(32) }],
  ])("%p is read", (path, expected) => {
    expect(parsePath(path)).toMatchObject(expected);
  });

  test.each([
    "",
    "v2/",
    "/v1/",
    "/v2//",
    "/v2/a",
    "/v2/a/b",
    "/v2/a/tags",
    "/v2/a/tags/list/",
    "/v2/%",
    "/v2/%ff/tags/list",
    "*",
  ])("%p is none of the API", (path) => {
    expect(parsePath(path)).toBeUndefined();
  });

  test.each([
    ["/v2/A/tags/list", "NAME_INVALID"],
    ["/v2//tags/list", "NAME_INVALID"],
    ["/v2/a/../b/tags/list", "NAME_INVALID"],
    ["/v2/a%00/tags/list", "NAME_INVALID"],
    ["/v2/a/manifests/", "TAG_INVALID"],
    ["/v2/a/manifests/-v", "TAG_INVALID"],
    [`/v2/a/manifests/${"v".repeat(129)}`, "TAG_INVALID"],
    ["/v2/a/manifests/sha256:1", "DIGEST_INVALID"],
    [`/v2/a/blobs/${digest.toUpperCase()}`, "DIGEST_INVALID"],
    ["/v2/a/blobs/", "DIGEST_INVALID"],
    ["/v2/a/blobs/uploads/..", "BLOB_UPLOAD_UNKNOWN"],
  ])("%p is refused with %s", (path, code) => {
    expect(() => parsePath(path)).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ distributionCode: code }) }),
    );
  });

  test("whatever comes is read or refused, and never lets a name leave its form", () => {
    let state = 7;
    const next = (bound: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state % bound;
    };
    const parts = ["/", "v2", "a", "..", "blobs", "uploads", "tags", "list", "manifests", "%2e"];
    const more = [
      "%2f",
      "%",
      "\0",
      digest,
      "A",
      "referrers",
      "_catalog",
      "0".repeat(32),
      "//",
      "~",
    ];
    const words = [...parts, ...more];
    for (let round = 0; round < 5_000; round += 1) {
      const path = `/v2/${Array.from({ length: next(8) }, () => words[next(words.length)]).join(
        next(2) === 0 ? "/" : "",
      )}`;
      try {
        const target = parsePath(path);
        if (target !== undefined && "repository" in target) {
          expect(isRepositoryName(target.repository)).toBe(true);
        }
      } catch (error) {
        expect(isKind(error, "invalid-argument", "not-found")).toBe(true);
      }
    }
  });
});

test("a manifest is named by a tag or a digest", () => {
  expect(parseManifestName("latest")).toEqual({ kind: "tag", tag: "latest" });
  expect(() => parseManifestName("latest:")).toThrow("not a digest");
});
