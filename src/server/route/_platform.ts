import { type Query, textValue, textValues } from "../../api/request/query.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Platform, parsePlatform } from "../../oci/platform.ts";

/**
 * The query's `platform`: `os/architecture/variant`, or JSON where that is published.
 *
 * @returns undefined when it is not given
 */
export function platformValue(query: Query): Platform | undefined {
  const text = textValue(query, "platform");
  return text === "" ? undefined : readPlatform(text);
}

/** The query's `platforms`, each JSON. @throws invalid-argument */
export function platformsValue(query: Query): readonly Platform[] {
  return textValues(query, "platforms").map((text) => {
    parsePlatformJson(text);
    return readPlatform(text);
  });
}

function readPlatform(text: string): Platform {
  if (!text.startsWith("{")) return parsePlatform(text);
  const { os, architecture, variant } = parsePlatformJson(text);
  const isWhole = [os, architecture].every((part) => typeof part === "string" && part !== "");
  if (!isWhole) {
    throw new EngineError("invalid-argument", "both OS and Architecture must be provided");
  }
  return parsePlatform(
    [os, architecture, variant].filter((part) => typeof part === "string" && part !== "").join("/"),
  );
}

/** The fields of a platform as JSON. @throws invalid-argument */
export function parsePlatformJson(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return { ...value };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new EngineError("invalid-argument", `failed to parse platform: ${text} is no JSON object`);
}
