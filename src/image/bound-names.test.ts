import { describe, expect, test } from "bun:test";
import { digestOf } from "../oci/digest.ts";
import { boundName, callImages, isBoundTo, shrunkName } from "./bound-names.ts";

const [a, b, c] = [digestOf("a"), digestOf("b"), digestOf("c")];
const target = { digest: digestOf("index"), mediaType: "index", sizeBytes: 1 };

test("callImages(): a tag is its first image's alone, a digest all of its images'", () => {
  const called = callImages([
    ["r:1", { id: a, others: [b] }],
    ["r@sha256:x", { id: a, others: [b] }],
  ]);
  expect(called.get(a)).toEqual({ tags: ["r:1"], digests: ["r@sha256:x"] });
  expect(called.get(b)).toEqual({ tags: [], digests: ["r@sha256:x"] });
});

describe("boundName()", () => {
  test("keeps images and attachments of the same index", () => {
    const before = { id: a, target, others: [b], attachments: [c] };
    expect(boundName({ id: b, target }, before)).toEqual({
      id: b,
      target,
      others: [a],
      attachments: [c],
    });
  });

  test("forgets those of another, and of none", () => {
    const before = { id: a, target, others: [b], attachments: [c] };
    const other = { ...target, digest: digestOf("other") };
    expect(boundName({ id: b, target: other }, before)).toEqual({ id: b, target: other });
    expect(boundName({ id: b }, before)).toEqual({ id: b });
  });

  test("keeps for the same image alone that the registry calls it so", () => {
    const before = { id: a, isPublished: true };
    expect(boundName({ id: a }, before)).toEqual({ id: a, isPublished: true });
    expect(boundName({ id: b }, before)).toEqual({ id: b });
    expect(boundName({ id: b, isPublished: true }, undefined)).toEqual({
      id: b,
      isPublished: true,
    });
  });

  test("names each image once", () => {
    expect(boundName({ id: a, others: [b, a, b] }, undefined)).toEqual({ id: a, others: [b] });
  });
});

test("shrunkName() goes on with the next image, or with none", () => {
  expect(shrunkName({ id: a, target, others: [b, c] }, a)).toEqual({ id: b, target, others: [c] });
  expect(shrunkName({ id: a, others: [b] }, b)).toEqual({ id: a, others: [] });
  expect(shrunkName({ id: a }, a)).toBeUndefined();
  expect(isBoundTo({ id: a, others: [b] }, b)).toBe(true);
  expect(isBoundTo({ id: a, others: [b] }, c)).toBe(false);
});
