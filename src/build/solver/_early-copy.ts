/** A COPY that is done before its key is known, where the key is a new one most likely. */
import { createId } from "../../lib/id.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Snapshotter } from "../../snapshot/snapshotter.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { chainIdOf, type Step, type StepResult, stepSnapshotPrefix } from "../step.ts";
import { hashCacheOf, listedFilesMax } from "./_step-contents.ts";
import { copyStep } from "./copy-step.ts";

/** A snapshot that holds what a step makes. Closing it drops it, unless somebody has taken it. */
export interface EarlyCopy extends AsyncDisposable {
  /** As `readContents` of the step. */
  readonly contents: readonly string[];
  /** A line for each file of its source, where they are few enough. */
  readonly files: string | undefined;
  /** Makes the snapshot the caller's; undefined when it is gone. */
  take(): string | undefined;
}

/** What an early copy needs to know. */
export interface EarlyCopyRequest {
  readonly step: Step;
  readonly below: StepResult;
  readonly results: ReadonlyMap<Step, StepResult>;
  readonly epochS?: number;
  readonly signal: AbortSignal;
}

/** Makes the snapshot that a step is to fill. @returns its key */
export async function prepareStep(
  snapshots: Snapshotter,
  parent: Digest | undefined,
): Promise<string> {
  const key = `${stepSnapshotPrefix}${createId()}`;
  await snapshots.prepare(key, { ...(parent === undefined ? {} : { parent }), forLayer: true });
  return key;
}

/**
 * Copies files of a client's folder that are others than at the last build, and sums them on the way:
 * they are looked at once. Undefined where that is not worth trying, or has failed: then the step
 * is to be done as any other, which tells what is wrong.
 */
export async function copyEarly(
  options: Pick<BuildServiceOptions, "copier" | "logger" | "snapshots">,
  request: EarlyCopyRequest,
): Promise<EarlyCopy | undefined> {
  const { step, below, results, epochS, signal } = request;
  const { action } = step;
  const source = action.kind === "copy" ? action.copy.sources[0] : undefined;
  if (action.kind !== "copy" || source?.kind !== "files") return undefined;
  const from = results.get(source.from);
  const isAlone = action.copy.sources.length === 1 && source.unpack === "never";
  if (!isAlone || !source.paths.some((path) => hasChanged(from, path))) return undefined;
  const { snapshots } = options;
  const snapshotKey = await prepareStep(snapshots, chainIdOf(below));
  let isThere = true;
  const drop = async (): Promise<void> => {
    if (!isThere) return;
    isThere = false;
    await snapshots.remove(snapshotKey);
  };
  try {
    const [checksum] = await copyStep(options, {
      copy: action.copy,
      results,
      snapshotKey,
      sum: {
        ignoresOwners: action.copy.chown !== undefined || source.resetsOwners,
        ...hashCacheOf(from),
        listedFilesMax,
      },
      ...(epochS === undefined ? {} : { epochS }),
      signal,
    });
    return {
      contents: [checksum?.digest ?? ""],
      files: checksum?.files,
      take() {
        if (!isThere) return undefined;
        isThere = false;
        return snapshotKey;
      },
      [Symbol.asyncDispose]: drop,
    };
  } catch (error) {
    options.logger.debug("a copy could not be done early", { step: step.name, error });
    await drop();
    return undefined;
  }
}

/** Whether a path, which may be a pattern, most likely names a file that has changed. */
function hasChanged(result: StepResult | undefined, path: string): boolean {
  const bytes = Buffer.from(path).toString("latin1");
  const parts = bytes.split("/").filter((part) => part !== "" && part !== ".");
  return result?.hasChanged?.(parts.join("/")) === true;
}
