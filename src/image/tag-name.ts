import { EngineError } from "../lib/errors.ts";
import { formatReference, type Reference, withDefaultTag } from "../oci/reference.ts";

/**
 * The whole name that an image may be given here.
 *
 * @throws invalid-argument for one with a digest: only a registry can say which image that is, and
 * policies go by it
 */
export function tagName(name: Reference): string {
  if (name.digest === undefined) return formatReference(withDefaultTag(name));
  throw new EngineError("invalid-argument", "refusing to create a tag with a digest reference");
}
