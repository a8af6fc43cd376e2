import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseKernelVersion, parseNumberSet, readHostFacts } from "./host-facts.ts";

describe("parseNumberSet()", () => {
  const rows: readonly (readonly [string, readonly number[] | undefined])[] = [
    ["", []],
    ["0", [0]],
    ["0-2,7\n", [0, 1, 2, 7]],
    ["3,1,1", [1, 3]],
    ["2-1", undefined],
    ["a", undefined],
    ["1-", undefined],
    ["-1", undefined],
    ["0-999999999", undefined],
  ];
  for (const [text, expected] of rows) {
    test(JSON.stringify(text), () => expect(parseNumberSet(text)).toEqual(expected));
  }
});

test("parseKernelVersion() reads a release", () => {
  expect(parseKernelVersion("6.1.0-18-amd64")).toEqual({ major: 6, minor: 1 });
  expect(parseKernelVersion("strange")).toEqual({ major: 0, minor: 0 });
});

test("readHostFacts() reads this host", () => {
  const facts = readHostFacts({ seccompPath: "unconfined" });
  expect(facts.kernelVersion.major).toBeGreaterThan(4);
  expect(facts.onlineCpus.length).toBeGreaterThan(0);
  expect(facts.possibleCpus.length).toBeGreaterThanOrEqual(facts.onlineCpus.length);
  expect(facts.rlimits[0]?.type).toBe("RLIMIT_NOFILE");
  expect(facts.hardLimits["RLIMIT_NOFILE"]).toBeGreaterThan(0);
  expect(facts.seccompProfile).toMatchObject({ defaultAction: "SCMP_ACT_ALLOW", rules: [] });
  expect(facts.devices().some(({ path }) => path === "/dev/null")).toBe(true);
});

test("readHostFacts() takes the operator's profile as it is, and refuses a missing one", () => {
  const folder = mkdtempSync(join(tmpdir(), "tug-host-facts-"));
  try {
    const seccompPath = join(folder, "seccomp.json");
    writeFileSync(seccompPath, '{"defaultAction":"SCMP_ACT_LOG"}');
    expect(readHostFacts({ seccompPath }).seccompProfile?.rules).toEqual([]);
    expect(() => readHostFacts({ seccompPath: join(folder, "none") })).toThrow("no such file");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
