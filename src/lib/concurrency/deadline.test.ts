import { expect, test } from "bun:test";
import { valueWithin, withDeadline } from "./deadline.ts";

test("withDeadline() gives the result that comes in time", async () => {
  expect(await withDeadline(Promise.resolve(7), 1_000, "wait for seven")).toBe(7);
});

test("withDeadline() passes a failure on", async () => {
  await expect(withDeadline(Promise.reject(new RangeError("x")), 1_000, "wait")).rejects.toThrow(
    "x",
  );
});

test("withDeadline() gives up with its sentence, and a later failure floats nowhere", async () => {
  const { promise, reject } = Promise.withResolvers<void>();
  const late = withDeadline(promise, 5, "start shim: not ready within 5 ms");
  await expect(late).rejects.toMatchObject({
    kind: "deadline-exceeded",
    message: "start shim: not ready within 5 ms",
  });
  reject(new RangeError("too late"));
  await Promise.resolve();
});

test("valueWithin() gives what comes in time, also a failure, and nothing when it is late", async () => {
  expect(await valueWithin(Promise.resolve(7), 1_000)).toBe(7);
  await expect(valueWithin(Promise.reject(new RangeError("x")), 1_000)).rejects.toThrow("x");
  const { promise, reject } = Promise.withResolvers<number>();
  expect(await valueWithin(promise, 5)).toBeUndefined();
  reject(new RangeError("too late"));
  await Promise.resolve();
});
