import { expect, test } from "bun:test";
import { killAndWait } from "./kill.ts";
import { isSameProcess, processStartTime } from "./process.ts";

test("killAndWait() returns when the process has ended, and leaves a later one of its PID alone", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  const startTime = processStartTime(child.pid) ?? 0n;
  const timeoutMs = 5000;
  expect(await killAndWait(child.pid, { startTime: startTime - 1n, timeoutMs })).toBe(true);
  expect(isSameProcess(child.pid, startTime)).toBe(true);
  expect(await killAndWait(child.pid, { startTime, timeoutMs })).toBe(true);
  expect(isSameProcess(child.pid, startTime)).toBe(false);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
});
