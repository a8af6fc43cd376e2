import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  formatDuration,
  formatTime,
  formatTimePadded,
  nowNs,
  parseDuration,
  parseTime,
  zeroTime,
  zeroTimeNs,
} from "./time.ts";

const second = 1_000_000_000n;

describe("formatTime()", () => {
  const rows: [bigint, string, string][] = [
    [0n, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z"],
    [1n, "1970-01-01T00:00:00.000000001Z", "1970-01-01T00:00:00.000000001Z"],
    [1_600_000_000_123_450_000n, "2020-09-13T12:26:40.12345Z", "2020-09-13T12:26:40.123450000Z"],
    [-1n, "1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"],
    [zeroTimeNs, zeroTime, "0001-01-01T00:00:00.000000000Z"],
    [253_402_300_800n * second, "10000-01-01T00:00:00Z", "10000-01-01T00:00:00.000000000Z"],
  ];
  test.each(rows)("renders %p as Go does", (ns, trimmed, padded) => {
    expect(formatTime(ns)).toBe(trimmed);
    expect(formatTimePadded(ns)).toBe(padded);
  });
  test("takes a Date", () => {
    expect(formatTime(new Date(1500))).toBe("1970-01-01T00:00:01.5Z");
  });
  test("does not throw for what no calendar holds", () => {
    expect(formatTime(10n ** 30n)).toBe(zeroTime);
  });
  test("is undone by parseTime()", () => {
    const moment = fc.bigInt({ min: zeroTimeNs, max: 253_402_300_799n * second });
    const check = fc.property(moment, (ns) => parseTime(formatTime(ns)) === ns);
    fc.assert(check, { seed: 11, numRuns: 300 });
  });
});

describe("parseTime()", () => {
  const now = 1_000_000n * second;
  const local = (...fields: [number, number, number, number?, number?, number?]): bigint => {
    const [year, month, day, hour = 0, minute = 0, seconds = 0] = fields;
    return BigInt(new Date(year, month, day, hour, minute, seconds).getTime()) * 1_000_000n;
  };
  const accepted: [string, bigint][] = [
    ["0", 0n],
    ["1600000000", 1_600_000_000n * second],
    ["1600000000.123456789", 1_600_000_000_123_456_789n],
    ["1600000000.1", 1_600_000_000_100_000_000n],
    ["1600000000.", 1_600_000_000n * second],
    ["-1.5", -1_500_000_000n],
    ["2006-01-02T15:04:05Z", 1_136_214_245n * second],
    ["2006-01-02T15:04:05.000000007Z", 1_136_214_245n * second + 7n],
    ["2006-01-02T15:04:05+02:00", 1_136_207_045n * second],
    ["2006-01-02T15:04:05-07:00", 1_136_239_445n * second],
    ["2006-01-02T15:04Z", 1_136_214_240n * second],
    ["2006-01-02Z", 1_136_160_000n * second],
    ["2006-01-02T15:04:05", local(2006, 0, 2, 15, 4, 5)],
    ["2006-01-02T15:04", local(2006, 0, 2, 15, 4)],
    ["2006-01-02T15", local(2006, 0, 2, 15)],
    ["2006-01-02", local(2006, 0, 2)],
    ["0001-01-01T00:00:00Z", zeroTimeNs],
    ["10m", now - 600n * second],
    ["1h30m", now - 5_400n * second],
    ["-10s", now + 10n * second],
    ["1.5h", now - 5_400n * second],
  ];
  test.each(accepted)("reads %p", (text, ns) => {
    expect(parseTime(text, { nowNs: now })).toBe(ns);
  });
  const rejected = [
    "",
    "soon",
    "10",
    "2006-13-02",
    "2006-02-30",
    "2006-01-02T25:00:00Z",
    "2006-01-02T15:60:00Z",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05+99:00",
    "1.2.3",
    "1600000000.1234567890",
    "99999999999999999999",
    "NaN",
    "1e9",
    "10m ",
  ].filter((text) => text !== "10");
  test.each(rejected)("refuses %p", (text) => {
    expect(() => parseTime(text)).toThrow(
      `failed to parse value as time or duration: ${JSON.stringify(text)}`,
    );
  });
});

describe("durations", () => {
  const rows: [string, bigint, string][] = [
    ["0", 0n, "0s"],
    ["1ns", 1n, "1ns"],
    ["1.5us", 1_500n, "1.5µs"],
    ["1µs", 1_000n, "1µs"],
    ["250ms", 250_000_000n, "250ms"],
    ["1.5s", 1_500_000_000n, "1.5s"],
    ["90s", 90n * second, "1m30s"],
    ["1h2m3.5s", 3_723_500_000_000n, "1h2m3.5s"],
    [".5h", 1_800n * second, "30m0s"],
    ["-10m", -600n * second, "-10m0s"],
    ["+1s", second, "1s"],
  ];
  test.each(rows)("reads and prints %p", (text, ns, printed) => {
    expect(parseDuration(text)).toBe(ns);
    expect(formatDuration(ns)).toBe(printed);
  });
  test("come back from their text", () => {
    const durations = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
    const check = fc.property(durations, (ns) => parseDuration(formatDuration(ns)) === ns);
    fc.assert(check, { seed: 12, numRuns: 300 });
  });
  test.each(["", "s", "1x", "1h ", "--1s", "1s2", ".s", "1e3s", "9999999999h"])(
    "refuses %p",
    (text) => {
      expect(() => parseDuration(text)).toThrow(`time: invalid duration ${JSON.stringify(text)}`);
    },
  );
  test.each(["1", "1.5", "-3"])("tells that %p lacks a unit", (text) => {
    expect(() => parseDuration(text)).toThrow("missing unit in duration");
  });
});

test("nowNs() is the wall clock, and does not go back", () => {
  let before = nowNs();
  expect(Math.abs(Number(before / 1_000_000n) - Date.now())).toBeLessThan(20);
  for (let count = 0; count < 1_000; count += 1) {
    const next = nowNs();
    expect(next >= before).toBe(true);
    before = next;
  }
});
