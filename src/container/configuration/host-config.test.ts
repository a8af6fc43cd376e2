import { describe, expect, test } from "bun:test";
import type { HostConfig } from "../../api/container-config.ts";
import { readHostFacts } from "../../runtime/spec/host-facts.ts";
import { emptyHostConfig } from "../test-stack.ts";
import { completeHostConfig } from "./host-config.ts";

const defaults = {
  runtimes: { crun: { path: "/usr/bin/crun", args: [] } },
  defaultRuntime: "crun",
  logOptions: {},
};
const host = readHostFacts();

function complete(asked: Partial<HostConfig>): ReturnType<typeof completeHostConfig> {
  return completeHostConfig({ ...emptyHostConfig, ...asked }, { host, defaults });
}

describe("completeHostConfig()", () => {
  test("fills in what Docker shows", () => {
    const { hostConfig, warnings } = complete({});
    expect(warnings).toEqual([]);
    expect(hostConfig).toMatchObject({
      NetworkMode: "bridge",
      RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
      LogConfig: { Type: "json-file", Config: {} },
      IpcMode: "private",
      ShmSize: 67_108_864,
      OomKillDisable: false,
      PidsLimit: null,
      Runtime: "crun",
      Binds: null,
    });
    expect(hostConfig.MaskedPaths).toContain("/proc/kcore");
    expect(complete({ Privileged: true }).hostConfig.MaskedPaths).toBeNull();
    expect(complete({ MaskedPaths: [] }).hostConfig.MaskedPaths).toEqual([]);
    expect(complete({ PidsLimit: -1 }).hostConfig.PidsLimit).toBeNull();
    expect(complete({ NetworkMode: "default" }).hostConfig.NetworkMode).toBe("bridge");
  });

  test("warns of published ports that the host's network discards", () => {
    const ports = { "80/tcp": [{ HostIp: "", HostPort: "80" }] };
    expect(complete({ NetworkMode: "host", PortBindings: ports }).warnings).toEqual([
      "Published ports are discarded when using host network mode",
    ]);
  });

  const policy = (Name: string, MaximumRetryCount: number) => ({ Name, MaximumRetryCount });
  const refusals: readonly (readonly [Partial<HostConfig>, string])[] = [
    [{ Memory: 1000 }, "Minimum memory limit allowed is 6MB"],
    [{ IpcMode: "foo" }, "invalid IPC mode: foo"],
    [{ PidMode: "foo" }, "invalid PID mode: foo"],
    [{ UTSMode: "foo" }, "invalid UTS mode: foo"],
    [{ CgroupnsMode: "foo" }, "invalid cgroup namespace mode: foo"],
    [
      { NetworkMode: "container:" },
      "invalid network mode: invalid container format container:<name|id>",
    ],
    [{ ShmSize: -1 }, "SHM size can not be less than 0"],
    [{ OomScoreAdj: 5000 }, "Invalid value 5000, range for oom score adj is [-1000, 1000]"],
    [{ Runtime: "foo" }, "unknown or invalid runtime name: foo"],
    [{ Isolation: "hyperv" }, "invalid isolation (hyperv): linux only supports 'default'"],
    [
      { IOMaximumIOps: 2 },
      "invalid option: QoS maximum IOPs configuration is not supported on linux",
    ],
    [
      { RestartPolicy: policy("foo", 0) },
      "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
    ],
    [
      { RestartPolicy: policy("always", 3) },
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ],
    [
      { RestartPolicy: policy("on-failure", -3) },
      "invalid restart policy: maximum retry count cannot be negative",
    ],
    [
      { RestartPolicy: policy("always", 0), AutoRemove: true },
      "can't create 'AutoRemove' container with restart policy",
    ],
    [{ CapAdd: ["FOO"] }, 'invalid CapAdd: unknown capability: "CAP_FOO"'],
    [{ SecurityOpt: ["foo"] }, 'invalid --security-opt 1: "foo"'],
    [
      { LogConfig: { Type: "foo", Config: null } },
      'error looking up logging plugin foo: plugin "foo" not found',
    ],
    [
      { LogConfig: { Type: "json-file", Config: { foo: "x" } } },
      "unknown log opt 'foo' for json-file log driver",
    ],
    [
      { LogConfig: { Type: "json-file", Config: { "max-file": "0" } } },
      "max-file cannot be less than 1",
    ],
    [{ ExtraHosts: ["foo"] }, 'bad format for add-host: "foo"'],
    [{ ExtraHosts: ["foo:x"] }, 'invalid IP address in add-host: "x"'],
    [
      { Annotations: { "": "x" } },
      "invalid Annotations: the empty string is not permitted as an annotation key",
    ],
    [{ Ulimits: [{ Name: "foo", Soft: 1, Hard: 1 }] }, "invalid ulimit type: foo"],
  ];
  test.each([...refusals])("refuses %j", (asked, message) => {
    expect(() => complete(asked)).toThrow(
      expect.objectContaining({ kind: "invalid-argument", message }),
    );
  });

  const later: readonly Partial<HostConfig>[] = [
    { RestartPolicy: policy("unless-stopped", 0) },
    { Links: ["a:b"] },
    { StorageOpt: { size: "1G" } },
    { UsernsMode: "private" },
    {
      DeviceRequests: [
        { Driver: "nvidia", Count: -1, DeviceIDs: null, Capabilities: null, Options: null },
      ],
    },
  ];
  test.each([...later])("says what comes later: %j", (asked) => {
    expect(() => complete(asked)).toThrow(
      expect.objectContaining({
        kind: "not-implemented",
        message: expect.stringContaining(`HostConfig.${Object.keys(asked)[0]}`),
      }),
    );
  });
});
