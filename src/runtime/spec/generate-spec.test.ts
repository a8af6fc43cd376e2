import { describe, expect, test } from "bun:test";
import { defaultCapabilities } from "./capabilities.ts";
import { type ExecInput, generateExecProcess, generateSpec } from "./generate-spec.ts";
import type { HostFacts } from "./host-facts.ts";
import { defaultMaskedPaths, defaultReadonlyPaths } from "./masked-paths.ts";
import { decodeSeccompProfile } from "../seccomp/seccomp.ts";
import type { SpecInput } from "./spec-input.ts";

const host: HostFacts = {
  boundingCapabilities: [...defaultCapabilities, "CAP_SYS_ADMIN"],
  kernelVersion: { major: 6, minor: 1 },
  architecture: "amd64",
  cgroupVersion: 2,
  cgroupSupport: {
    memory: true,
    swap: true,
    swappiness: false,
    reservation: true,
    oomKillDisable: false,
    cpuShares: true,
    cpuQuota: true,
    cpuRealtime: false,
    cpuset: true,
    pids: true,
    blkioWeight: true,
    blkioThrottle: true,
  },
  possibleCpus: [],
  onlineCpus: [0],
  memoryNodes: [0],
  rlimits: [],
  hardLimits: {},
  hasAppArmor: false,
  hasSelinux: false,
  seccompProfile: decodeSeccompProfile('{"defaultAction":"SCMP_ACT_ERRNO"}'),
  devices: () => [],
};
const own = { kind: "private" } as const;
const onHost = { kind: "host" } as const;
const base: SpecInput = {
  containerId: "c",
  hostname: "box",
  rootfs: "/r",
  layerDirs: [],
  isRootReadOnly: false,
  args: ["sh"],
  env: [],
  workingDir: "",
  user: "",
  groupAdd: [],
  hasTty: false,
  isPrivileged: false,
  capAdd: [],
  capDrop: [],
  securityOpt: [],
  devices: [],
  mounts: [],
  etcFiles: {},
  shmSizeBytes: 0,
  namespaces: { network: own, pid: own, ipc: own, uts: own, cgroup: onHost, user: onHost },
  sysctls: {},
  resources: {},
  cgroupsPath: "/tug/c",
  oomScoreAdj: 0,
  annotations: {},
};

function generate(changes: Partial<SpecInput> = {}, facts = host): ReturnType<typeof generateSpec> {
  return generateSpec({ ...base, ...changes }, facts);
}
function namespaces(changes: Partial<SpecInput["namespaces"]>): readonly string[] {
  const spec = generate({ namespaces: { ...base.namespaces, ...changes } });
  return (spec.linux?.namespaces ?? []).map(({ type, path }) => `${type}${path ?? ""}`);
}

