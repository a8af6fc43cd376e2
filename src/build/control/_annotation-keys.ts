/** Annotations among an exporter's attributes. @see BuildKit, exporter/containerimage/exptypes */
import { EngineError } from "../../lib/errors.ts";
import { parsePlatform } from "../../oci/platform.ts";
import type { ImageAnnotation } from "../build-service.ts";

/** `annotation.k`, `annotation-index.k`, `annotation-manifest[linux/arm64].k`. */
const annotationKey = /^annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/;
const levels = ["manifest", "manifest-descriptor", "index", "index-descriptor"] as const;

/** Tells whether an attribute is an annotation. */
export function isAnnotationKey(name: string): boolean {
  return /^annotation[-.[]/.test(name);
}

/**
 * Reads all annotations of an exporter.
 *
 * @throws invalid-argument for a level that is not known, a platform that is none
 */
export function readAnnotations(attrs: ReadonlyMap<string, string>): readonly ImageAnnotation[] {
  return [...attrs].flatMap(([name, value]) => {
    if (!isAnnotationKey(name)) return [];
    const [, type = "manifest", platform, key] = annotationKey.exec(name) ?? [];
    if (key === undefined) {
      throw new EngineError("invalid-argument", `could not fully parse annotation ${name}`);
    }
    const level = levels.find((each) => each === type);
    if (level === undefined) {
      throw new EngineError("invalid-argument", `unrecognized annotation type ${type}`);
    }
    if (platform === undefined) return [{ level, key, value }];
    if (level.startsWith("index")) {
      throw new EngineError("invalid-argument", `an index is of no platform: ${name}`);
    }
    return [{ level, platform: parsePlatform(platform), key, value }];
  });
}
