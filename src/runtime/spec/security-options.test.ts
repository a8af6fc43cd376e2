import { describe, expect, test } from "bun:test";
import { parseSecurityOptions } from "./security-options.ts";

const nothing = { labels: [], isSystemPathsUnconfined: false, hasWritableCgroups: false };

describe("parseSecurityOptions()", () => {
  const rows: readonly (readonly [readonly string[], object])[] = [
    [[], {}],
    [["no-new-privileges"], { hasNoNewPrivileges: true }],
    [["no-new-privileges:true"], { hasNoNewPrivileges: true }],
    [["no-new-privileges=false"], { hasNoNewPrivileges: false }],
    [["seccomp=unconfined"], { seccomp: { kind: "unconfined" } }],
    [["seccomp:unconfined"], { seccomp: { kind: "unconfined" } }],
    [["seccomp=builtin"], { seccomp: { kind: "builtin" } }],
    [['seccomp={"a":"b=c"}'], { seccomp: { kind: "custom", json: '{"a":"b=c"}' } }],
    [["apparmor=docker-default"], { apparmorProfile: "docker-default" }],
    [["label=disable", "label=type:x"], { labels: ["disable", "type:x"] }],
    [["systempaths=unconfined"], { isSystemPathsUnconfined: true }],
    [["writable-cgroups"], { hasWritableCgroups: true }],
  ];
  for (const [given, expected] of rows) {
    test(JSON.stringify(given), () => {
      expect(parseSecurityOptions(given)).toEqual({ ...nothing, ...expected });
    });
  }

  const refusals: readonly (readonly [string, string])[] = [
    ["foo", 'invalid --security-opt 1: "foo"'],
    ["", 'invalid --security-opt 1: ""'],
    ["seccomp", 'invalid --security-opt 1: "seccomp"'],
    ["foo=bar", 'invalid --security-opt 2: "foo=bar"'],
    ["no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'],
    ["systempaths=x", 'invalid --security-opt 2: "systempaths=x"'],
    ["SECCOMP=unconfined", 'invalid --security-opt 2: "SECCOMP=unconfined"'],
  ];
  for (const [given, message] of refusals) {
    test(`refuses ${JSON.stringify(given)}`, () => {
      expect(() => parseSecurityOptions([given])).toThrow(message);
    });
  }
});
