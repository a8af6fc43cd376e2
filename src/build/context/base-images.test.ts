import { expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import type { Progress as PullProgress } from "../../image/image-service.ts";
import { hostPlatform } from "../../oci/platform.ts";

import { BaseImages } from "./base-images.ts";
import type { BuildEvent, BuildRequest } from "../build-service.ts";
import type { BuildServiceOptions } from "../environment.ts";
import { Progress } from "../progress/progress.ts";

test("a tag is no state of a step, whatever it is called", async () => {
  const events: BuildEvent[] = [];
  let isPulled = false;
  const images = {
    layersOf: async () => {
      if (!isPulled) throw new EngineError("not-found", "no such image");
      return await Promise.resolve({ layers: [], config: {} });
    },
    pull: async (_name: string, { progress }: { readonly progress: PullProgress }) => {
      progress({ status: "Pulling from x", id: "tug.debug" });
      progress({ status: "Downloading", id: "0123456789ab", progressDetail: { current: 1 } });
      progress({ status: "Pull complete", id: "0123456789ab" });
      isPulled = true;
      await Promise.resolve();
    },
  };
  const base = new BaseImages({ images } as object as BuildServiceOptions, {
    request: { client: { credentials: async () => undefined } } as object as BuildRequest,
    progress: new Progress((event) => void events.push(event)),
    leaseId: "lease",
    signal: new AbortController().signal,
  });
  await base.image("evil.example/x:tug.debug", hostPlatform());
  const states = events.filter((event) => event.kind === "status");
  expect(states.map(({ id, isCompleted }) => [id, isCompleted])).toEqual([
    ["0123456789ab", false],
    ["0123456789ab", true],
  ]);
});
