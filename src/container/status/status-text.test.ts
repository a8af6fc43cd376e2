import { expect, test } from "bun:test";
import { formatHumanDuration, formatStatus } from "./status-text.ts";

const rows: readonly (readonly [number, string])[] = [
  [0.4, "Less than a second"],
  [1, "1 second"],
  [59.9, "59 seconds"],
  [60, "About a minute"],
  [119, "About a minute"],
  [120, "2 minutes"],
  [3599, "59 minutes"],
  [3600, "About an hour"],
  [5399, "About an hour"],
  [5400, "2 hours"],
  [47 * 3600, "47 hours"],
  [48 * 3600, "2 days"],
  [14 * 86_400, "2 weeks"],
  [60 * 86_400, "2 months"],
  [730 * 86_400, "2 years"],
];
test.each([...rows])("%d seconds are %j", (seconds, text) => {
  expect(formatHumanDuration(seconds)).toBe(text);
});

test("formatStatus() says where a container stands in Docker's words", () => {
  const nowNs = 1_000_000_000_000n;
  const facts = { exitCode: 3, startedAtNs: "995000000000", finishedAtNs: "997000000000", nowNs };
  expect(formatStatus({ ...facts, status: "running" })).toBe("Up 5 seconds");
  expect(formatStatus({ ...facts, status: "paused" })).toBe("Up 5 seconds (Paused)");
  expect(formatStatus({ ...facts, status: "exited" })).toBe("Exited (3) 3 seconds ago");
  expect(formatStatus({ ...facts, status: "removing" })).toBe("Removal In Progress");
  expect(formatStatus({ ...facts, status: "dead" })).toBe("Dead");
  expect(formatStatus({ ...facts, status: "created" })).toBe("Created");
});
