import { expect, test } from "bun:test";
import { digestOf } from "./digest.ts";
import {
  decodePayload,
  encodePayload,
  payloadSizeMaxBytes,
  signatureLayers,
  signatureTag,
} from "./simple-signing.ts";

const manifestDigest = digestOf("manifest");

test("a document names an image, and is read again", () => {
  const bytes = encodePayload({ reference: "localhost:5000/web", manifestDigest });
  expect(decodePayload(bytes)).toEqual({ reference: "localhost:5000/web", manifestDigest });
  expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({
    critical: {
      identity: { "docker-reference": "localhost:5000/web" },
      image: { "docker-manifest-digest": manifestDigest },
      type: "cosign container image signature",
    },
    optional: null,
  });
});

for (const [name, text] of [
  ["no JSON", "{"],
  ["no object", "[]"],
  ["nothing in it", "{}"],
  [
    "another type",
    JSON.stringify({
      critical: {
        identity: { "docker-reference": "a" },
        image: { "docker-manifest-digest": manifestDigest },
        type: "x",
      },
    }),
  ],
  [
    "no digest",
    JSON.stringify({
      critical: {
        identity: { "docker-reference": "a" },
        image: { "docker-manifest-digest": "sha256:x" },
        type: "cosign container image signature",
      },
    }),
  ],
  ["too long", `{"a":"${"x".repeat(payloadSizeMaxBytes)}"}`],
] as const) {
  test(`refused: ${name}`, () => {
    expect(() => decodePayload(Buffer.from(text))).toThrow();
  });
}

test("signatures are layers with the annotation, under a tag of the digest", () => {
  expect(signatureTag(manifestDigest)).toBe(`sha256-${manifestDigest.slice(7)}.sig`);
  const descriptor = {
    mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
    digest: manifestDigest,
    size: 1,
    annotations: { "dev.cosignproject.cosign/signature": "s" },
  };
  const other = { ...descriptor, mediaType: "application/json" };
  const bare = { mediaType: descriptor.mediaType, digest: manifestDigest, size: 1 };
  expect(signatureLayers([descriptor, other, bare])).toEqual([{ descriptor, signature: "s" }]);
});
