/** The document that a list becomes when it is pushed. */
import { dockerMediaTypes, ociMediaTypes } from "../../oci/media-types.ts";
import type { OciDescriptor } from "../../api/image.ts";
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
  const manifests = list.manifests.map(({ descriptor }) => inOrder(descriptor));
  return { mediaType, text: formatDocument({ schemaVersion: 2, mediaType, manifests }) };
}

/** With its fields as Docker writes them: the same list has the same digest by either client. */
function inOrder({ mediaType, size, digest, platform }: OciDescriptor): object {
  if (platform === undefined) return { mediaType, size, digest };
  const { architecture, os, "os.version": version, "os.features": features, variant } = platform;
  // What is undefined is left out.
  const ordered = { architecture, os, "os.version": version, "os.features": features, variant };
  return { mediaType, size, digest, platform: ordered };
}

/** JSON as Docker prints lists, with three spaces; a manifest has tabs. */
export function formatDocument(document: unknown, indent: "   " | "\t" = "   "): string {
  return JSON.stringify(document, undefined, indent);
}
