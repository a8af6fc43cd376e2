/** What an image consists of: its manifests for each platform, and what is attested of them. */
import type { ImageManifestSummary } from "../../api/image.ts";
import { attestedImage } from "../../oci/attestation.ts";
import { imagePlatform } from "../../oci/image-config.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { decodeIndex, manifestSizeMaxBytes } from "../../oci/manifest.ts";
import { isIndexType } from "../../oci/media-types.ts";
import { type ImageRecord, type NameRecord, sizeOf } from "../image-records.ts";
import type { ImageContext } from "../context.ts";

/** Manifests of an image and of its further platforms, then the attestations of its index. */
export async function describeManifests(
  context: ImageContext,
  record: ImageRecord,
): Promise<readonly ImageManifestSummary[]> {
  const { index } = context;
  const bound = index
    .namesOf(record.id)
    .map((name) => index.findBound(index.show(name)))
    .find((each) => each?.target !== undefined && isIndexType(each.target.mediaType));
  const others = (bound?.others ?? []).flatMap((id) => index.findById(id) ?? []);
  return [
    ...[record, ...others].map((each) => describeImage(context, each)),
    ...(await attestationsOf(context, bound)),
  ];
}

function describeImage({ index, users }: ImageContext, record: ImageRecord): ImageManifestSummary {
  const { manifestDigest, manifestMediaType, manifestSizeBytes, configSizeBytes } = record;
  const platform = imagePlatform(index.config(record));
  const unpackedBytes = sizeOf(record);
  // Layers made here have no blobs of their own.
  const layers = record.layers.filter(({ fromSnapshot }) => fromSnapshot === undefined);
  const contentBytes = layers.reduce(
    (sum, { sizeBytes }) => sum + sizeBytes,
    manifestSizeBytes + configSizeBytes,
  );
  return {
    ID: manifestDigest,
    Descriptor: {
      mediaType: manifestMediaType,
      digest: manifestDigest,
      size: manifestSizeBytes,
      platform,
    },
    Available: true,
    Size: { Content: contentBytes, Total: contentBytes + unpackedBytes },
    Kind: "image",
    ImageData: {
      Platform: platform,
      Containers: users()
        .containersOf(record.id)
        .map(({ id }) => id),
      Size: { Unpacked: unpackedBytes },
    },
  };
}

async function attestationsOf(
  { content }: ImageContext,
  bound: NameRecord | undefined,
): Promise<readonly ImageManifestSummary[]> {
  const target = bound?.target;
  if (target === undefined || content.find(target.digest) === undefined) return [];
  const bytes = await content.read(target.digest, { sizeMaxBytes: manifestSizeMaxBytes });
  return decodeIndex(bytes)
    .manifests.filter((descriptor) => attestedImage(descriptor) !== undefined)
    .map((descriptor) => describeAttestation(descriptor, content.find(descriptor.digest)));
}

function describeAttestation(
  descriptor: Descriptor,
  found: object | undefined,
): ImageManifestSummary {
  const { mediaType, digest, size, annotations, platform } = descriptor;
  const isHere = found !== undefined;
  return {
    ID: digest,
    Descriptor: {
      mediaType,
      digest,
      size,
      ...(annotations === undefined ? {} : { annotations }),
      ...(platform === undefined ? {} : { platform }),
    },
    Available: isHere,
    Size: { Content: isHere ? size : 0, Total: isHere ? size : 0 },
    Kind: "attestation",
    AttestationData: { For: attestedImage(descriptor) ?? "" },
  };
}
