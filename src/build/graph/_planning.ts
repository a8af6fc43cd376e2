import { posix } from "node:path";
import type { Platform } from "../../oci/platform.ts";
import { makeStep } from "./make-step.ts";
import type { Step } from "../step.ts";

/** A path as an instruction means it: relative ones from the working folder; keeps a last `/`. */
export function resolveTarget(workingDir: string, path: string): string {
  const isFolder = path.endsWith("/") || path.endsWith("/.") || path === "." || path === "";
  const absolute = posix.resolve("/", workingDir, path);
  return isFolder && absolute !== "/" ? `${absolute}/` : absolute;
}

/** A step that makes nothing, to read from. */
export function emptyStep(platform: Platform): Step {
  return makeStep({
    action: { kind: "scratch" },
    name: "FROM scratch",
    description: "an empty file system",
    reads: [],
    isCacheIgnored: false,
    platform,
  });
}
