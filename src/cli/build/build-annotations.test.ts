import { expect, test } from "bun:test";
import { readAnnotations } from "./build-annotations.ts";

test.each([
  [["k=v=w"], { "annotation.k": "v=w" }],
  [["manifest:k=v"], { "annotation-manifest.k": "v" }],
  [["index,manifest:a.b/c="], { "annotation-index.a.b/c": "", "annotation-manifest.a.b/c": "" }],
  [
    ["manifest-descriptor[linux/arm64]:k=v"],
    { "annotation-manifest-descriptor[linux/arm64].k": "v" },
  ],
  [[], {}],
])("%p are read", (values, attrs) => {
  expect(Object.fromEntries(readAnnotations(values))).toEqual(attrs as never);
});

test.each(["k", "=v", "manifest:=v", "nope:k=v", "manifest[:k=v", ":k=v", "manifest[a b]:k=v"])(
  "%p is refused",
  (value) => {
    expect(() => readAnnotations([value])).toThrow("parse annotations");
  },
);
