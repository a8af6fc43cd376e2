import { expect, test } from "bun:test";
import { EngineError } from "../errors.ts";
import { backoffMs, retry, sleep } from "./retry.ts";

const quick = { attemptsMax: 3, delayMs: 1, delayMaxMs: 2 };
const broken = new EngineError("unavailable", "reach registry: refused");

test("retry() gives what the first success gives", async () => {
  const result = await retry(async (attempt) => {
    if (attempt < 3) throw broken;
    return attempt;
  }, quick);
  expect(result).toBe(3);
});

test("retry() stops after the last attempt with its failure", async () => {
  let attempts = 0;
  const work = async (): Promise<never> => {
    attempts += 1;
    throw broken;
  };
  await expect(retry(work, quick)).rejects.toBe(broken);
  expect(attempts).toBe(3);
});

test("retry() does not repeat what is not worth it", async () => {
  const waits: number[] = [];
  const options = {
    ...quick,
    isRetryable: () => false,
    onRetry: (_error: unknown, attempt: number) => void waits.push(attempt),
  };
  await expect(retry(async () => Promise.reject(broken), options)).rejects.toBe(broken);
  expect(waits).toEqual([]);
});

test("retry() ends a wait when the signal fires", async () => {
  const controller = new AbortController();
  const options = {
    attemptsMax: 2,
    delayMs: 60_000,
    delayMaxMs: 60_000,
    signal: controller.signal,
  };
  const running = retry(async () => Promise.reject(broken), options);
  setTimeout(() => controller.abort(), 5);
  await expect(running).rejects.toThrow("wait canceled");
});

test("sleep() does not begin when the signal has fired", async () => {
  await expect(sleep(60_000, AbortSignal.abort())).rejects.toMatchObject({ kind: "canceled" });
});

test("backoffMs() doubles up to its bound", () => {
  for (const [attempt, fullMs] of [
    [1, 100],
    [2, 200],
    [4, 800],
    [20, 1_000],
  ] as const) {
    const delayMs = backoffMs(attempt, { delayMs: 100, delayMaxMs: 1_000 });
    expect(delayMs).toBeGreaterThanOrEqual(fullMs / 2);
    expect(delayMs).toBeLessThanOrEqual(fullMs);
  }
});
