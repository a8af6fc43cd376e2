/** What a build has come to, and how that leaves the builder. */
import type { Digest } from "../../oci/digest.ts";
import type { BuildRequest } from "../build-service.ts";
import type { BuildServiceOptions } from "../environment.ts";
import type { Graph } from "../graph/graph.ts";
import type { Progress } from "../progress/progress.ts";
import type { MadeLayer, StepResult } from "../step.ts";
import type { Material } from "../attestation/provenance.ts";

/** What one platform has come to. */
export interface PlatformResult {
  readonly graph: Graph;
  readonly result: StepResult;
}

/** What was exported, for the answer. */
export interface Exported {
  readonly imageId?: Digest;
  readonly digest?: Digest;
  readonly metadata: Readonly<Record<string, string>>;
  /** The file system was synced on the way. */
  readonly isSynced?: boolean;
}

/** How results are exported. */
export interface ExportOptions {
  readonly options: BuildServiceOptions;
  readonly request: BuildRequest;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Holds what is made on the way. */
  readonly leaseId: string;
  /** The image that the result was made from, where each instruction's is kept. */
  readonly parentId?: Digest;
  /** Layers by the content keys of their steps, where images are to tell them. */
  readonly inlineLayers?: ReadonlyMap<Digest, MadeLayer>;
  /** What attestations tell of the build. */
  readonly facts: ExportFacts;
}

/** What attestations tell of a build, besides its results. */
export interface ExportFacts {
  readonly dockerfile: Uint8Array;
  readonly startedNs: bigint;
  /** Repositories and files that came from elsewhere. */
  readonly materials: readonly Material[];
}
