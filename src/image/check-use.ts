import { type Digest, isDigest } from "../oci/digest.ts";
import {
  findReference,
  formatReference,
  parseReference,
  withDefaultTag,
} from "../oci/reference.ts";
import type { ImageUse } from "./image-policy.ts";
import type { ImageContext } from "./context.ts";

/**
 * Asks the policy before an image that is here is made use of, by whatever name it was asked for.
 *
 * @throws permission-denied with the rule that refused
 */
export async function checkUse(
  { index, policy }: ImageContext,
  use: { readonly action: ImageUse["action"]; readonly reference: string; readonly id: Digest },
): Promise<void> {
  if (policy === undefined) return;
  const record = index.getById(use.id);
  const byDigest = index.digestsOf(use.id);
  const published = byDigest.flatMap((name) => parseReference(name).digest ?? []);
  const isById = isDigest(use.reference) || index.isById(use.reference);
  const found = isById ? undefined : findReference(use.reference);
  const reference = found === undefined ? undefined : withDefaultTag(found);
  const bound = reference === undefined ? undefined : index.findName(formatReference(reference));
  await policy.check({
    action: use.action,
    names: [...index.namesOf(use.id), ...byDigest],
    digests: [...new Set([...published, record.manifestDigest])],
    imageId: use.id,
    isTagPublished: bound?.id === use.id && bound.isPublished === true,
    ...(reference === undefined ? {} : { reference }),
  });
}
