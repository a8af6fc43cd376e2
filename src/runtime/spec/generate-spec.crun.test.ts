/**
 * What the kernel says inside containers made from generated specs.
 *
 * The expected values are those seen in containers of Docker 28.5 on the same kernel; where they
 * differ, the row says so. Needs root and crun; the system calls need gcc and amd64 too.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureCgroupMounts } from "../../sys/cgroup.ts";
import { capabilityNames } from "../../sys/capability.ts";
import { generateSpec } from "./generate-spec.ts";
import { readHostFacts } from "./host-facts.ts";
import { formatRuntimeSpec } from "./rlimits.ts";
import type { SpecInput } from "./spec-input.ts";

const busybox = "/bin/busybox";
const canRun =
  process.getuid?.() === 0 && existsSync(busybox) && spawnSync("crun", ["--version"]).status === 0;
const canCompile = canRun && process.arch === "x64" && spawnSync("gcc", ["--version"]).status === 0;

let root: string;
let count = 0;

beforeAll(() => {
  if (!canRun) return;
  ensureCgroupMounts();
  root = mkdtempSync(join(tmpdir(), "tug-spec-"));
  for (const name of ["bin", "etc", "proc", "sys", "dev", "tmp", "bundle"]) {
    mkdirSync(join(root, name === "bundle" ? name : `fs/${name}`), { recursive: true });
  }
  copyFileSync(busybox, join(root, "fs/bin/busybox"));
  writeFileSync(join(root, "fs/etc/passwd"), "root:x:0:0::/root:\napp:x:1000:1000::/home/app:\n");
  writeFileSync(join(root, "fs/etc/group"), "app:x:1000:\nextra:x:2000:app\n");
});
afterAll(() => {
  if (canRun) rmSync(root, { recursive: true, force: true });
});

function runInside(script: string, changes: Partial<SpecInput> = {}): string {
  count += 1;
  const id = `tug-spec-test-${process.pid}-${count}`;
  const own = { kind: "private" } as const;
  const onHost = { kind: "host" } as const;
  const input: SpecInput = {
    containerId: id,
    hostname: "box",
    rootfs: join(root, "fs"),
    layerDirs: [join(root, "fs")],
    isRootReadOnly: false,
    args: ["busybox", "sh", "-c", script],
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
    cgroupsPath: `/${id}`,
    oomScoreAdj: 0,
    annotations: {},
    ...changes,
  };
  const spec = generateSpec(input, readHostFacts());
  writeFileSync(join(root, "bundle/config.json"), formatRuntimeSpec(spec));
  const argv = ["--root", join(root, "crun"), "run", "-b", join(root, "bundle"), id];
  const result = spawnSync("crun", argv, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return result.stdout + result.stderr;
}

describe.skipIf(!canRun)("a container of crun (needs root, crun, busybox)", () => {
  const all = readHostFacts()
    .boundingCapabilities.reduce(
      (sum, name) => sum | (1n << BigInt(capabilityNames.indexOf(name))),
      0n,
    )
    .toString(16)
    .padStart(16, "0");
  const none = "0000000000000000";
  const usual = "00000000a80425fb";
  // Inheritable, permitted, effective, bounding, ambient.
  const masks: readonly (readonly [string, Partial<SpecInput>, readonly string[]])[] = [
    ["by default", {}, [none, usual, usual, usual, none]],
    ["with none", { capDrop: ["ALL"] }, [none, none, none, none, none]],
    ["of another user", { user: "app" }, [none, none, none, usual, none]],
    ["when privileged", { isPrivileged: true }, [none, all, all, all, none]],
    ["of another user with all", { user: "app", capAdd: ["ALL"] }, [none, none, none, all, none]],
  ];
  for (const [name, changes, expected] of masks) {
    test(`has its capabilities ${name}`, () => {
      const text = runInside("busybox grep Cap /proc/self/status", changes);
      expect([...text.matchAll(/[0-9a-f]{16}/g)].map(([mask]) => mask)).toEqual([...expected]);
    });
  }

  test("sees the files of /dev that Docker's sees", () => {
    expect(
      runInside("cd /dev; echo *")
        .trim()
        .split(" ")
        .filter((name) => name !== "core"),
    ).toEqual(
      "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split(" "),
    );
  });

  test("may make the node of a disk, and not open it", () => {
    const script =
      "busybox mknod /tmp/disk b 7 0 && busybox head -c1 /tmp/disk; busybox rm /tmp/disk";
    expect(runInside(script)).toContain("Operation not permitted");
  });

  test("may not open fuse, unless it asks", () => {
    const open = "busybox mknod /tmp/f c 10 229; : < /tmp/f && echo open; busybox rm /tmp/f";
    expect(runInside(open)).not.toContain("open\n");
    if (!existsSync("/dev/fuse")) return;
    const fuse = { pathOnHost: "/dev/fuse", pathInContainer: "/dev/fuse", permissions: "r" };
    expect(runInside(": < /dev/fuse && echo open", { devices: [fuse] })).toContain("open\n");
  });

  test("sees nothing behind masked paths, and cannot write to read-only ones", () => {
    expect(runInside("busybox wc -c < /proc/keys; busybox ls /sys/firmware").trim()).toBe("0");
    const write = "echo 1 > /proc/sys/kernel/panic; echo 1 > /proc/irq/default_smp_affinity";
    expect(runInside(write).match(/Read-only file system/g)).toHaveLength(2);
  });

  test("has a read-only /sys and cgroup, privileged writable ones", () => {
    const script = "busybox mount | busybox grep -E ' /sys type| /sys/fs/cgroup/memory |cgroup2'";
    expect(runInside(script)).not.toContain("(rw");
    expect(runInside(script, { isPrivileged: true })).not.toContain("(ro");
  });

  test("runs as its user, with its groups, limits, folder and environment", () => {
    const text = runInside(
      "busybox id; busybox pwd; echo $HOME $HOSTNAME; ulimit -n; busybox grep NoNew /proc/self/status",
      {
        user: "app",
        groupAdd: ["5"],
        workingDir: "/made/here",
        securityOpt: ["no-new-privileges"],
        resources: { ulimits: [{ name: "nofile", soft: 100, hard: 200 }] },
      },
    );
    expect(text.split("\n")).toEqual([
      "uid=1000(app) gid=1000(app) groups=5,1000(app),2000(extra)",
      "/made/here",
      "/home/app box",
      "100",
      "NoNewPrivs:\t1",
      "",
    ]);
  });

  test("has sysctls of its own network, its domain name, and no more than it asked of IPC", () => {
    const script =
      "busybox cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/domainname /proc/sys/kernel/msgmax";
    const changes = { domainname: "ex.com", sysctls: { "kernel.msgmax": "4242" } };
    expect(runInside(script, changes)).toBe("0\nex.com\n4242\n");
  });

  test("joins the network of whoever runs the runtime", () => {
    const { kind } = { kind: "private" } as const;
    const inherited = { kind: "inherited" } as const;
    const host = { kind: "host" } as const;
    const rest = { pid: { kind }, ipc: { kind }, uts: { kind }, cgroup: host, user: host };
    const script = "busybox readlink /proc/self/ns/net";
    const link = spawnSync("readlink", ["/proc/self/ns/net"], { encoding: "utf8" }).stdout;
    // No sysctls: this network is the host's, since the test makes no sandbox.
    const spec = { namespaces: { ...rest, network: host } };
    expect(runInside(script, spec)).toBe(link);
    const keep = spawnSync("cat", ["/proc/sys/net/ipv4/ping_group_range"], { encoding: "utf8" });
    const range = keep.stdout.trim().replace("\t", " ");
    const start = spawnSync("cat", ["/proc/sys/net/ipv4/ip_unprivileged_port_start"], {
      encoding: "utf8",
    }).stdout.trim();
    const sysctls = {
      "net.ipv4.ping_group_range": range,
      "net.ipv4.ip_unprivileged_port_start": start,
    };
    expect(runInside(script, { namespaces: { ...rest, network: inherited }, sysctls })).toBe(link);
  });

  test("mounts what was asked, read-only through and through", () => {
    const source = join(root, "data");
    mkdirSync(source, { recursive: true });
    const mounts: SpecInput["mounts"] = [
      { type: "bind", source, target: "/a/b", isReadOnly: true, isRecursive: true },
      { type: "tmpfs", target: "/a", isReadOnly: false, isRecursive: true, options: ["size=1m"] },
    ];
    const script = "echo x > /a/b/file; echo x > /a/file && busybox mount | busybox grep ' /a'";
    const text = runInside(script, { mounts, isRootReadOnly: true });
    expect(text).toContain("can't create /a/b/file: Read-only file system");
    expect(text).toMatch(/tmpfs on \/a type tmpfs \(rw,nosuid,nodev,noexec,relatime,size=1024k\)/);
    expect(text).toMatch(/ on \/a\/b type \w+ \(ro,/);
  });
});

describe.skipIf(!canCompile)("system calls in a container (needs gcc and amd64 too)", () => {
  // Name, number, arguments, errno without more capabilities (0: done), errno with SYS_ADMIN.
  const calls: readonly (readonly [string, number, string, string, string])[] = [
    ["clone3", 435, "0,0", "ENOSYS", "EINVAL"],
    ["clone of a user namespace", 56, "0x10000000|17,0,0,0,0", "EPERM", ""],
    ["unshare", 272, "0x08000000", "EPERM", "ok"],
    ["mount", 165, "0,0,0,0,0", "EPERM", "EFAULT"],
    ["setns", 308, "-1,0", "EPERM", "EBADF"],
    ["io_uring_setup", 425, "0,0", "EPERM", "EPERM"],
    ["socket of the internet", 41, "2,1,0", "ok", "ok"],
    ["socket of the kernel's crypto", 41, "38,5,0", "EPERM", "EPERM"],
    ["socket of the hypervisor", 41, "40,1,0", "EPERM", "EPERM"],
    ["socket of audit", 41, "16,3,9", "ok", "ok"],
    ["keyctl", 250, "0,0,0,0,0", "EPERM", "EPERM"],
    ["bpf", 321, "0,0,0", "EPERM", "EINVAL"],
    ["perf_event_open", 298, "0,0,-1,-1,0", "EPERM", "EFAULT"],
    ["userfaultfd", 323, "0", "EPERM", "EPERM"],
    ["ptrace", 101, "-1,0,0,0", "ESRCH", "ESRCH"],
    ["personality asked", 135, "0xffffffffL", "ok", "ok"],
    ["name_to_handle_at", 303, "-1,0,0,0,0", "EFAULT", "EFAULT"],
    ["open_by_handle_at", 304, "-1,0,0", "EPERM", "EPERM"],
    ["cachestat", 451, "-1,0,0,0", "EBADF", "EBADF"],
    ["fsopen", 430, "0,0", "EPERM", "EFAULT"],
    ["syslog", 103, "3,0,0", "EPERM", ""],
    ["kexec_load", 246, "0,0,0,0", "EPERM", "EPERM"],
    ["pivot_root", 155, "0,0", "EPERM", "EPERM"],
    ["getpmsg", 181, "0", "EPERM", "EPERM"],
    ["a call that nobody knows", 999, "0", "ENOSYS", "ENOSYS"],
  ];

  function probe(changes: Partial<SpecInput>): ReadonlyMap<string, string> {
    const target = join(root, "fs/bin/probe");
    if (!existsSync(target)) {
      const source = calls.map(
        ([name, number, argumentsText]) =>
          `errno=0;r=syscall(${number},${argumentsText});if(r==0&&${number}==56)_exit(0);printf("%s\\t%s\\n","${name}",r<0?strerrorname_np(errno):"ok");`,
      );
      const program = `#define _GNU_SOURCE\n#include <stdio.h>\n#include <string.h>\n#include <errno.h>\n#include <unistd.h>\n#include <sys/syscall.h>\nint main(){long r;setvbuf(stdout,0,_IONBF,0);${source.join("\n")}return 0;}`;
      writeFileSync(join(root, "probe.c"), program);
      const built = spawnSync("gcc", ["-static", "-o", target, join(root, "probe.c")]);
      expect(built.stderr.toString()).toBe("");
    }
    const lines = runInside("/bin/probe", changes).trim().split("\n");
    return new Map(
      lines.map((line): [string, string] => [line.split("\t")[0] ?? "", line.split("\t")[1] ?? ""]),
    );
  }

  test("answer by default as Docker's, AF_ALG denied as in its newer versions", () => {
    const answers = probe({});
    for (const [name, , , expected] of calls)
      expect([name, answers.get(name)]).toEqual([name, expected]);
  });

  test("answer with SYS_ADMIN as Docker's", () => {
    const answers = probe({ capAdd: ["SYS_ADMIN"] });
    for (const [name, , , , expected] of calls) {
      if (expected !== "") expect([name, answers.get(name)]).toEqual([name, expected]);
    }
  });
});
