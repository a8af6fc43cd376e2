/** The document that a list becomes when it is pushed. */
import { dockerMediaTypes, ociMediaTypes } from "../../oci/media-types.ts";
import type { ManifestList } from "./local-lists.ts";

/** Docker's manifest list when all its manifests are Docker's, else OCI's index. */
export function indexDocument(list: ManifestList): {
  readonly mediaType: string;
  readonly text: string;
} {
  const isDocker = list.manifests.every(
    ({ descriptor }) => descriptor.mediaType === dockerMediaTypes.manifest,
  );
  const mediaType = isDocker ? dockerMediaTypes.manifestList : ociMediaTypes.index;
  const manifests = list.manifests.map(({ descriptor }) => descriptor);
  return { mediaType, text: formatDocument({ schemaVersion: 2, mediaType, manifests }) };
}

/** JSON as Docker prints manifests: three spaces. */
export function formatDocument(document: unknown): string {
  return JSON.stringify(document, undefined, 3);
}
