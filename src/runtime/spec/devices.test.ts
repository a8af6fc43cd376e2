import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RuntimeDeviceRule } from "../../oci/runtime-spec.ts";
import { deviceNumber, makeNode } from "../../sys/fs/fs.ts";
import {
  type DeviceRequest,
  defaultDeviceRules,
  listHostDevices,
  parseDeviceCgroupRule,
  planDevices,
} from "./devices.ts";

type PlanOptions = Parameters<typeof planDevices>[0];

const base: PlanOptions = {
  requests: [],
  cgroupRules: [],
  isPrivileged: false,
  hostDevices: () => [],
};
function ask(pathOnHost: string, pathInContainer = "", permissions = ""): PlanOptions {
  const request: DeviceRequest = { pathOnHost, pathInContainer, permissions };
  return { ...base, requests: [request] };
}

describe("planDevices()", () => {
  test("allows the harmless devices, and fuse to nobody", () => {
    expect(planDevices(base)).toEqual({ nodes: [], rules: defaultDeviceRules });
    expect(defaultDeviceRules[0]).toEqual({ allow: false, access: "rwm" });
    expect(defaultDeviceRules.at(-1)).toMatchObject({ allow: false, major: 10, minor: 229 });
  });

  test("makes a device that was asked for, with its permissions", () => {
    const { nodes, rules } = planDevices(ask("/dev/zero", "/dev/nought", "r"));
    expect(nodes).toEqual([
      { path: "/dev/nought", type: "c", major: 1, minor: 5, fileMode: 0o666, uid: 0, gid: 0 },
    ]);
    expect(rules.at(-1)).toEqual({ allow: true, type: "c", major: 1, minor: 5, access: "r" });
  });

  test("gives a privileged container all devices, each path once", () => {
    const device = { type: "c", major: 9, minor: 9, mode: 0o600, uid: 0, gid: 6 } as const;
    const { nodes, rules } = planDevices({
      ...ask("/dev/null", "/dev/one"),
      isPrivileged: true,
      hostDevices: () => [
        { ...device, path: "/dev/one" },
        { ...device, path: "/dev/two" },
      ],
    });
    expect(nodes.map(({ path, major }) => [path, major])).toEqual([
      ["/dev/one", 1],
      ["/dev/two", 9],
    ]);
    expect(rules.at(-1)).toEqual({ allow: true, access: "rwm" });
  });

  const missing = "error gathering device information while adding custom device";
  const refusals: readonly (readonly [PlanOptions, string])[] = [
    [ask("/dev/nope"), `${missing} "/dev/nope": no such file or directory`],
    [ask("/etc/passwd"), `${missing} "/etc/passwd": not a device node`],
    [ask("/etc"), `${missing} "/etc": not a device node`],
    [ask("dev/null"), `${missing} "dev/null": not an absolute path`],
    [ask("/dev/null", "", "q"), "invalid device mode: q"],
    [ask("/dev/null", "", "rr"), "invalid device mode: rr"],
  ];
  for (const [input, message] of refusals) {
    test(`refuses: ${message}`, () => {
      expect(() => planDevices(input)).toThrow(message);
    });
  }
});

describe("parseDeviceCgroupRule()", () => {
  const rows: readonly (readonly [string, RuntimeDeviceRule])[] = [
    ["c 1:3 mr", { allow: true, type: "c", major: 1, minor: 3, access: "mr" }],
    ["b *:* rwm", { allow: true, type: "b", access: "rwm" }],
    ["a 7:* r", { allow: true, type: "a", major: 7, access: "r" }],
  ];
  for (const [text, expected] of rows) {
    test(text, () => expect(parseDeviceCgroupRule(text)).toEqual(expected));
  }
  for (const text of [
    "x 1:1 r",
    "c 1:1",
    "c 1:1 rwmr",
    "c -1:1 r",
    "c 1:1 r\n",
    "",
    "c 9999999999:1 r",
  ]) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseDeviceCgroupRule(text)).toThrow("invalid device cgroup rule format");
    });
  }
});

describe.skipIf(process.getuid?.() !== 0)("a folder of devices (root)", () => {
  let folder: string;
  const character = 0o020000;
  const block = 0o060000;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tug-devices-"));
    mkdirSync(join(folder, "sub"));
    mkdirSync(join(folder, "pts"));
    makeNode(join(folder, "sub/wide"), block | 0o640, deviceNumber(259, 70_000));
    makeNode(join(folder, "pts/0"), character | 0o600, deviceNumber(136, 0));
    makeNode(join(folder, "plain"), character | 0o600, deviceNumber(1, 3));
    writeFileSync(join(folder, "file"), "");
    symlinkSync("/dev", join(folder, "link"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("is listed without files, links and terminals, with wide numbers", () => {
    expect(
      listHostDevices(folder).map(({ path, type, major, minor }) => [path, type, major, minor]),
    ).toEqual([
      [join(folder, "plain"), "c", 1, 3],
      [join(folder, "sub/wide"), "b", 259, 70_000],
    ]);
  });

  test("is given whole, below the target", () => {
    const { nodes } = planDevices(ask(folder, "/dev/here"));
    expect(nodes.map(({ path }) => path)).toEqual(["/dev/here/plain", "/dev/here/sub/wide"]);
  });
});
