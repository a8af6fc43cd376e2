import { expect, test } from "bun:test";
import { sleep } from "./retry.ts";
import { Semaphore } from "./semaphore.ts";

test("no more than countMax run at once, and all run", async () => {
  const semaphore = new Semaphore(3);
  let running = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await sleep(1);
    running -= 1;
  };
  await Promise.all(Array.from({ length: 12 }, () => semaphore.run(work)));
  expect(most).toBe(3);
  expect(running).toBe(0);
});

test("a failure gives its place back", async () => {
  const semaphore = new Semaphore(1);
  await expect(semaphore.run(async () => Promise.reject(new RangeError("no")))).rejects.toThrow(
    "no",
  );
  expect(await semaphore.run(async () => 7)).toBe(7);
});
