/** `--platform` as the API takes it. */
import { EngineError } from "../../lib/errors.ts";

/** The query for a platform; empty when none was given. @throws invalid-argument */
export function platformQuery(text: string): { readonly platform?: string } {
  return text === "" ? {} : { platform: JSON.stringify(parsePlatform(text)) };
}

/** Reads `os[/arch[/variant]]`. @throws invalid-argument in Docker's words */
export function parsePlatform(text: string): Readonly<Record<string, string>> {
  const parts = text.split("/");
  const isGood = parts.length <= 3 && parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part));
  if (!isGood) {
    throw new EngineError(
      "invalid-argument",
      `invalid platform: ${JSON.stringify(text)} is an invalid OS, architecture or variant`,
    );
  }
  const [os = "", architecture = "", variant] = parts;
  return { architecture, os, ...(variant === undefined ? {} : { variant }) };
}
