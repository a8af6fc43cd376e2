import { expect, test } from "bun:test";
import { digestOf } from "./digest.ts";
import {
  decodeLayout,
  encodeLayout,
  findLayoutBlob,
  layoutBlobPath,
  layoutName,
} from "./layout.ts";

test("decodeLayout() reads what encodeLayout() writes", () => {
  expect(decodeLayout(encodeLayout())).toEqual({ imageLayoutVersion: "1.0.0" });
});

test.each([
  ["{}", "imageLayoutVersion: missing"],
  ['{"imageLayoutVersion":"2.0.0"}', "1.0.0 is wanted"],
  ['{"imageLayoutVersion":1}', "a string is wanted"],
  ["", "decode oci-layout"],
])("decodeLayout() refuses %p", (text, sentence) => {
  expect(() => decodeLayout(Buffer.from(text))).toThrow(sentence);
});

test("a blob's path gives its digest back", () => {
  const digest = digestOf("x");
  expect(findLayoutBlob(layoutBlobPath(digest))).toBe(digest);
  expect(findLayoutBlob(`./${layoutBlobPath(digest)}`)).toBe(digest);
});

test.each(["index.json", "blobs/sha256/abc", "blobs/sha256/../../x", "blobs/md5/00", "/blobs"])(
  "findLayoutBlob(%p) finds none",
  (path) => {
    expect(findLayoutBlob(path)).toBeUndefined();
  },
);

test("layoutName() prefers the whole name", () => {
  const descriptor = { mediaType: "a/b", digest: digestOf("x"), size: 1 };
  const short = { "org.opencontainers.image.ref.name": "1" };
  const whole = { ...short, "io.containerd.image.name": "docker.io/library/a:1" };
  expect(layoutName({ ...descriptor, annotations: whole })).toBe("docker.io/library/a:1");
  expect(layoutName({ ...descriptor, annotations: short })).toBe("1");
  expect(layoutName(descriptor)).toBeUndefined();
});
