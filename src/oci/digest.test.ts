import { describe, expect, test } from "bun:test";
import {
  chainId,
  chainIds,
  createDigester,
  digestAlgorithm,
  digestHex,
  digestOf,
  isDigest,
  parseDigest,
} from "./digest.ts";

const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const a = digestOf("a");
const b = digestOf("b");
const c = digestOf("c");

test.each([`sha256:${hex}`, `sha384:${"0".repeat(96)}`, `sha512:${"a".repeat(128)}`])(
  "parseDigest() takes %p",
  (text) => {
    const digest: string = parseDigest(text);
    expect(digest).toBe(text);
    expect(isDigest(text)).toBe(true);
  },
);

test.each([
  ["", "invalid checksum digest format"],
  [hex, "invalid checksum digest format"],
  ["sha256:", "invalid checksum digest format"],
  [`sha256:${hex.toUpperCase()}`, "invalid checksum digest format"],
  [`sha256:${hex.slice(1)}`, "invalid checksum digest length"],
  [`sha256:${hex}0`, "invalid checksum digest length"],
  [`sha256:${hex}\n`, "invalid checksum digest format"],
  [`md5:${"0".repeat(32)}`, "unsupported digest algorithm"],
  [`constructor:${"0".repeat(32)}`, "unsupported digest algorithm"],
  [`sha256:../../${hex}`, "invalid checksum digest format"],
  ["x".repeat(10_000), "invalid checksum digest format"],
])("parseDigest() refuses %p", (text, sentence) => {
  expect(() => parseDigest(text)).toThrow(sentence);
  expect(isDigest(text)).toBe(false);
});

test("digestOf() and createDigester() agree, in parts too", () => {
  const digester = createDigester();
  digester.update(Buffer.from("ab"));
  digester.update(Buffer.from("c"));
  expect(digester.digest()).toBe(digestOf("abc"));
  const empty: string = digestOf("");
  expect(empty).toBe(`sha256:${hex}`);
});

test("createDigester() follows the algorithm of another digest", () => {
  const like = parseDigest(`sha512:${"0".repeat(128)}`);
  const digest = createDigester(like).digest();
  expect(digestAlgorithm(digest)).toBe("sha512");
  expect(digestHex(digest).length).toBe(128);
});

describe("chainId()", () => {
  test("of one layer is its diff ID", () => {
    expect(chainId([a])).toBe(a);
  });
  test("hashes the chain below with the layer", () => {
    expect(chainId([a, b])).toBe(digestOf(`${a} ${b}`));
    expect(chainId([a, b, c])).toBe(digestOf(`${digestOf(`${a} ${b}`)} ${c}`));
  });
  test("of no layers is refused", () => {
    expect(() => chainId([])).toThrow("no layers");
  });
  test("is the last of chainIds()", () => {
    expect(chainIds([a, b, c])).toEqual([a, chainId([a, b]), chainId([a, b, c])]);
  });
});
