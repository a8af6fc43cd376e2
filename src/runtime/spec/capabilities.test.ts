import { describe, expect, test } from "bun:test";
import { capabilityNames } from "../../sys/capability.ts";
import { capabilitySets, defaultCapabilities, resolveCapabilities } from "./capabilities.ts";

const bounding = capabilityNames.filter((name) => name !== "CAP_SYS_RESOURCE");

function resolve(add: readonly string[], drop: readonly string[], isPrivileged = false): string {
  const names = resolveCapabilities({ add, drop, isPrivileged }, bounding);
  const mask = names.reduce((sum, name) => sum | (1n << BigInt(capabilityNames.indexOf(name))), 0n);
  return mask.toString(16);
}

describe("resolveCapabilities()", () => {
  // Masks seen in /proc/self/status under Docker 28.5 with the same bounding set.
  const rows: readonly (readonly [
    string,
    readonly string[],
    readonly string[],
    boolean,
    string,
  ])[] = [
    ["default", [], [], false, "a80425fb"],
    ["drop ALL", [], ["ALL"], false, "0"],
    ["drop all, any case", [], ["cap_all"], false, "0"],
    ["add one", ["SYS_ADMIN"], [], false, "a82425fb"],
    ["add in lower case with prefix", ["cap_sys_admin"], [], false, "a82425fb"],
    ["add one twice", ["SYS_ADMIN", "CAP_SYS_ADMIN"], [], false, "a82425fb"],
    ["drop one", [], ["NET_RAW"], false, "a80405fb"],
    ["drop ALL, add one", ["CHOWN"], ["ALL"], false, "1"],
    ["add ALL", ["ALL"], [], false, "1fffeffffff"],
    ["add ALL, drop one", ["ALL"], ["CHOWN"], false, "1fffefffffe"],
    ["add and drop the same", ["CHOWN"], ["CHOWN"], false, "a80425fb"],
    ["privileged", [], [], true, "1fffeffffff"],
    ["privileged does not heed drop", [], ["ALL"], true, "1fffeffffff"],
  ];
  for (const [name, add, drop, isPrivileged, mask] of rows) {
    test(name, () => expect(resolve(add, drop, isPrivileged)).toBe(mask));
  }

  test("leaves out defaults that the engine lacks", () => {
    const request = { add: [], drop: [], isPrivileged: false };
    expect(resolveCapabilities(request, ["CAP_CHOWN", "CAP_BPF"])).toEqual(["CAP_CHOWN"]);
  });

  const refusals: readonly (readonly [readonly string[], readonly string[], string])[] = [
    [["FOO"], [], 'invalid CapAdd: unknown capability: "CAP_FOO"'],
    [[], ["FOO"], 'invalid CapDrop: unknown capability: "CAP_FOO"'],
    [[""], [], 'invalid CapAdd: unknown capability: "CAP_"'],
    [
      ["sys_resource"],
      [],
      'invalid CapAdd: capability not supported by your kernel or not available in the current environment: "CAP_SYS_RESOURCE"',
    ],
  ];
  for (const [add, drop, message] of refusals) {
    test(`refuses: ${message}`, () => expect(() => resolve(add, drop)).toThrow(message));
    test(`refuses even when privileged: ${message}`, () => {
      expect(() => resolve(add, drop, true)).toThrow(message);
    });
  }
});

describe("capabilitySets()", () => {
  test("gives root all of the bounding set, and nothing to inherit", () => {
    expect(capabilitySets(defaultCapabilities, 0)).toEqual({
      bounding: defaultCapabilities,
      effective: defaultCapabilities,
      permitted: defaultCapabilities,
      inheritable: [],
      ambient: [],
    });
  });

  test("gives another user nothing but what it may gain", () => {
    expect(capabilitySets(defaultCapabilities, 1000)).toMatchObject({
      bounding: defaultCapabilities,
      effective: [],
      permitted: [],
    });
  });
});
