import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { digestOf } from "./digest.ts";
import {
  familiarName,
  familiarString,
  findReference,
  formatReference,
  isIdPrefix,
  isTag,
  parseReference,
  withDefaultTag,
  withDigest,
  withTag,
} from "./reference.ts";

const digest = digestOf("x");
const id = digest.slice("sha256:".length);

// Sentences and forms were compared with those of the docker client 28.5.
const accepted: [text: string, whole: string, familiar: string][] = [
  ["busybox", "docker.io/library/busybox", "busybox"],
  ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
  ["library/busybox", "docker.io/library/busybox", "busybox"],
  ["docker.io/busybox", "docker.io/library/busybox", "busybox"],
  ["docker.io/library/busybox", "docker.io/library/busybox", "busybox"],
  ["index.docker.io/busybox", "docker.io/library/busybox", "busybox"],
  ["user/app", "docker.io/user/app", "user/app"],
  ["library/a/b", "docker.io/library/a/b", "library/a/b"],
  ["localhost/app", "localhost/app", "localhost/app"],
  ["localhost:5000/app:dev", "localhost:5000/app:dev", "localhost:5000/app:dev"],
  ["127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"],
  ["[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo"],
  [`ghcr.io/o/r@${digest}`, `ghcr.io/o/r@${digest}`, `ghcr.io/o/r@${digest}`],
  [`busybox:1@${digest}`, `docker.io/library/busybox:1@${digest}`, `busybox:1@${digest}`],
  ["UPPER/app", "UPPER/app", "UPPER/app"],
  [
    "my-registry.example.com/a__b/c-d.e",
    "my-registry.example.com/a__b/c-d.e",
    "my-registry.example.com/a__b/c-d.e",
  ],
  ["a---b", "docker.io/library/a---b", "a---b"],
  ["app:_x", "docker.io/library/app:_x", "app:_x"],
  ["localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"],
  ["xn--n3h.com/app", "xn--n3h.com/app", "xn--n3h.com/app"],
  ["sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"],
  [`a:${"t".repeat(128)}`, `docker.io/library/a:${"t".repeat(128)}`, `a:${"t".repeat(128)}`],
];

test.each(accepted)("parseReference() reads %p", (text, whole, familiar) => {
  const reference = parseReference(text);
  expect(formatReference(reference)).toBe(whole);
  expect(familiarString(reference)).toBe(familiar);
  expect(parseReference(whole)).toEqual(reference);
  expect(parseReference(familiar)).toEqual(reference);
});

const invalid = "invalid reference format";
const rejected: [text: string, sentence: string][] = [
  ["", invalid],
  [":", invalid],
  ["a:", invalid],
  ["a@", invalid],
  ["a b", invalid],
  ["a/", invalid],
  ["/a", invalid],
  ["a//b", invalid],
  ["../a", invalid],
  ["a..b", invalid],
  ["-a", invalid],
  ["a-", invalid],
  ["a___b", invalid],
  [".a", invalid],
  ["a:-x", invalid],
  ["a:b:c", invalid],
  ["a\nb", invalid],
  ["a\n", invalid],
  ["\u001b[31m", invalid],
  ["ü", invalid],
  ["-domain.com/a", invalid],
  ["a.com:port/a", invalid],
  ["http://a.com/b", invalid],
  [`a:${"t".repeat(129)}`, invalid],
  ["a@sha256:abc", invalid],
  ["a".repeat(100_000), invalid],
  ["Foo", `${invalid}: repository name (library/Foo) must be lowercase`],
  ["Foo:tag", `${invalid}: repository name (library/Foo) must be lowercase`],
  ["user/Foo", `${invalid}: repository name (user/Foo) must be lowercase`],
  ["a.com/Foo", `${invalid}: repository name (Foo) must be lowercase`],
  ["a".repeat(256), "repository name must not be more than 255 characters"],
  [id, `invalid repository name (${id}), cannot specify 64-byte hexadecimal strings`],
  [`a@md5:${"0".repeat(32)}`, "unsupported digest algorithm"],
  [`a@sha256:${"0".repeat(63)}`, "invalid checksum digest length"],
];

test.each(rejected)("parseReference() refuses %p", (text, sentence) => {
  let message = "accepted";
  try {
    parseReference(text);
  } catch (error) {
    message = error instanceof Error ? error.message : "";
  }
  expect(message).toBe(sentence);
  expect(findReference(text)).toBeUndefined();
});

describe("fuzz", () => {
  const characters = [
    ..."abzAZ09._-:/@[]".split(""),
    "sha256:",
    "localhost",
    "docker.io",
    "library/",
  ];
  const texts = fc
    .array(fc.constantFrom(...characters), { maxLength: 24 })
    .map((parts) => parts.join(""));
  test("what is accepted comes back from both of its forms", () => {
    const check = fc.property(texts, (text) => {
      const reference = findReference(text);
      if (reference === undefined) return true;
      const [whole, familiar] = [formatReference(reference), familiarString(reference)];
      return (
        formatReference(parseReference(whole)) === whole &&
        formatReference(parseReference(familiar)) === whole
      );
    });
    fc.assert(check, { seed: 41, numRuns: 3_000 });
  });
  test("hostile lengths are answered at once", () => {
    const startMs = performance.now();
    for (const part of ["a-", "a_", "a.", "a/", "a:", "[", "a__"])
      findReference(`${part.repeat(2_000)}!`);
    expect(performance.now() - startMs).toBeLessThan(500);
  });
});

describe("changes", () => {
  const reference = parseReference(`busybox:1@${digest}`);
  test("withTag() drops the digest", () => {
    expect(familiarString(withTag(reference, "2"))).toBe("busybox:2");
    expect(() => withTag(reference, "a b")).toThrow("invalid tag format");
  });
  test("withDigest() drops the tag", () => {
    expect(familiarString(withDigest(reference, digest))).toBe(`busybox@${digest}`);
  });
  test("withDefaultTag() fills in only what is missing", () => {
    expect(familiarString(withDefaultTag(parseReference("busybox")))).toBe("busybox:latest");
    expect(withDefaultTag(reference)).toBe(reference);
  });
  test("familiarName() has neither tag nor digest", () => {
    expect(familiarName(reference)).toBe("busybox");
  });
});

test("isIdPrefix() and isTag() tell what could be one", () => {
  expect([id, id.slice(0, 4), `sha256:${id}`].every(isIdPrefix)).toBe(true);
  expect(["", "xyz", `${id}0`, "sha256:", "ABC"].some(isIdPrefix)).toBe(false);
  expect(["a", "_", "1.0-x", "t".repeat(128)].every(isTag)).toBe(true);
  expect(["", ".a", "-a", "a/b", "a\n", "t".repeat(129)].some(isTag)).toBe(false);
});
