/** Resource limits: what create accepts is in force. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const isV1 = existsSync("/sys/fs/cgroup/memory");

/** A script that prints a limit's file, by the names of both versions. */
const file = (v1: string, v2: string): string => `cat /sys/fs/cgroup/${isV1 ? v1 : v2}`;

for (const name of clientNames) {
  const cli = engine.client(name);
  const inBusybox = async (flags: readonly string[], script: string): Promise<string> =>
    await cli.ok("run", "--rm", ...flags, "busybox", "sh", "-c", script);

  describe(`limits with ${name}`, () => {
    test("-m bounds memory", async () => {
      const said = await inBusybox(
        ["-m", "32m"],
        file("memory/memory.limit_in_bytes", "memory.max"),
      );
      expect(said).toBe("33554432");
    });

    test("--memory-reservation and --memory-swap", async () => {
      const flags = ["-m", "32m", "--memory-swap", "48m", "--memory-reservation", "16m"];
      const soft = file("memory/memory.soft_limit_in_bytes", "memory.low");
      expect(await inBusybox(flags, soft)).toBe("16777216");
      const swap = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
      if (isV1 && existsSync(swap)) expect(await inBusybox(flags, `cat ${swap}`)).toBe("50331648");
    });

    test("memory that is exceeded kills", async () => {
      const container = uniqueName();
      const flags = ["--name", container, "-m", "16m", "--memory-swap", "16m"];
      const result = await cli.run(["run", ...flags, "busybox", "tail", "/dev/zero"]);
      expect(result.exitCode).toBe(137);
      expect(at(await engine.inspect(container), "State", "OOMKilled")).toBe(true);
    });

    test("--cpus, or period and quota", async () => {
      const quota = file("cpu/cpu.cfs_quota_us", "cpu.max");
      expect(await inBusybox(["--cpus", ".5"], quota)).toMatch(/^50000/);
      const flags = ["--cpu-period", "50000", "--cpu-quota", "20000"];
      expect(await inBusybox(flags, quota)).toMatch(/^20000/);
    });

    test("--cpu-shares", async () => {
      const said = await inBusybox(["-c", "512"], file("cpu/cpu.shares", "cpu.weight"));
      expect(said).toBe(isV1 ? "512" : "20");
    });

    test("--cpuset-cpus", async () => {
      const said = await inBusybox(
        ["--cpuset-cpus", "0"],
        file("cpuset/cpuset.cpus", "cpuset.cpus"),
      );
      expect(said).toBe("0");
    });

    test("--pids-limit stops a fork bomb", async () => {
      const script = "for i in $(seq 20); do sleep 1 & done; wait";
      const result = await cli.run([
        "run",
        "--rm",
        "--pids-limit",
        "5",
        "busybox",
        "sh",
        "-c",
        script,
      ]);
      expect(result.stderr).toMatch(/can't fork/i);
    });

    test("--ulimit", async () => {
      const said = await inBusybox(["--ulimit", "nofile=100:200"], "ulimit -Sn; ulimit -Hn");
      expect(said).toBe("100\n200");
    });

    test("--blkio-weight is accepted or refused by name, never dropped silently", async () => {
      const container = uniqueName();
      const args = ["run", "--name", container, "--blkio-weight", "300", "busybox", "true"];
      const result = await cli.run(args);
      if (result.exitCode === 0) {
        const weight = at(await engine.inspect(container), "HostConfig", "BlkioWeight");
        // Docker: discards it with a warning where the kernel cannot, seen in 28.5
        if (weight !== 300) expect(result.stderr).toMatch(/discarded/);
      } else {
        expect(result.stderr).toMatch(/blkio|weight/i);
      }
    });

    test("--shm-size", async () => {
      expect(await inBusybox(["--shm-size", "1m"], "df -k /dev/shm | tail -1")).toMatch(/ 1024 /);
    });

    test("--oom-score-adj and --sysctl", async () => {
      expect(await inBusybox(["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj")).toBe(
        "500",
      );
      const flags = ["--sysctl", "net.ipv4.ip_local_port_range=1024 2000"];
      expect(await inBusybox(flags, "cat /proc/sys/net/ipv4/ip_local_port_range")).toMatch(
        /1024\s+2000/,
      );
    });

    test("limits that cannot be are refused with a sentence", async () => {
      const refuse = async (...flags: readonly string[]): Promise<string> =>
        await cli.fails("run", "--rm", ...flags, "busybox", "true");
      expect(await refuse("-m", "1m")).toMatch(/Minimum memory limit allowed is 6MB/);
      expect(await refuse("-m", "x")).toMatch(/invalid size|invalid argument/i);
      expect(await refuse("--cpus", "9999")).toMatch(/range of CPUs is from/i);
      expect(await refuse("-m", "32m", "--memory-swap", "16m")).toMatch(
        /memoryswap limit should be larger/i,
      );
      expect(await refuse("--cpuset-cpus", "4096")).toMatch(/cpus|CPU/);
      expect(await refuse("--sysctl", "kernel.panic=1")).toMatch(/kernel\.panic/);
      expect(await refuse("--ulimit", "nosuch=1")).toMatch(/ulimit/);
    });
  });
}

describe("limits by API", () => {
  test("inspect and the record keep them through a restart of the container", async () => {
    const container = uniqueName();
    const HostConfig = { Memory: 33_554_432, PidsLimit: 50, CpuShares: 256 };
    const id = await engine.runDetached(
      { Image: "busybox", Cmd: ["sleep", "60"], HostConfig },
      container,
    );
    await engine.api("POST", `/containers/${id}/restart?t=0`);
    expect(at(await engine.inspect(id), "HostConfig")).toMatchObject(HostConfig);
  });
});
