import { describe, expect, test } from "bun:test";
import { parsePlatform } from "../../oci/platform.ts";
import { annotationsAt, checkAnnotations } from "../export/annotations.ts";
import { isAnnotationKey, readAnnotations } from "./_annotation-keys.ts";

const [amd64, arm64] = [parsePlatform("linux/amd64"), parsePlatform("linux/arm64")];
const read = (attrs: Readonly<Record<string, string>>) =>
  readAnnotations(new Map(Object.entries(attrs)));

describe("annotations of an exporter", () => {
  test("are read with level, platform and key", () => {
    expect(
      read({
        "annotation.a.b/c": "1",
        "annotation-manifest[linux/arm64].k": "2",
        "annotation-manifest-descriptor.k": "3",
        "annotation-index.k": "4",
        "annotation-index-descriptor.k": "5",
        name: "x",
      }),
    ).toEqual([
      { level: "manifest", key: "a.b/c", value: "1" },
      { level: "manifest", platform: arm64, key: "k", value: "2" },
      { level: "manifest-descriptor", key: "k", value: "3" },
      { level: "index", key: "k", value: "4" },
      { level: "index-descriptor", key: "k", value: "5" },
    ]);
  });

  test.each([
    "annotation.",
    "annotation-nonsense.k",
    "annotation[linux/arm64]k",
    "annotation-index[linux/arm64].k",
    "annotation[linux/a/b/c].k",
  ])("%s is refused", (key) => {
    expect(isAnnotationKey(key)).toBe(true);
    expect(() => read({ [key]: "v" })).toThrow();
  });
});

describe("annotations of a document", () => {
  const all = read({
    "annotation[linux/arm64].k": "arm",
    "annotation.k": "all",
    "annotation.j": "1",
  });

  test("are those of its level, with its platform's before the general ones", () => {
    const at = (platform: typeof amd64) => annotationsAt(all, { level: "manifest", platform });
    expect(at(amd64)).toEqual({ annotations: { k: "all", j: "1" } });
    expect(at(arm64)).toEqual({ annotations: { k: "arm", j: "1" } });
    expect(annotationsAt(all, { level: "index" })).toEqual({});
  });

  const one = { platforms: [amd64], hasIndex: false };
  const two = { platforms: [amd64, arm64], hasIndex: true };
  test.each([
    ["annotation.k", { ...one, hasLayout: false }, true],
    ["annotation[linux/arm64].k", { ...one, hasLayout: true }, false],
    ["annotation-index.k", { ...one, hasLayout: true }, false],
    ["annotation-index.k", { ...two, hasLayout: false }, true],
    ["annotation-index-descriptor.k", { ...two, hasLayout: false }, false],
    ["annotation-index-descriptor.k", { ...two, hasLayout: true }, true],
    ["annotation-manifest-descriptor.k", { ...one, hasLayout: false }, false],
    ["annotation-manifest-descriptor.k", { ...one, hasLayout: true }, true],
    ["annotation-manifest-descriptor.k", { ...two, hasLayout: false }, true],
  ])("%s in %p has a place: %p", (key, result, isFine) => {
    const check = (): void => checkAnnotations(read({ [key]: "v" }), result);
    if (isFine) check();
    else expect(check).toThrow();
  });
});
