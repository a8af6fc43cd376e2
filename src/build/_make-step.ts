import { digestOf } from "../oci/digest.ts";
import { defineAction } from "./step-key.ts";
import type { Step } from "./step.ts";

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
