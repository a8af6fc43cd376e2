import { expect, test } from "bun:test";
import { attestationAnnotations, attestedImage } from "./attestation.ts";
import { digestOf } from "./digest.ts";

const image = digestOf("image");
const descriptor = { mediaType: "application/json", digest: digestOf("x"), size: 1 };

test.each([
  ["an attestation", attestationAnnotations(image), image],
  ["one that names no image", { "vnd.docker.reference.type": "attestation-manifest" }, ""],
  [
    "another reference to an image",
    { ...attestationAnnotations(image), "vnd.docker.reference.type": "x" },
    undefined,
  ],
  ["other annotations", { a: "b" }, undefined],
])("attestedImage() of %s", (_what, annotations, wanted) => {
  expect(attestedImage({ ...descriptor, annotations })).toBe(wanted);
});

test("attestedImage() of what has no annotations", () => {
  expect(attestedImage(descriptor)).toBeUndefined();
});
