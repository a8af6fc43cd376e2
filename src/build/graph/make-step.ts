import type { ImageLayers } from "../../image/image-service.ts";
import { digestOf } from "../../oci/digest.ts";
import { defineAction } from "../step-key.ts";
import type { Platform } from "../../oci/platform.ts";
import type { Step } from "../step.ts";

/** Makes a step; its digest comes from what it does and from the steps that it stands on. */
export function makeStep(options: Omit<Step, "digest">): Step {
  const { action, below, reads } = options;
  const definition = {
    // The same step under two names is two lines of progress.
    name: options.name,
    platform: options.platform,
    action: defineAction(action),
    below: below?.digest ?? null,
    reads: reads.map(({ digest }) => digest),
  };
  return { ...options, digest: digestOf(JSON.stringify(definition)) };
}

/** The step that stands for an image. */
export function imageStep(
  found: { readonly image: ImageLayers; readonly shownName: string },
  options: { readonly name: string; readonly platform: Platform },
): Step {
  return makeStep({
    action: { kind: "image", reference: found.shownName, image: found.image },
    name: options.name,
    description: `pulled from ${found.shownName}`,
    reads: [],
    isCacheIgnored: false,
    platform: options.platform,
  });
}
