/**
 * Attestations beside an image: a manifest whose layers are statements, which the index names with the
 * image that it is about.
 *
 * @see BuildKit, docs/attestations/attestation-storage.md
 */
import type { Descriptor } from "../../oci/descriptor.ts";
import { attestationAnnotations } from "../../oci/attestation.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import { encodeManifest } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";

/** Media type of a statement. */
const statementType = "application/vnd.in-toto+json";
const predicateKey = "in-toto.io/predicate-type";

/** A statement, and what kind it is. */
export interface Attestation {
  readonly predicateType: string;
  readonly statement: Uint8Array;
}

/** A blob that must be stored with the manifest. */
export interface AttestationBlob {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** Makes the manifest. @returns its descriptor for the index, and all blobs, itself included */
export function makeAttestationManifest(
  image: Digest,
  attestations: readonly Attestation[],
): { readonly descriptor: Descriptor; readonly blobs: readonly AttestationBlob[] } {
  const layers = attestations.map(({ predicateType, statement }) =>
    blobOf(statement, statementType, { [predicateKey]: predicateType }),
  );
  const config = blobOf(
    Buffer.from(
      JSON.stringify({
        architecture: "unknown",
        os: "unknown",
        config: {},
        rootfs: { type: "layers", diff_ids: layers.map(({ descriptor }) => descriptor.digest) },
      }),
    ),
    ociMediaTypes.config,
  );
  const manifest = blobOf(
    encodeManifest({
      schemaVersion: 2,
      mediaType: ociMediaTypes.manifest,
      config: config.descriptor,
      layers: layers.map(({ descriptor }) => descriptor),
    }),
    ociMediaTypes.manifest,
  );
  const descriptor: Descriptor = {
    ...manifest.descriptor,
    platform: { os: "unknown", architecture: "unknown" },
    annotations: attestationAnnotations(image),
  };
  return { descriptor, blobs: [...layers, config, manifest] };
}

function blobOf(
  bytes: Uint8Array,
  mediaType: string,
  annotations?: Readonly<Record<string, string>>,
): AttestationBlob {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  return {
    descriptor: annotations === undefined ? descriptor : { ...descriptor, annotations },
    bytes,
  };
}
