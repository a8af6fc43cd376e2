import { describe, expect, test } from "bun:test";
import { parseChallenges } from "./challenge.ts";

const read = (header: string): unknown =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe("parseChallenges()", () => {
  for (const [header, expected] of [
    ['Basic realm="Test Registry"', [["basic", { realm: "Test Registry" }]]],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push"',
      [
        [
          "bearer",
          {
            realm: "https://auth.docker.io/token",
            service: "registry.docker.io",
            scope: "a:b:pull,push",
          },
        ],
      ],
    ],
    ["Bearer realm=https://x/t", [["bearer", { realm: "https://x/t" }]]],
    [
      'Basic realm="a\\"b", Bearer REALM = "c"',
      [
        ["basic", { realm: 'a"b' }],
        ["bearer", { realm: "c" }],
      ],
    ],
    ["Negotiate", [["negotiate", {}]]],
    [
      "Negotiate YWJj==, Basic realm=x",
      [
        ["negotiate", {}],
        ["basic", { realm: "x" }],
      ],
    ],
    ['Bearer realm="a",realm="b"', [["bearer", { realm: "a" }]]],
    ['Bearer realm="open', [["bearer", {}]]],
    ["", []],
    [",,,", []],
    ['="x"', []],
    ["Bearer\u00e9", [["bearer", {}]]],
  ] as const) {
    test(JSON.stringify(header).slice(0, 60), () => {
      expect(read(header)).toEqual(expected as unknown);
    });
  }

  test("does not look at endless headers, and stops at so many challenges", () => {
    expect(read(`Basic realm="${"x".repeat(20_000)}"`)).toEqual([]);
    expect(read("Basic a=b, ".repeat(100))).toHaveLength(16);
  });

  test("ends on anything", () => {
    let state = 7;
    const random = (count: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state % count;
    };
    const parts = ["Bearer", " ", ",", "=", '"', "\\", "realm", "a/b", "==", "\t", "é", "Basic"];
    for (let round = 0; round < 2_000; round += 1) {
      const text = Array.from({ length: random(12) }, () => parts[random(parts.length)]).join("");
      for (const { scheme } of parseChallenges(text)) expect(scheme).toMatch(/^[^\s,="]+$/);
    }
  });
});
