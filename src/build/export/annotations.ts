/** Annotations of an output, by the document that they belong into. */
import { EngineError } from "../../lib/errors.ts";
import { matchPlatform, type Platform } from "../../oci/platform.ts";
import type { BuildOutput, ImageAnnotation } from "../build-service.ts";

/** Annotations by key. */
export type Annotations = Readonly<Record<string, string>>;

/** Those that a build's output asks for. */
export function annotationsOf(output: BuildOutput): readonly ImageAnnotation[] {
  return "annotations" in output ? (output.annotations ?? []) : [];
}

/**
 * Those of one document, as a part of a record that has `annotations`: without any the key is absent,
 * for the document's digest depends on it. What is for one platform goes before what is for all.
 */
export function annotationsAt(
  all: readonly ImageAnnotation[],
  place: { readonly level: ImageAnnotation["level"]; readonly platform?: Platform },
): { readonly annotations?: Annotations } {
  const { level, platform } = place;
  const found = all.filter(
    (each) =>
      each.level === level &&
      (each.platform === undefined || (platform !== undefined && isSame(each.platform, platform))),
  );
  if (found.length === 0) return {};
  const general = found.filter((each) => each.platform === undefined);
  const special = found.filter((each) => each.platform !== undefined);
  const pairs = [...general, ...special].map(({ key, value }) => [key, value] as const);
  return { annotations: Object.fromEntries(pairs) };
}

/**
 * Checks that each annotation has a document to be in.
 *
 * @throws invalid-argument where an annotation would be lost
 */
export function checkAnnotations(
  all: readonly ImageAnnotation[],
  result: {
    readonly platforms: readonly Platform[];
    /** The result is an index. */
    readonly hasIndex: boolean;
    /** The result is a layout, whose own index names what is in it. */
    readonly hasLayout: boolean;
  },
): void {
  const { platforms, hasIndex, hasLayout } = result;
  for (const { level, platform, key } of all) {
    if (platform !== undefined && !platforms.some((each) => isSame(platform, each))) {
      throw new EngineError(
        "invalid-argument",
        `annotation ${JSON.stringify(key)} is for a platform that is not built`,
      );
    }
    if (level === "manifest") continue;
    // BuildKit's sentence.
    if (level.startsWith("index") && !hasIndex) {
      throw new EngineError(
        "invalid-argument",
        "index annotations not supported for single platform export",
      );
    }
    if (hasLayout || (level !== "index-descriptor" && hasIndex)) continue;
    throw new EngineError(
      "invalid-argument",
      `${level} annotation ${JSON.stringify(key)} is not supported for the image store: ` +
        "nothing holds it; use type=oci",
    );
  }
}

function isSame(wanted: Platform, offered: Platform): boolean {
  return matchPlatform(wanted, offered) && matchPlatform(offered, wanted);
}
