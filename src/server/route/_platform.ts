import { type Query, textValue } from "../../api/request/query.ts";
import { EngineError } from "../../lib/errors.ts";
import { type Platform, parsePlatform } from "../../oci/platform.ts";

/**
 * The query's `platform`: `os/architecture/variant`, or JSON where that is published.
 *
 * @returns undefined when it is not given
 */
export function platformValue(query: Query): Platform | undefined {
  const text = textValue(query, "platform");
  if (text === "") return undefined;
  if (!text.startsWith("{")) return parsePlatform(text);
  const { os, architecture, variant } = parsePlatformJson(text);
  return parsePlatform(
    [os, architecture, variant].filter((part) => typeof part === "string").join("/"),
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
