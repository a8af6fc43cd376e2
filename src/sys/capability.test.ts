import { expect, test } from "bun:test";
import { boundingCapabilities, capabilitiesOf, capabilityNames } from "./capability.ts";

test("the table has 41 names at their numbers", () => {
  expect(capabilityNames).toHaveLength(41);
  expect([0, 12, 21, 24, 27, 31, 38, 40].map((number) => capabilityNames[number])).toEqual([
    "CAP_CHOWN",
    "CAP_NET_ADMIN",
    "CAP_SYS_ADMIN",
    "CAP_SYS_RESOURCE",
    "CAP_MKNOD",
    "CAP_SETFCAP",
    "CAP_PERFMON",
    "CAP_CHECKPOINT_RESTORE",
  ]);
});

test.each([
  ["0", []],
  ["0000000000000001", ["CAP_CHOWN"]],
  ["10000000000", ["CAP_CHECKPOINT_RESTORE"]],
  ["20000000000", []],
  [
    "00000000a80425fb",
    (
      "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW " +
      "SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
    )
      .split(" ")
      .map((name) => `CAP_${name}`),
  ],
])("capabilitiesOf(%s)", (hexadecimal, names) => {
  expect(capabilitiesOf(hexadecimal)).toEqual(names);
});

test("boundingCapabilities() reads those of this process", () => {
  const names = boundingCapabilities();
  expect(names.every((name) => capabilityNames.includes(name))).toBe(true);
});
