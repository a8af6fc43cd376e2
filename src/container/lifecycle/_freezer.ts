import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { sleep } from "../../lib/concurrency/retry.ts";
import { cgroupPaths } from "../../sys/cgroup.ts";

/** A cgroup v1 may need several pushes: processes that fork are caught one by one. */
const attemptCountMax = 1000;
const attemptDelayMs = 5;

/** Stops all processes of a cgroup where they are. @throws internal when they do not stop in time */
export async function freezeCgroup(path: string): Promise<void> {
  const { file, frozen, isFrozen } = freezerOf(path);
  for (let attempt = 0; attempt < attemptCountMax; attempt += 1) {
    writeFileSync(file, frozen);
    if (isFrozen()) return;
    await sleep(attemptDelayMs);
  }
  thawCgroup(path);
  throw new EngineError("internal", `pause cgroup ${path}: its processes did not stop`);
}

/** Lets all processes of a cgroup go on; nothing when the cgroup is gone. */
export function thawCgroup(path: string): void {
  const { file, thawed } = freezerOf(path);
  if (existsSync(file)) writeFileSync(file, thawed);
}

interface Freezer {
  readonly file: string;
  readonly frozen: string;
  readonly thawed: string;
  readonly isFrozen: () => boolean;
}

function freezerOf(path: string): Freezer {
  const paths = cgroupPaths(path);
  const unified = paths.get("");
  if (unified !== undefined) {
    const events = join(unified, "cgroup.events");
    return {
      file: join(unified, "cgroup.freeze"),
      frozen: "1",
      thawed: "0",
      isFrozen: () => /^frozen 1$/m.test(readFileSync(events, "utf8")),
    };
  }
  const folder = paths.get("freezer");
  if (folder === undefined) {
    throw new EngineError("unavailable", "cgroup controller freezer is not mounted");
  }
  const file = join(folder, "freezer.state");
  return {
    file,
    frozen: "FROZEN",
    thawed: "THAWED",
    isFrozen: () => readFileSync(file, "utf8").trim() === "FROZEN",
  };
}
