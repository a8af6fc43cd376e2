import { expect, test } from "bun:test";
import { KeyedMutex } from "./keyed-mutex.ts";
import { sleep } from "./retry.ts";

test("work under one key runs in order, one at a time", async () => {
  const mutex = new KeyedMutex();
  const seen: string[] = [];
  const work = (name: string, delayMs: number) => async (): Promise<void> => {
    seen.push(`${name} begins`);
    await sleep(delayMs);
    seen.push(`${name} ends`);
  };
  await Promise.all([mutex.run("k", work("a", 8)), mutex.run("k", work("b", 1))]);
  expect(seen).toEqual(["a begins", "a ends", "b begins", "b ends"]);
  expect(mutex.size).toBe(0);
});

test("work under other keys does not wait", async () => {
  const mutex = new KeyedMutex();
  const gate = Promise.withResolvers<void>();
  const held = mutex.run("a", () => gate.promise);
  expect(await mutex.run("b", async () => "done")).toBe("done");
  expect(mutex.size).toBe(1);
  gate.resolve();
  await held;
});

test("a failure is the caller's alone and frees the key", async () => {
  const mutex = new KeyedMutex();
  const bad = mutex.run("k", async () => Promise.reject(new RangeError("no")));
  const good = mutex.run("k", async () => 7);
  await expect(bad).rejects.toThrow("no");
  expect(await good).toBe(7);
  expect(mutex.size).toBe(0);
});
