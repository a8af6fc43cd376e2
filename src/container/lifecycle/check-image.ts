import { isDigest } from "../../oci/digest.ts";
import type { Context } from "../context.ts";
import type { LiveContainer } from "../record/live-container.ts";

/**
 * Asks the policy about the image of a container that was made earlier: the policy may have changed.
 *
 * @throws permission-denied with the rule that refused
 */
export async function checkImage(context: Context, { record }: LiveContainer): Promise<void> {
  const { id, manifestDigest } = record.image;
  if (!isDigest(id)) return;
  await context.images.checkUse({
    action: "run",
    reference: record.config.Image ?? id,
    id,
    ...(manifestDigest === undefined || !isDigest(manifestDigest) ? {} : { manifestDigest }),
  });
}
