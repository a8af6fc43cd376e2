import { describe, expect, test } from "bun:test";
import { formatRuntimeSpec, parseHardLimits, planRlimits } from "./rlimits.ts";

const inherited = [{ type: "RLIMIT_NOFILE", soft: 20_000, hard: 20_000 }];
const hardLimits = { RLIMIT_NOFILE: 20_000, RLIMIT_MEMLOCK: 8192, RLIMIT_CORE: 2 ** 64 };
const options = { inherited, hardLimits, canRaise: false };

describe("planRlimits()", () => {
  test("tells the inherited limit of open files", () => {
    expect(planRlimits([], options)).toEqual(inherited);
  });

  test("replaces and adds, in the order of the types", () => {
    const asked = [
      { name: "nofile", soft: 100, hard: 200 },
      { name: "core", soft: 0, hard: 0 },
    ];
    expect(planRlimits(asked, options)).toEqual([
      { type: "RLIMIT_CORE", soft: 0, hard: 0 },
      { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
    ]);
  });

  const refusals: readonly (readonly [string, number, number, string])[] = [
    ["foo", 1, 1, "invalid ulimit type: foo"],
    ["nofile", 2, 1, "ulimit soft limit must be less than or equal to hard limit: 2 > 1"],
    ["nofile", -1, 5, "ulimit soft limit must be less than or equal to hard limit: -1 > 5"],
    [
      "nofile",
      1,
      65_536,
      "error setting rlimit nofile to 65536: the engine may give at most 20000",
    ],
    ["memlock", -1, -1, "the engine may give at most 8192"],
  ];
  for (const [name, soft, hard, message] of refusals) {
    test(`refuses ${name}=${soft}:${hard}`, () => {
      expect(() => planRlimits([{ name, soft, hard }], options)).toThrow(message);
    });
  }

  test("raises limits where the engine may", () => {
    const asked = [{ name: "nofile", soft: 1, hard: 65_536 }];
    expect(planRlimits(asked, { ...options, canRaise: true })[0]?.hard).toBe(65_536);
  });
});

test("formatRuntimeSpec() writes no limit exactly, also after a way through JSON", () => {
  const rlimits = planRlimits([{ name: "core", soft: -1, hard: -1 }], options);
  const process = { user: { uid: 0, gid: 0 }, args: [], cwd: "/", rlimits };
  const spec = { ociVersion: "1.0.2", process };
  const text = formatRuntimeSpec(JSON.parse(JSON.stringify(spec)));
  expect(text).toContain('"soft":18446744073709551615,"hard":18446744073709551615');
  expect(text).toContain('"soft":20000');
});

test("parseHardLimits() reads a table of the kernel", () => {
  const text = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1024                 524288               files     
Max nice priority         0                    0                    
`;
  expect(parseHardLimits(text)).toEqual({
    RLIMIT_CPU: 2 ** 64,
    RLIMIT_NOFILE: 524_288,
    RLIMIT_NICE: 0,
  });
  expect(parseHardLimits("")).toEqual({});
});
