import { describe, expect, test } from "bun:test";
import { findMount } from "./_mount-table.ts";
import { type MountPlanInput, planMounts } from "./mounts.ts";
import type { MountInput } from "./spec-input.ts";
import { mergeTmpfsOptions } from "./tmpfs-options.ts";

const own = { kind: "private" } as const;
const base: MountPlanInput = {
  mounts: [],
  etcFiles: {},
  isPrivileged: false,
  isRootReadOnly: false,
  hasWritableCgroups: false,
  shmSizeBytes: 0,
  namespaces: { network: own, pid: own, ipc: own, uts: own, cgroup: own, user: { kind: "host" } },
};
const host = { kernelVersion: { major: 6, minor: 1 } };

function plan(changes: Partial<MountPlanInput>, facts = host): readonly string[] {
  return planMounts({ ...base, ...changes }, facts).mounts.map(
    ({ destination, type, source, options = [] }) => `${destination} ${type} ${source} ${options}`,
  );
}
function bind(changes: Partial<MountInput> = {}): MountInput {
  return {
    type: "bind",
    source: "/tmp",
    target: "/data",
    isReadOnly: false,
    isRecursive: true,
    ...changes,
  };
}

describe("planMounts()", () => {
  test("has Docker's defaults", () => {
    expect(plan({})).toEqual([
      "/proc proc proc nosuid,noexec,nodev",
      "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
      "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
      "/sys sysfs sysfs nosuid,noexec,nodev,ro",
      "/sys/fs/cgroup cgroup cgroup ro,nosuid,noexec,nodev",
      "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
      "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864",
    ]);
  });

  test("lets a privileged container write to /sys, unless its root is read-only", () => {
    expect(plan({ isPrivileged: true })).toContain("/sys sysfs sysfs nosuid,noexec,nodev");
    expect(plan({ isPrivileged: true })).toContain(
      "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev",
    );
    expect(plan({ isPrivileged: true, isRootReadOnly: true })).toContain(
      "/sys sysfs sysfs nosuid,noexec,nodev,ro",
    );
  });

  test("shares, sizes or leaves out /dev/shm", () => {
    expect(plan({ shmPath: "/h/shm" })).toContain("/dev/shm bind /h/shm rbind,rprivate");
    expect(plan({ shmSizeBytes: 5 })[6]).toEndWith("size=5");
    const namespaces = { ...base.namespaces, ipc: { kind: "none" } as const };
    expect(plan({ namespaces }).some((line) => line.startsWith("/dev/shm"))).toBe(false);
  });

  const options: readonly (readonly [string, Partial<MountInput>, string])[] = [
    ["a bind", {}, "rbind,rprivate"],
    ["a bind of one mount alone", { isRecursive: false }, "bind,rprivate"],
    ["a read-only bind", { isReadOnly: true }, "rbind,rro,rprivate"],
    ["read-only at the top", { isReadOnly: true, readOnlyDepth: "top" }, "rbind,ro,rprivate"],
  ];
  for (const [name, changes, expected] of options) {
    test(`writes ${name}`, () => {
      expect(plan({ mounts: [bind(changes)] })).toContain(`/data bind /tmp ${expected}`);
    });
  }

  test("makes only the mount itself read-only on a kernel that can no more", () => {
    const old = { kernelVersion: { major: 5, minor: 11 } };
    expect(plan({ mounts: [bind({ isReadOnly: true })] }, old)).toContain(
      "/data bind /tmp rbind,ro,rprivate",
    );
    const forced = bind({ isReadOnly: true, readOnlyDepth: "forced" });
    expect(() => plan({ mounts: [forced] }, old)).toThrow("needs Linux 5.12");
  });

  test("makes parents before children, and its own files last", () => {
    const mounts = [bind({ target: "/a/b/c" }), bind({ target: "/z" }), bind({ target: "/a//b/" })];
    const lines = plan({ mounts, etcFiles: { hosts: "/h/hosts" }, initPath: "/h/init" });
    expect(lines.slice(7).map((line) => line.split(" ")[0])).toEqual([
      "/z",
      "/a/b",
      "/a/b/c",
      "/etc/hosts",
      "/sbin/docker-init",
    ]);
  });

  test("lets a mount take the place of a default one and of its own files", () => {
    const mounts = [bind({ target: "/dev/shm" }), bind({ target: "/etc/hosts" })];
    const lines = plan({ mounts, etcFiles: { hosts: "/h/hosts", resolvConf: "/h/resolv" } });
    expect(lines.filter((line) => /^\/dev\/shm|^\/etc/.test(line))).toEqual([
      "/dev/shm bind /tmp rbind,rprivate",
      "/etc/hosts bind /tmp rbind,rprivate",
      "/etc/resolv.conf bind /h/resolv rbind,rprivate",
    ]);
    const dev = plan({ mounts: [bind({ target: "/dev" })] });
    expect(dev.filter((line) => line.startsWith("/dev"))).toEqual([
      "/dev bind /tmp rbind,rprivate",
    ]);
  });

  test("lets nobody write to its own files under a read-only root", () => {
    const lines = plan({ isRootReadOnly: true, etcFiles: { hostname: "/h/n" } });
    expect(lines).toContain("/etc/hostname bind /h/n rbind,ro,rprivate");
  });

  const refusals: readonly (readonly [string, readonly MountInput[], string])[] = [
    ["the root", [bind({ target: "/" })], "destination can't be '/'"],
    ["the root in disguise", [bind({ target: "/a/../" })], "destination can't be '/'"],
    ["a relative target", [bind({ target: "a" })], "mount path must be absolute"],
    ["/proc", [bind({ target: "/proc" })], "not of type proc"],
    ["a part of /proc", [bind({ target: "/proc/sys" })], "inside /proc"],
    ["a part of /proc in disguise", [bind({ target: "/x/../proc//self/" })], "inside /proc"],
    ["a tmpfs on /proc", [bind({ type: "tmpfs", target: "/proc/acpi" })], "inside /proc"],
    [
      "two mounts on one target",
      [bind(), bind({ target: "/data/" })],
      "Duplicate mount point: /data",
    ],
    ["a relative source", [bind({ source: "tmp" })], "no absolute path"],
    ["an unknown propagation", [bind({ propagation: "odd" })], "invalid propagation mode: odd"],
    [
      "sharing what is not shared",
      [bind({ source: "/proc/self", propagation: "rshared" })],
      "but it is not a shared mount",
    ],
  ];
  for (const [name, mounts, message] of refusals) {
    test(`refuses ${name}`, () => expect(() => plan({ mounts })).toThrow(message));
  }

  test("allows what every runtime allows inside /proc", () => {
    const mounts = [bind({ source: "/proc", target: "/proc" }), bind({ target: "/proc/uptime" })];
    expect(plan({ mounts }).filter((line) => line.startsWith("/proc"))).toHaveLength(2);
  });
});