describe("generateSpec()", () => {
  test("makes the process of root", () => {
    expect(generate().process).toMatchObject({
      args: ["sh"],
      cwd: "/",
      user: { uid: 0, gid: 0, umask: 0o022, additionalGids: [0] },
      noNewPrivileges: false,
      oomScoreAdj: 0,
    });
  });

  test("closes what a container must not see or change", () => {
    const { linux } = generate();
    expect(linux?.maskedPaths).toEqual(defaultMaskedPaths);
    expect(linux?.readonlyPaths).toEqual(defaultReadonlyPaths);
    expect(linux?.seccomp?.defaultAction).toBe("SCMP_ACT_ERRNO");
  });

  test("opens it for a privileged one", () => {
    const { linux } = generate({ isPrivileged: true, maskedPaths: ["/x"] });
    expect(linux).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
    expect(linux?.seccomp).toBeUndefined();
  });

  test("heeds paths that were asked for, and systempaths=unconfined", () => {
    const { linux } = generate({ maskedPaths: ["/x"], readonlyPaths: [] });
    expect(linux).toMatchObject({ maskedPaths: ["/x"], readonlyPaths: [] });
    const open = generate({ securityOpt: ["systempaths=unconfined"] });
    expect(open.linux).toMatchObject({ maskedPaths: [], readonlyPaths: [] });
  });

  const seccomp: readonly (readonly [readonly string[], boolean, string | undefined])[] = [
    [["seccomp=unconfined"], false, undefined],
    [["seccomp=builtin"], true, "SCMP_ACT_ERRNO"],
    [['seccomp={"defaultAction":"SCMP_ACT_LOG"}'], false, "SCMP_ACT_LOG"],
    [['seccomp={"defaultAction":"SCMP_ACT_LOG"}'], true, "SCMP_ACT_LOG"],
  ];
  for (const [securityOpt, isPrivileged, action] of seccomp) {
    test(`filters as ${securityOpt} says, privileged ${isPrivileged}`, () => {
      const { linux } = generate({ securityOpt, isPrivileged });
      expect(`${linux?.seccomp?.defaultAction}`).toBe(`${action}`);
    });
  }

  test("refuses to run without a filter where none is installed", () => {
    const { seccompProfile: _, ...bare } = host;
    expect(() => generate({}, bare)).toThrow("no seccomp profile is installed");
    expect(generate({ securityOpt: ["seccomp=unconfined"] }, bare).linux?.seccomp).toBeUndefined();
  });

  test("takes the engine's default for new privileges, until the container says otherwise", () => {
    const options = { hasDefaultNoNewPrivileges: true };
    expect(generate(options).process?.noNewPrivileges).toBe(true);
    const asked = { ...options, securityOpt: ["no-new-privileges=false"] };
    expect(generate(asked).process?.noNewPrivileges).toBe(false);
  });

  test("runs the init helper as the first process of an own PID namespace alone", () => {
    const withInit = generate({ initPath: "/usr/bin/tini" });
    expect(withInit.process?.args).toEqual(["/sbin/docker-init", "--", "sh"]);
    expect(withInit.mounts?.at(-1)).toMatchObject({
      destination: "/sbin/docker-init",
      source: "/usr/bin/tini",
    });
    const shared = { ...base.namespaces, pid: onHost };
    const without = generate({ initPath: "/usr/bin/tini", namespaces: shared });
    expect(without.process?.args).toEqual(["sh"]);
    expect(without.mounts?.some(({ source }) => source === "/usr/bin/tini")).toBe(false);
  });

  test("makes or joins namespaces, and leaves out the host's", () => {
    expect(namespaces({})).toEqual(["mount", "network", "uts", "pid", "ipc"]);
    expect(namespaces({ network: onHost, uts: onHost, pid: onHost, ipc: onHost })).toEqual([
      "mount",
    ]);
    expect(namespaces({ network: { kind: "inherited" }, ipc: { kind: "none" } })).toEqual([
      "mount",
      "network/proc/self/ns/net",
      "uts",
      "pid",
      "ipc",
    ]);
    expect(namespaces({ cgroup: own, pid: { kind: "path", path: "/p" } })).toEqual([
      "mount",
      "network",
      "uts",
      "pid/p",
      "ipc",
      "cgroup",
    ]);
    expect(() => namespaces({ user: own })).toThrow("not implemented");
  });

  test("names a host only in an own UTS namespace", () => {
    expect(generate().hostname).toBe("box");
    expect(generate({ namespaces: { ...base.namespaces, uts: onHost } }).hostname).toBeUndefined();
  });

  test("asks for the propagation that its mounts need", () => {
    expect(generate().linux?.rootfsPropagation).toBeUndefined();
  });

  const refusals: readonly (readonly [Partial<SpecInput>, string])[] = [
    [{ args: [] }, "no command specified"],
    [{ workingDir: "a" }, "the working directory 'a' is invalid, it needs to be an absolute path"],
    [{ oomScoreAdj: 2000 }, "Invalid value 2000, range for oom score adj is [-1000, 1000]"],
    [{ user: "nobody" }, "unable to find user nobody: no matching entries in passwd file"],
    [{ resources: { memoryBytes: 1 } }, "Minimum memory limit allowed is 6MB"],
    [{ securityOpt: ["x"] }, 'invalid --security-opt 1: "x"'],
  ];
  for (const [changes, message] of refusals) {
    test(`refuses ${JSON.stringify(changes)}`, () => {
      expect(() => generate(changes)).toThrow(message);
    });
  }
});

describe("generateExecProcess()", () => {
  const exec: ExecInput = {
    args: ["ls"],
    env: ["B=2"],
    workingDir: "",
    user: "",
    hasTty: true,
    isPrivileged: false,
  };
  const container = { ...base, env: ["A=1"], workingDir: "/w", user: "5:6", capDrop: ["ALL"] };

  test("is as the container, with what was added", () => {
    const made = generateExecProcess(exec, { ...container, initPath: "/i" }, host);
    expect(made).toMatchObject({
      args: ["ls"],
      cwd: "/w",
      terminal: true,
      user: { uid: 5, gid: 6 },
    });
    expect(made.capabilities?.bounding).toEqual([]);
    expect(made.env).toContain("A=1");
    expect(made.env).toContain("B=2");
    expect(made.env).toContain("TERM=xterm");
  });

  test("has all capabilities when privileged, as the user that was asked", () => {
    const asked = { ...exec, user: "0", isPrivileged: true, workingDir: "/x/../y" };
    const made = generateExecProcess(asked, container, host);
    expect(made.capabilities?.effective).toEqual(host.boundingCapabilities);
    expect(made.cwd).toBe("/y");
  });
});
