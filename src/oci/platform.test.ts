import { describe, expect, test } from "bun:test";
import {
  choosePlatform,
  formatPlatform,
  hostPlatform,
  matchPlatform,
  normalizePlatform,
  type Platform,
  parsePlatform,
} from "./platform.ts";

const host: Platform = { os: "linux", architecture: "amd64" };
const on = (text: string): Platform => parsePlatform(text, host);

test.each([
  ["linux", "linux/amd64"],
  ["amd64", "linux/amd64"],
  ["x86_64", "linux/amd64"],
  ["linux/x86-64", "linux/amd64"],
  ["linux/amd64/v1", "linux/amd64"],
  ["linux/amd64/v3", "linux/amd64/v3"],
  ["linux/aarch64", "linux/arm64"],
  ["linux/arm64/v8", "linux/arm64"],
  ["Linux/ARM64", "linux/arm64"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/arm/6", "linux/arm/v6"],
  ["armhf", "linux/arm/v7"],
  ["linux/armel", "linux/arm/v6"],
  ["linux/i386", "linux/386"],
  ["macos/arm64", "darwin/arm64"],
  ["windows/amd64", "windows/amd64"],
  ["linux/riscv64", "linux/riscv64"],
  ["plan9/unheard", "plan9/unheard"],
])("parsePlatform() reads %p", (text, formatted) => {
  expect(formatPlatform(on(text))).toBe(formatted);
});

test.each([
  ["", "is an invalid component"],
  ["linux/", "is an invalid component"],
  ["linux/amd64/v1/x", "cannot parse platform specifier"],
  ["linux/am d64", '"am d64" is an invalid component of "linux/am d64"'],
  ["toaster", "unknown operating system or architecture"],
  ["linux/\u001b", "is an invalid component"],
])("parsePlatform() refuses %p", (text, sentence) => {
  expect(() => on(text)).toThrow(sentence);
});

test.each([
  ["x64", "linux/amd64"],
  ["arm64", "linux/arm64"],
  ["arm", "linux/arm/v7"],
  ["constructor", "linux/constructor"],
])("hostPlatform() of node's %p", (architecture, formatted) => {
  expect(formatPlatform(hostPlatform(architecture))).toBe(formatted);
});

test("matchPlatform() compares what the names mean", () => {
  const spelled = { os: "linux", architecture: "aarch64", variant: "v8" };
  expect(matchPlatform(on("linux/arm64"), spelled)).toBe(true);
  expect(matchPlatform(on("linux/arm64"), on("linux/arm/v7"))).toBe(false);
  const windows = { os: "windows", architecture: "amd64", "os.version": "10.0.1" };
  expect(matchPlatform(windows, on("windows/amd64"))).toBe(false);
  expect(matchPlatform(on("windows/amd64"), windows)).toBe(true);
});

describe("choosePlatform()", () => {
  const rows: [string, string[], number | undefined][] = [
    ["linux/amd64", ["linux/arm64", "linux/amd64"], 1],
    ["linux/amd64", ["linux/386"], 0],
    ["linux/amd64", ["linux/386", "linux/amd64"], 1],
    ["linux/amd64", ["linux/amd64/v2"], undefined],
    ["linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1],
    ["linux/arm64", ["linux/arm/v6", "linux/arm/v7"], 1],
    ["linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], 1],
    ["linux/arm/v6", ["linux/arm/v7"], undefined],
    ["linux/arm64", ["linux/amd64"], undefined],
    ["linux/s390x", ["linux/s390x"], 0],
    ["linux/amd64", ["windows/amd64"], undefined],
    ["linux/amd64", [], undefined],
  ];
  test.each(rows)("on %s of %p", (wanted, offered, index) => {
    expect(choosePlatform(on(wanted), offered.map(on))).toBe(index as number);
  });
  test("passes over what names no platform", () => {
    expect(choosePlatform(host, [undefined, host])).toBe(1);
  });
  test("never takes an attestation for an image", () => {
    const unknown = normalizePlatform({ os: "unknown", architecture: "unknown" });
    expect(choosePlatform(host, [unknown])).toBeUndefined();
  });
});
