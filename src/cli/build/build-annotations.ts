/** `--annotation`: words about an image, in its manifest or index. */
import { EngineError } from "../../lib/errors.ts";

const types: ReadonlySet<string> = new Set([
  "manifest",
  "manifest-descriptor",
  "index",
  "index-descriptor",
]);

/**
 * Reads `[type[platform],…:]key=value` as attributes of exporters, by name.
 *
 * @throws invalid-argument in buildx's words
 */
export function readAnnotations(values: readonly string[]): ReadonlyMap<string, string> {
  const attrs = new Map<string, string>();
  for (const text of values) {
    const equals = text.indexOf("=");
    if (equals <= 0) throw invalid(`invalid annotation ${quote(text)}, expected key=value`);
    const [name, value] = [text.slice(0, equals), text.slice(equals + 1)];
    const colon = name.indexOf(":");
    if (colon < 0) attrs.set(`annotation.${name}`, value);
    else {
      const key = name.slice(colon + 1);
      if (key === "") throw invalid(`invalid annotation ${quote(text)}, expected key=value`);
      for (const place of name.slice(0, colon).split(",")) {
        attrs.set(`annotation-${readPlace(place)}.${key}`, value);
      }
    }
  }
  return attrs;
}

/** `manifest`, `manifest[linux/arm64]`. */
function readPlace(text: string): string {
  const [, type = "", platform] = /^([^[\]]*)(?:\[([A-Za-z0-9_/-]+)\])?$/.exec(text) ?? [];
  if (types.has(type)) return platform === undefined ? type : `${type}[${platform}]`;
  throw invalid(`unknown annotation type ${quote(type === "" ? text : type)}`);
}

function invalid(sentence: string): EngineError {
  return new EngineError("invalid-argument", `parse annotations: ${sentence}`);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
