import { expect, test } from "bun:test";
import { sleep } from "./retry.ts";
import { TaskGroup } from "./task-group.ts";

test("close() asks tasks to stop and waits for them", async () => {
  const ended: string[] = [];
  const group = new TaskGroup({ onError: () => undefined });
  group.run("slow", async (signal) => {
    await sleep(60_000, signal).catch(() => undefined);
    ended.push("slow");
  });
  expect(group.size).toBe(1);
  await group.close();
  expect(ended).toEqual(["slow"]);
  expect(group.size).toBe(0);
  await group.close();
});

test("a failure is told by the name of its task and harms no other", async () => {
  const failures: string[] = [];
  const group = new TaskGroup({ onError: (error, name) => failures.push(`${name}: ${error}`) });
  group.run("bad", () => {
    throw new RangeError("no");
  });
  group.run("good", async () => {
    await sleep(1);
  });
  await group.idle();
  expect(failures).toEqual(["bad: RangeError: no"]);
});

test("what fails because of closing is not told", async () => {
  const failures: unknown[] = [];
  {
    await using group = new TaskGroup({ onError: (error) => failures.push(error) });
    group.run("waiter", (signal) => sleep(60_000, signal));
  }
  expect(failures).toEqual([]);
});

test("run() after close() is refused", async () => {
  const group = new TaskGroup({ onError: () => undefined });
  await group.close();
  expect(() => group.run("late", async () => undefined)).toThrow("start late: already closing");
});
