import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import type { RuntimeSeccomp } from "../../oci/runtime-spec.ts";
import { defaultCapabilities } from "../spec/capabilities.ts";
import { seccompProfilePath } from "../spec/host-facts.ts";
import { decodeSeccompProfile, resolveSeccomp, withDockerAnswers } from "./seccomp.ts";

const subject = {
  capabilities: ["CAP_CHOWN"],
  architecture: "amd64",
  kernelVersion: { major: 6, minor: 1 },
};

function names(profile: object, changes: Partial<typeof subject> = {}): readonly string[] {
  const text = JSON.stringify({ defaultAction: "SCMP_ACT_ERRNO", ...profile });
  const filter = resolveSeccomp(decodeSeccompProfile(text), { ...subject, ...changes });
  return (filter.syscalls ?? []).flatMap((rule) => rule.names);
}

function rule(conditions: object): object {
  return { syscalls: [{ names: ["x"], action: "SCMP_ACT_ALLOW", ...conditions }] };
}

describe("resolveSeccomp()", () => {
  const rows: readonly (readonly [string, object, boolean])[] = [
    ["no condition", {}, true],
    ["empty conditions", { includes: {}, excludes: {} }, true],
    ["its capability is there", { includes: { caps: ["CAP_CHOWN"] } }, true],
    ["one of two capabilities is missing", { includes: { caps: ["CAP_CHOWN", "CAP_BPF"] } }, false],
    ["an excluded capability is there", { excludes: { caps: ["CAP_BPF", "CAP_CHOWN"] } }, false],
    ["its machine", { includes: { arches: ["arm64", "amd64"] } }, true],
    ["another machine", { includes: { arches: ["arm64"] } }, false],
    ["an excluded machine", { excludes: { arches: ["amd64"] } }, false],
    ["a kernel that is new enough", { includes: { minKernel: "6.1" } }, true],
    ["a kernel that is too old", { includes: { minKernel: "6.2" } }, false],
    ["an older major kernel", { includes: { minKernel: "5.19" } }, true],
    ["an excluded kernel", { excludes: { minKernel: "4.8" } }, false],
  ];
  for (const [name, conditions, counts] of rows) {
    test(`a rule with ${name} ${counts ? "counts" : "does not count"}`, () => {
      expect(names(rule(conditions))).toEqual(counts ? ["x"] : []);
    });
  }

  test("names the machine with those it can also run", () => {
    const text = JSON.stringify({
      defaultAction: "SCMP_ACT_ALLOW",
      archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] }],
    });
    const filter = resolveSeccomp(decodeSeccompProfile(text), subject);
    expect(filter.architectures).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
  });

  test("takes the older form with one name, and keys in any case", () => {
    expect(names({ Syscalls: [{ Name: "y", ACTION: "SCMP_ACT_ALLOW", args: null }] })).toEqual([
      "y",
    ]);
  });
});

describe("decodeSeccompProfile() refuses", () => {
  const rows: readonly (readonly [string, string])[] = [
    ["no JSON", "{"],
    ["a list", "[]"],
    ["null", "null"],
    ["no default action", "{}"],
    ["an unknown action", '{"defaultAction":"SCMP_ACT_MAYBE"}'],
    ["a supervisor", '{"defaultAction":"SCMP_ACT_NOTIFY"}'],
    ["rules that are no list", '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":{}}'],
    [
      "a rule without names",
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}',
    ],
    [
      "an unknown operator",
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW","args":[{"op":"EQ"}]}]}',
    ],
    [
      "a kernel version that is none",
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"new"}}]}',
    ],
    [
      "both ways of naming machines",
      '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}',
    ],
  ];
  for (const [name, text] of rows) {
    test(name, () => {
      expect(() => decodeSeccompProfile(text)).toThrow("Decoding seccomp profile failed: ");
    });
  }
});

const hasProfile = existsSync(seccompProfilePath);

describe.skipIf(!hasProfile)(`the profile at ${seccompProfilePath}, with Docker's answers`, () => {
  function filterFor(capabilities: readonly string[]): RuntimeSeccomp {
    const profile = withDockerAnswers(
      decodeSeccompProfile(readFileSync(seccompProfilePath, "utf8")),
    );
    return resolveSeccomp(profile, { ...subject, capabilities });
  }

  /** What the rules without conditions on arguments say. */
  function answer(filter: RuntimeSeccomp, name: string): string {
    const rules = (filter.syscalls ?? []).filter((item) => item.names.includes(name));
    const plain = rules.filter((item) => item.args === undefined);
    if (plain.length === 0) return rules.length === 0 ? "default" : "conditional";
    return plain
      .map((item) => (item.action === "SCMP_ACT_ALLOW" ? "allow" : `errno ${item.errnoRet}`))
      .join(" and ");
  }

  const defaults: readonly (readonly [string, string])[] = [
    ["read", "allow"],
    ["clone", "conditional"],
    ["clone3", "errno 38"],
    ["socket", "conditional"],
    ["io_uring_setup", "errno 1"],
    ["mount", "errno 1"],
    ["unshare", "errno 1"],
    ["setns", "errno 1"],
    ["bpf", "errno 1"],
    ["keyctl", "errno 1"],
    ["ptrace", "allow"],
    ["chroot", "allow"],
    ["kexec_load", "errno 1"],
    ["fchmodat2", "allow"],
    ["a_call_of_the_future", "default"],
  ];
  for (const [name, expected] of defaults) {
    test(`answers ${name} by default: ${expected}`, () => {
      expect(answer(filterFor(defaultCapabilities), name)).toBe(expected);
    });
  }

  const capable: readonly (readonly [string, string, string])[] = [
    ["CAP_SYS_ADMIN", "mount", "allow"],
    ["CAP_SYS_ADMIN", "clone", "allow"],
    ["CAP_SYS_ADMIN", "clone3", "allow"],
    ["CAP_SYS_ADMIN", "syslog", "allow"],
    ["CAP_SYSLOG", "syslog", "allow"],
    ["CAP_BPF", "bpf", "allow"],
    ["CAP_BPF", "mount", "errno 1"],
    ["CAP_SYS_TIME", "settimeofday", "allow"],
    ["CAP_SYS_ADMIN", "keyctl", "errno 1"],
  ];
  for (const [capability, name, expected] of capable) {
    test(`answers ${name} with ${capability}: ${expected}`, () => {
      expect(answer(filterFor([...defaultCapabilities, capability]), name)).toBe(expected);
    });
  }

  test("knows no call twice with different answers", () => {
    const filter = filterFor(defaultCapabilities);
    const all = new Set((filter.syscalls ?? []).flatMap((item) => item.names));
    const doubtful = [...all].filter((name) =>
      /allow and errno|errno \d+ and allow/.test(answer(filter, name)),
    );
    expect(all.size).toBeGreaterThan(300);
    expect(doubtful).toEqual([]);
  });
});
