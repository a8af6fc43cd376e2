/**
 * Content keys: when two steps have the same key, the result of one is that of the other.
 *
 * A key is the digest of what the step does, of the layers it stands on, and of the content of what
 * it reads. Times of files, values of secrets and names of stages are not in it.
 */
import { type Digest, digestOf } from "../oci/digest.ts";
import type { RunMountAction, StepAction } from "./step.ts";

/** Changes whenever results of old keys must not be used any more. */
const keyVersion = 1;

/** What a key is made of besides the action itself. */
export interface KeyInputs {
  /** The chain ID of the file system below; undefined for an empty one. */
  readonly below: Digest | undefined;
  /** Digests of what is read, in the order of the action's sources or mounts. */
  readonly contents: readonly string[];
  /** Seconds that all times of the result are clamped to. */
  readonly epochS?: number;
}

/** The content key of a step that makes a layer. */
export function stepKey(action: StepAction, inputs: KeyInputs): Digest {
  return digestOf(
    JSON.stringify({
      version: keyVersion,
      action: defineAction(action),
      below: inputs.below ?? null,
      contents: inputs.contents,
      epochS: inputs.epochS ?? null,
    }),
  );
}

/** What an action does, as plain data without the steps that it reads. */
export function defineAction(action: StepAction): unknown {
  switch (action.kind) {
    case "image":
      return { kind: "image", image: action.image.id };
    case "context":
      return { kind: "context", id: action.context.id };
    case "scratch":
    case "workdir":
      return action;
    case "run": {
      const { hiddenEnv: _, mounts, ...run } = action.run;
      return { kind: "run", ...run, mounts: mounts.map(defineMount) };
    }
    case "copy": {
      const { sources, ...copy } = action.copy;
      return {
        kind: "copy",
        ...copy,
        sources: sources.map((source) => {
          if (source.kind === "content") {
            return { kind: "content", name: source.name, content: digestOf(source.bytes) };
          }
          const { from: _, ...rest } = source;
          return rest;
        }),
      };
    }
  }
}

function defineMount(mount: RunMountAction): unknown {
  if (mount.kind !== "bind" && mount.kind !== "cache") return mount;
  const { from: _, ...rest } = mount;
  return rest;
}
