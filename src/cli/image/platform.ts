/** `--platform` as the API takes it. */
import { EngineError } from "../../lib/errors.ts";
import { type Platform, parsePlatform as readPlatform } from "../../oci/platform.ts";

/** The query for a platform; empty when none was given. @throws invalid-argument */
export function platformQuery(text: string): { readonly platform?: string } {
  return text === "" ? {} : { platform: JSON.stringify(parsePlatform(text)) };
}

/** Reads `os[/arch[/variant]]`, or one of the two. @throws invalid-argument in Docker's words */
export function parsePlatform(text: string): Platform {
  try {
    return readPlatform(text);
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError("invalid-argument", `invalid platform: ${error.message}`, {
      cause: error,
    });
  }
}
