import { expect, test } from "bun:test";
import type { ImageSummary } from "../api/image.ts";
import { silentLogger } from "../lib/log.ts";
import { failedStepLabel, FailedSteps, type FailedStepsOptions } from "./failed-steps.ts";

/** What a sweep removes when these images are there. */
async function sweep(
  images: readonly (readonly [names: readonly string[], label: string])[],
): Promise<readonly string[]> {
  const removed: string[] = [];
  const steps = new FailedSteps({
    images: {
      list: async () =>
        await Promise.resolve(
          images.map(([RepoTags, label]) => ({ RepoTags, Labels: { [failedStepLabel]: label } })),
        ),
      remove: async (name: string) => void removed.push(`image ${name}`),
    } as object as FailedStepsOptions["images"] & { list(): Promise<readonly ImageSummary[]> },
    leases: {} as FailedStepsOptions["leases"],
    logger: silentLogger,
    removeContainers: async (label, value) => void removed.push(`containers ${label}=${value}`),
  });
  await steps.sweep();
  return removed;
}

test("what an earlier daemon left of failed steps is removed, containers first", async () => {
  expect(await sweep([[["failed-step:0123456789ab"], "0123456789ab"]])).toEqual([
    "containers tug.build.failed-step=0123456789ab",
    "image failed-step:0123456789ab",
  ]);
});

test("images that merely have the label stay, and their containers", async () => {
  const removed = await sweep([
    [["app:1"], "x"],
    [["app:1"], "0123456789ab"],
    [["failed-step:0123456789ab"], "ba9876543210"],
    [["failed-step:x"], "x"],
    [[], ""],
    [["failed-step:"], ""],
  ]);
  expect(removed).toEqual([]);
});

test("other names of a failed step's image stay", async () => {
  expect(await sweep([[["mine:1", "failed-step:0123456789ab"], "0123456789ab"]])).toEqual([
    "containers tug.build.failed-step=0123456789ab",
    "image failed-step:0123456789ab",
  ]);
});
