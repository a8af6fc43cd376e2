import { type Digest, isDigest } from "../oci/digest.ts";
import {
  findReference,
  formatReference,
  parseReference,
  withDefaultTag,
} from "../oci/reference.ts";
import type { ImageUse } from "./image-policy.ts";
import type { ImageContext } from "./context.ts";

/** A use of an image that somebody has found. */
export interface FoundImageUse {
  readonly action: ImageUse["action"];
  /** As it was asked for: a name or an ID. */
  readonly reference: string;
  readonly id: Digest;
  /** Of one that is not recorded: it was removed, or never had a name here. */
  readonly manifestDigest?: Digest;
}

/**
 * Asks the policy before an image is made use of, by whatever name it was asked for.
 *
 * @throws permission-denied with the rule that refused
 */
export async function checkUse({ index, policy }: ImageContext, use: FoundImageUse): Promise<void> {
  if (policy === undefined) return;
  const manifestDigest = index.findById(use.id)?.manifestDigest ?? use.manifestDigest;
  const byDigest = index.digestsOf(use.id);
  const published = byDigest.flatMap((name) => parseReference(name).digest ?? []);
  const isById = isDigest(use.reference) || index.isById(use.reference);
  const found = isById ? undefined : findReference(use.reference);
  const reference = found === undefined ? undefined : withDefaultTag(found);
  const bound = reference === undefined ? undefined : index.findName(formatReference(reference));
  await policy.check({
    action: use.action,
    names: [...index.namesOf(use.id), ...byDigest],
    digests: [
      ...new Set(manifestDigest === undefined ? published : [...published, manifestDigest]),
    ],
    imageId: use.id,
    isTagPublished: bound?.id === use.id && bound.isPublished === true,
    ...(reference === undefined ? {} : { reference }),
  });
}
