/**
 * Steps: the nodes of a build's graph.
 *
 * A step makes a file system out of the one below it and of what it reads beside it. What a step
 * does is plain data with every variable expanded, so that equal steps are equal values. Running it
 * (`solver/`) makes at most one layer.
 *
 * ```
 *   image ──▶ run ──▶ copy ──▶ workdir        below: the arrow's tail
 *                      ▲
 *   context ───────────┘                      reads
 * ```
 */
import type { LayerRecord } from "../image/image-records.ts";
import type { ImageLayers, NewLayer } from "../image/image-service.ts";
import type { Digest } from "../oci/digest.ts";
import type { Platform } from "../oci/platform.ts";
import type { VertexProgress } from "./progress/progress.ts";
import type { Location } from "./dockerfile/instruction.ts";

/** Begins the keys of snapshots that are being filled for a step. */
export const stepSnapshotPrefix = "build-";

/** One step. Compared by identity; `digest` is equal for equal steps of one build. */
export interface Step {
  /** Names the vertex in progress. */
  readonly digest: Digest;
  /** As progress shows it: `[build 2/5] RUN make`. */
  readonly name: string;
  readonly action: StepAction;
  /** The file system that it changes; absent for one that begins with nothing. */
  readonly below?: Step;
  /** What it reads beside that. */
  readonly reads: readonly Step[];
  /** Runs even when the cache has its result. */
  readonly isCacheIgnored: boolean;
  readonly location?: Location;
  readonly platform: Platform;
  /** What the cache's listing shows. */
  readonly description: string;
  /** Where it stands in the Dockerfile: stage and number; absent for what no instruction says. */
  readonly place?: string;
  /** What was most likely meant, told when it finds no files. */
  readonly hint?: string;
}

/** What a step does. */
export type StepAction =
  /** An empty file system. */
  | { readonly kind: "scratch" }
  | {
      readonly kind: "image";
      readonly reference: string;
      readonly image: ImageLayers;
    }
  | { readonly kind: "context"; readonly context: ContextInput }
  | { readonly kind: "run"; readonly run: RunAction }
  | { readonly kind: "copy"; readonly copy: CopyAction }
  | { readonly kind: "workdir"; readonly path: string; readonly user: string };

/** A folder that has been opened. */
export interface OpenedContext {
  readonly path: string;
  readonly hashCachePath?: string;
  /** See `ContextFolder`. */
  readonly hasChanged?: (path: string) => boolean;
}

/** A folder that the client or the network gives. Opened once a build, however many read it. */
export interface ContextInput {
  /** Names it in keys of this build. */
  readonly id: string;
  /** The folder; fetched when first asked for. */
  open(options: {
    readonly signal: AbortSignal;
    readonly vertex: VertexProgress;
  }): Promise<OpenedContext>;
}

/** COPY or ADD. */
export interface CopyAction {
  readonly sources: readonly CopyActionSource[];
  /** Absolute; a `/` at the end makes it a folder. */
  readonly destination: string;
  readonly chown?: string;
  readonly chmod?: string;
}

/** Where COPY and ADD take from. */
export type CopyActionSource =
  | {
      readonly kind: "files";
      /** One of the step's `reads`. */
      readonly from: Step;
      readonly paths: readonly string[];
      readonly excludes: readonly string[];
      readonly hasParents: boolean;
      readonly isLiteral: boolean;
      readonly unpack: "never" | "archives";
      /** False for files of a stage or image, whose owners are kept unless `chown` is given. */
      readonly resetsOwners: boolean;
    }
  | { readonly kind: "content"; readonly name: string; readonly bytes: Uint8Array };

/** A command in the file system below. */
export interface RunAction {
  readonly args: readonly string[];
  /** `NAME=value`: what the image says and the arguments in scope. */
  readonly env: readonly string[];
  /** Known to the command alone: neither in the key nor in the history. */
  readonly hiddenEnv: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly network: "default" | "none" | "host";
  readonly isInsecure: boolean;
  readonly mounts: readonly RunMountAction[];
  readonly extraHosts: readonly string[];
  /** The machine's name as the command sees it, where it is not the usual one. */
  readonly hostname?: string;
  /** A script with an interpreter line of its own, run from a file that is in no layer. */
  readonly script?: { readonly name: string; readonly content: string };
}

/** A mount of a command; targets are absolute. */
export type RunMountAction =
  | {
      readonly kind: "bind";
      readonly target: string;
      readonly from: Step;
      readonly source: string;
      readonly isReadOnly: boolean;
    }
  | {
      readonly kind: "cache";
      readonly target: string;
      readonly id: string;
      readonly sharing: "shared" | "private" | "locked";
      readonly isReadOnly: boolean;
      readonly from?: Step;
      readonly source: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | { readonly kind: "tmpfs"; readonly target: string; readonly sizeBytes?: number }
  | {
      readonly kind: "secret";
      readonly id: string;
      /** Absent where the command gets it in a variable alone. */
      readonly target?: string;
      readonly env?: string;
      readonly isRequired: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly kind: "ssh";
      readonly id: string;
      readonly target: string;
      readonly isRequired: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    };

/** A layer that a step made. */
export interface MadeLayer extends NewLayer {
  /** Nanoseconds since 1970 as digits. */
  readonly createdNs: string;
}

/** A layer that a step made or an image brought. */
export type BuiltLayer = MadeLayer | LayerRecord;

/** What a step has made. */
export interface StepResult {
  /** Bottom first; none for an empty file system. */
  readonly layers: readonly BuiltLayer[];
  /** The folder, for a context. */
  readonly contextPath?: string;
  /** Where hashes of its files are kept, for one that stays from build to build. */
  readonly hashCachePath?: string;
  /** See `ContextFolder`. */
  readonly hasChanged?: (path: string) => boolean;
  readonly isCached: boolean;
}

/** The name of the snapshot that is a result; undefined for an empty one. */
export function chainIdOf(result: StepResult): Digest | undefined {
  return result.layers.at(-1)?.chainId;
}
