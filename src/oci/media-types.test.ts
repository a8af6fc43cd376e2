import { expect, test } from "bun:test";
import {
  dockerMediaTypes,
  isImageConfigType,
  isIndexType,
  isLayerType,
  isManifestType,
  layerCompression,
  manifestAccept,
  ociMediaTypes,
} from "./media-types.ts";

test.each([
  [ociMediaTypes.layer, "none"],
  [ociMediaTypes.layerGzip, "gzip"],
  [ociMediaTypes.layerZstd, "zstd"],
  [dockerMediaTypes.layer, "none"],
  [dockerMediaTypes.layerGzip, "gzip"],
  [dockerMediaTypes.layerZstd, "zstd"],
  [dockerMediaTypes.foreignLayer, "gzip"],
  ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"],
] as const)("layerCompression(%p) is %p", (mediaType, compression) => {
  expect(layerCompression(mediaType)).toBe(compression);
  expect(isLayerType(mediaType)).toBe(true);
});

test.each([ociMediaTypes.config, "application/vnd.in-toto+json", `${ociMediaTypes.layer}+lz4`, ""])(
  "%p is no layer",
  (mediaType) => {
    expect(layerCompression(mediaType)).toBeUndefined();
  },
);

test("what is accepted is a manifest or an index", () => {
  expect(manifestAccept.every((type) => isManifestType(type) !== isIndexType(type))).toBe(true);
  expect(isImageConfigType(ociMediaTypes.config)).toBe(true);
  expect(isImageConfigType(ociMediaTypes.empty)).toBe(false);
});
