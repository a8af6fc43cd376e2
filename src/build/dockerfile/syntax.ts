/** The frontend that a Dockerfile names in its `syntax` line. */
import { EngineError } from "../../lib/errors.ts";
import { findReference } from "../../oci/reference.ts";

/**
 * Lets Docker's own frontends pass, from whatever registry: what they read is read here.
 *
 * @throws not-implemented for another one, whose files are no Dockerfiles
 */
export function checkSyntax(frontend: string | undefined): void {
  // Docker: words after the image are the frontend's own.
  const image = frontend?.trim().split(/\s/)[0] ?? "";
  if (image === "") return;
  const path = findReference(image)?.path ?? "";
  if (/(?:^|\/)docker\/dockerfile(?:-upstream)?$/.test(path)) return;
  throw new EngineError(
    "not-implemented",
    `frontend ${JSON.stringify(image)} is not served: only docker/dockerfile is`,
  );
}
