/** From a stage's image and the layers it got to the image's config. */
import { formatTime } from "../../lib/time.ts";
import { encodeImageConfig, type ImageConfig, type ImageHistory } from "../../oci/image-config.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import type { StageImage } from "./stage-image.ts";
import type { BuiltLayer } from "../step.ts";

const secondNs = 1_000_000_000n;

/**
 * Makes the config of an image.
 *
 * Entries of the history that made a layer get its time; those that did not, that of the layer before
 * them, or of the first one. An image without any time has none: the same again is the same image.
 *
 * @param options.epochS clamps all times, and is the time of the image
 * @see BuildKit 0.29, exporter/containerimage, normalizeLayersAndHistory
 */
export function makeImageConfig(
  draft: StageImage,
  options: {
    readonly layers: readonly BuiltLayer[];
    readonly epochS?: number;
  },
): ImageConfig {
  const { layers, epochS } = options;
  const history = settleHistory(draft, layers);
  const epoch = epochS === undefined ? undefined : formatTime(BigInt(epochS) * secondNs);
  const clamped = epoch === undefined ? history : history.map((entry) => clamp(entry, epoch));
  const created = epoch ?? clamped.at(-1)?.created;
  const { platform, author } = draft;
  return {
    architecture: platform.architecture,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    os: platform.os,
    ...(author === undefined ? {} : { author }),
    config: draft.config,
    ...(created === undefined ? {} : { created }),
    history: clamped,
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  };
}

/** The ID that an image of a config has. */
export function imageIdOf(config: ImageConfig): Digest {
  return digestOf(encodeImageConfig(config));
}

function settleHistory(draft: StageImage, layers: readonly BuiltLayer[]): readonly ImageHistory[] {
  let next = 0;
  const timed = draft.history.map(({ entry, isInherited }) => {
    const layer = entry.empty_layer === true ? undefined : layers[next++];
    if (isInherited || layer === undefined || !("createdNs" in layer)) return entry;
    return { ...withoutTime(entry), created: formatTime(BigInt(layer.createdNs)) };
  });
  // The first new layer's time stands for all that has none before it.
  let time = firstTime(timed);
  let hasGap = false;
  return timed.map((entry) => {
    if (entry.created !== undefined) {
      if (hasGap) time = entry.created;
      return entry;
    }
    hasGap = true;
    return time === undefined ? entry : { created: time, ...entry };
  });
}

/** The last time before the first entry without one, or the first after it. */
function firstTime(history: readonly ImageHistory[]): string | undefined {
  let time: string | undefined;
  let hasGap = false;
  for (const { created } of history) {
    if (created === undefined) hasGap = true;
    else {
      time = created;
      if (hasGap) break;
    }
  }
  return time;
}

function withoutTime(entry: ImageHistory): ImageHistory {
  const { created: _, ...rest } = entry;
  return rest;
}

function clamp(entry: ImageHistory, epoch: string): ImageHistory {
  const isLater = entry.created === undefined || Date.parse(entry.created) > Date.parse(epoch);
  return isLater ? { ...entry, created: epoch } : entry;
}
