import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  cgroupPaths,
  cgroupPids,
  cgroupRoots,
  cgroupVersion,
  controllers,
  ensureCgroupMounts,
  killCgroup,
  oomKillCount,
  ownCgroup,
  readLimits,
  removeCgroup,
  removeUnusedCgroup,
  watchOom,
} from "./cgroup.ts";

const isRoot = process.getuid?.() === 0;
const name = `/tug-test-${process.pid}`;
const isFirst = cgroupVersion() === 1;

function make(path: string): ReadonlyMap<string, string> {
  const paths = cgroupPaths(path);
  for (const folder of paths.values()) mkdirSync(folder, { recursive: true });
  return paths;
}

/** Starts a shell in a cgroup; it runs `script` once it is inside. */
function startInside(path: string, script: string): ReturnType<typeof Bun.spawn> {
  const files = [...cgroupPaths(path).values()].map((folder) => join(folder, "cgroup.procs"));
  // A shell that has not got into every hierarchy ends; cpuset lets nobody in before it is set up.
  const enter = files
    .filter((file) => !file.includes("/cpuset/"))
    .map((file) => `echo $$ > ${file} && `)
    .join("");
  return Bun.spawn(["sh", "-c", `${enter}${script}`], { stdio: ["ignore", "ignore", "ignore"] });
}

async function until(fact: () => boolean): Promise<void> {
  for (let round = 0; round < 400 && !fact(); round += 1) await Bun.sleep(10);
  expect(fact()).toBe(true);
}

afterAll(async () => {
  if (!isRoot) return;
  killCgroup(name);
  await removeCgroup(name);
});

test("the version and the controllers agree with what is mounted", () => {
  expect(isFirst).toBe(existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
  expect(controllers()).toContain("memory");
  expect(controllers()).toContain("pids");
  expect(readFileSync("/proc/self/cgroup", "utf8")).toContain(`:${ownCgroup()}\n`);
});

test.skipIf(!isRoot)("ensureCgroupMounts() mounts once", () => {
  ensureCgroupMounts();
  expect(ensureCgroupMounts()).toEqual([]);
  if (isFirst) expect(controllers()).toContain("hugetlb");
});

test.each(["/../x", "/a/../../b", "a//b", "/a/./b"])("cgroupPaths(%j) is refused", (path) => {
  expect(() => cgroupPaths(path)).toThrow("invalid cgroup path");
});

test("a cgroup that is not there has no processes, kills and limits, and is removed", async () => {
  expect(cgroupPids("/tug-none")).toEqual([]);
  expect(oomKillCount("/tug-none")).toBe(0);
  expect(readLimits("/tug-none")).toEqual({});
  killCgroup("/tug-none");
  await removeCgroup("/tug-none");
  expect(removeCgroup("/")).rejects.toMatchObject({ kind: "invalid-argument" });
});

describe.skipIf(!isRoot)("a cgroup with processes", () => {
  test("cgroupPids() finds those below, killCgroup() ends all, removeCgroup() removes all", async () => {
    make(name);
    make(`${name}/below`);
    const outer = startInside(name, "sleep 60");
    const inner = startInside(`${name}/below`, "exec sleep 60");
    await until(() => cgroupPids(name).length >= 3);
    expect(cgroupPids(name)).toContain(outer.pid);
    expect(cgroupPids(`${name}/below`)).toEqual([inner.pid]);
    expect(removeCgroup(name)).rejects.toMatchObject({ kind: "conflict" });
    await Bun.sleep(300);
    killCgroup(name);
    await Promise.all([outer.exited, inner.exited]);
    await removeCgroup(name);
    for (const folder of cgroupPaths(name).values()) expect(existsSync(folder)).toBe(false);
  });

  test("removeUnusedCgroup() leaves what is in use, and what has something below", async () => {
    const made = cgroupRoots().map((root) => join(root, name));
    for (const folder of made) mkdirSync(join(folder, "below"), { recursive: true });
    const there = (): readonly string[] => made.filter((folder) => existsSync(folder));
    removeUnusedCgroup(name);
    expect(there()).toEqual(made);
    removeUnusedCgroup(`${name}/below`);
    const inside = startInside(name, "exec sleep 60");
    await until(() => cgroupPids(name).includes(inside.pid));
    removeUnusedCgroup(name);
    expect(there()).toContain(cgroupPaths(name).get(isFirst ? "memory" : "") ?? "");
    inside.kill();
    await inside.exited;
    await until(() => {
      removeUnusedCgroup(name);
      return there().length === 0;
    });
    expect(() => removeUnusedCgroup("/")).toThrow("not the root");
  });

  test("readLimits() reads what is set and leaves out what is not", async () => {
    const paths = make(name);
    expect(readLimits(name)).toEqual({});
    const write = (controller: string, file: string, value: string): void =>
      writeFileSync(join(paths.get("") ?? paths.get(controller) ?? "", file), value);
    write("memory", isFirst ? "memory.limit_in_bytes" : "memory.max", String(64 * 1024 * 1024));
    write("pids", "pids.max", "7");
    if (isFirst) write("cpu", "cpu.cfs_quota_us", "150000");
    else write("cpu", "cpu.max", "150000 100000");
    expect(readLimits(name)).toEqual({ memoryMaxBytes: 67_108_864, pidsMax: 7, cpuMax: 1.5 });
    await removeCgroup(name);
  });

  test("watchOom() reports a kill for want of memory once, and nothing at the removal", async () => {
    const memory = make(name);
    const file = isFirst ? "memory.limit_in_bytes" : "memory.max";
    writeFileSync(join(memory.get("") ?? memory.get("memory") ?? "", file), "4194304");
    let oomCount = 0;
    const watcher = watchOom(name, () => {
      oomCount += 1;
    });
    const greedy = startInside(name, "exec head -c 100000000 /dev/zero | exec tail");
    await greedy.exited;
    await until(() => oomKillCount(name) > 0 && oomCount > 0);
    await Bun.sleep(50);
    killCgroup(name);
    await removeCgroup(name);
    const before = oomCount;
    await Bun.sleep(50);
    expect(oomCount).toBe(before);
    watcher.close();
    watcher.close();
  });
});
