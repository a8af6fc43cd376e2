import { EngineError } from "../lib/errors.ts";
import { familiarName, formatReference, type Reference, withDefaultTag } from "../oci/reference.ts";

/**
 * The whole name that an image may be given here.
 *
 * @throws invalid-argument for one with a digest: only a registry can say which image that is, and
 * policies go by it; nor for `sha256`, whose tags would read as image IDs
 */
export function tagName(name: Reference): string {
  if (name.digest !== undefined) {
    throw new EngineError("invalid-argument", "refusing to create a tag with a digest reference");
  }
  if (familiarName(name) === "sha256") {
    throw new EngineError(
      "invalid-argument",
      "refusing to create an ambiguous tag using digest algorithm as name",
    );
  }
  return formatReference(withDefaultTag(name));
}
