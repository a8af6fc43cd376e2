/** Who shows the progress of a build. */
import type { StatusResponse } from "../../api/buildkit/control.ts";
import type { BuildTrace } from "./build-trace.ts";

/** Progress on its way to the user. */
export interface BuildProgress {
  /** What is known of the build. */
  readonly trace: BuildTrace;
  update(progress: StatusResponse): void;
  /** Shows what is left to be shown; nothing moves after that. */
  close(): void;
}
