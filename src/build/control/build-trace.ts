/** A build told in the API's stream: as BuildKit's progress, for clients that chose it there. */
import { controlMethods } from "../../api/buildkit/control.ts";
import { encodeMessage } from "../../lib/protobuf.ts";
import type { BuildEvent } from "../build-service.ts";
import { ProgressLog } from "./progress-log.ts";

/** The progress of one build, for one reader. */
export interface BuildTrace {
  push(event: BuildEvent): void;
  /** No more will come: reading ends when all is read. */
  end(): void;
  /** What has changed, each as base64 of a `StatusResponse`; until the end, or until `signal`. */
  read(signal: AbortSignal): AsyncIterable<string>;
}

/** Opens a trace. */
export function openBuildTrace(): BuildTrace {
  const log = new ProgressLog();
  const { response } = controlMethods.status;
  return {
    push: (event) => log.push(event),
    end: () => log.end(),
    async *read(signal) {
      for await (const answer of log.watch(signal)) {
        yield Buffer.from(encodeMessage(response, answer)).toString("base64");
      }
    },
  };
}
