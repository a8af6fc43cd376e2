/**
 * How an index says that one of its manifests attests something of an image.
 *
 * @see BuildKit, docs/attestations/attestation-storage.md
 */
import type { Descriptor } from "./descriptor.ts";
import type { Digest } from "./digest.ts";

const typeKey = "vnd.docker.reference.type";
const digestKey = "vnd.docker.reference.digest";
const attestationType = "attestation-manifest";

/** The annotations of the descriptor of what attests something of an image. */
export function attestationAnnotations(image: Digest): Readonly<Record<string, string>> {
  return { [digestKey]: image, [typeKey]: attestationType };
}

/** What image a descriptor's manifest attests something of, "" when it does not say; undefined for others. */
export function attestedImage({ annotations = {} }: Descriptor): string | undefined {
  return annotations[typeKey] === attestationType ? (annotations[digestKey] ?? "") : undefined;
}