describe("mergeTmpfsOptions()", () => {
  const rows: readonly (readonly [readonly string[], string])[] = [
    [[], "noexec,nosuid,nodev,rprivate"],
    [["size=1m"], "noexec,nosuid,nodev,rprivate,size=1m"],
    [["exec", "suid", "dev"], "exec,suid,dev,rprivate"],
    [["exec,noexec", "size=1m", "size=2m"], "noexec,nosuid,nodev,rprivate,size=2m"],
    [["ro", "mode=1777", "uid=5", ""], "noexec,nosuid,nodev,rprivate,ro,mode=1777,uid=5"],
  ];
  for (const [asked, expected] of rows) {
    test(JSON.stringify(asked), () => expect(mergeTmpfsOptions(asked).join()).toBe(expected));
  }
  for (const option of ["foo", "size=", "size=x", "mode=9", "context=x", "bind", "size"]) {
    test(`refuses ${option}`, () => {
      expect(() => mergeTmpfsOptions([option])).toThrow(`invalid tmpfs option "${option}"`);
    });
  }
});

test("findMount() takes the longest target, the later of equals, and no half names", () => {
  const entries = ["/", "/a", "/a/b", "/a/b"].map((target, index) => ({
    target,
    propagation: [`${index}`],
  }));
  expect(findMount(entries, "/a/b/c")?.propagation).toEqual(["3"]);
  expect(findMount(entries, "/a/bc")?.target).toBe("/a");
  expect(findMount(entries, "/ab")?.target).toBe("/");
});
