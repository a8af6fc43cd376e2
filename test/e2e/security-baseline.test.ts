/** What a container may not do, unless it was told that it may. */
import { describe, expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { clientNames } from "../support/clients.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { at } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

for (const name of clientNames) {
  const cli = engine.client(name);
  const inBusybox = async (flags: readonly string[], script: string): Promise<string> =>
    await cli.ok("run", "--rm", ...flags, "busybox", "sh", "-c", script);
  const status = async (...flags: readonly string[]): Promise<Record<string, string>> => {
    const said = await inBusybox(flags, "cat /proc/self/status");
    return Object.fromEntries(
      said.split("\n").map((line) => {
        const [key = "", value = ""] = line.split(/:\s*/);
        return [key, value];
      }),
    );
  };

  describe(`capabilities with ${name}`, () => {
    test("are Docker's fourteen, and none is inheritable or ambient", async () => {
      expect(await status()).toMatchObject({
        CapBnd: "00000000a80425fb",
        CapEff: "00000000a80425fb",
        CapPrm: "00000000a80425fb",
        CapInh: "0000000000000000",
        CapAmb: "0000000000000000",
      });
    });

    test("another user has none of them", async () => {
      const found = await status("-u", "1000");
      expect(found["CapEff"]).toBe("0000000000000000");
      expect(found["CapBnd"]).toBe("00000000a80425fb");
    });

    test("--cap-drop and --cap-add", async () => {
      expect((await status("--cap-drop", "ALL"))["CapBnd"]).toBe("0000000000000000");
      expect((await status("--cap-drop", "all", "--cap-add", "chown"))["CapEff"]).toBe(
        "0000000000000001",
      );
      expect((await status("--cap-add", "CAP_NET_ADMIN"))["CapEff"]).toBe("00000000a80435fb");
      const chown = ["busybox", "chown", "1", "/tmp"];
      await cli.fails("run", "--rm", "--cap-drop", "CHOWN", ...chown);
      await cli.ok("run", "--rm", "--cap-drop", "ALL", "--cap-add", "CHOWN", ...chown);
    });

    test("unknown ones are refused", async () => {
      const said = await cli.fails("run", "--rm", "--cap-add", "NOSUCH", "busybox", "true");
      expect(said).toMatch(/unknown capability: "(CAP_)?NOSUCH"/);
    });
  });

  describe(`confinement with ${name}`, () => {
    test("seccomp filters, and can be switched off", async () => {
      expect((await status())["Seccomp"]).toBe("2");
      expect((await status("--security-opt", "seccomp=unconfined"))["Seccomp"]).toBe("0");
    });

    test("a seccomp profile of one's own is obeyed", async () => {
      const profile = `${engine.folder}/${uniqueName("profile")}.json`;
      const rule = {
        names: ["chmod", "fchmod", "fchmodat", "fchmodat2"],
        action: "SCMP_ACT_ERRNO",
      };
      await Bun.write(
        profile,
        JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }),
      );
      const flags = ["run", "--rm", "--security-opt", `seccomp=${profile}`, "busybox"];
      expect(await cli.fails(...flags, "chmod", "1", "/tmp")).toMatch(/not permitted/);
    });

    test("mount, unshare and keyctl are out of reach", async () => {
      for (const command of [
        ["mount", "-t", "tmpfs", "x", "/mnt"],
        ["unshare", "-m", "true"],
        ["insmod", "x.ko"],
      ]) {
        const result = await cli.run(["run", "--rm", "busybox", ...command]);
        expect(result.exitCode).not.toBe(0);
      }
    });

    test("no-new-privileges is honoured", async () => {
      expect((await status())["NoNewPrivs"]).toBe("0");
      expect((await status("--security-opt", "no-new-privileges"))["NoNewPrivs"]).toBe("1");
    });

    test("namespaces are its own, and shared when asked", async () => {
      const kinds = ["pid", "mnt", "net", "ipc", "uts"];
      const links = kinds.map((kind) => `readlink /proc/self/ns/${kind}`).join("; ");
      const inside = (await inBusybox([], links)).split("\n");
      for (const [index, kind] of kinds.entries()) {
        expect(inside[index]).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
      }
      if (referenceHost !== undefined) return;
      const shared = ["--pid", "host", "--ipc", "host", "--uts", "host"];
      const script =
        "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts";
      expect((await inBusybox(shared, script)).split("\n")).toEqual(
        ["pid", "ipc", "uts"].map((kind) => readlinkSync(`/proc/self/ns/${kind}`)),
      );
    });

    test("--pid and --ipc of another container", async () => {
      const other = uniqueName();
      await cli.ok("run", "-d", "--name", other, "--ipc", "shareable", "busybox", "sleep", "61");
      expect(await inBusybox(["--pid", `container:${other}`], "ps")).toContain("sleep 61");
      const script = "readlink /proc/self/ns/ipc";
      expect(await inBusybox(["--ipc", `container:${other}`], script)).toBe(
        await cli.ok("exec", other, "readlink", "/proc/self/ns/ipc"),
      );
    });

    test("proc and sys are masked and read-only", async () => {
      const files = "kcore keys timer_list sched_debug latency_stats";
      const script = `for f in ${files}; do test -e /proc/$f && wc -c </proc/$f; done; true`;
      expect(await inBusybox([], script)).toMatch(/^(0\n?)+$/);
      for (const target of [
        "/proc/sys/vm/swappiness",
        "/proc/sysrq-trigger",
        "/sys/kernel/profiling",
      ]) {
        const said = await cli.fails("run", "--rm", "busybox", "sh", "-c", `echo 1 >${target}`);
        expect(said).toMatch(/Read-only file system|Permission denied|nonexistent directory/);
      }
      const open = ["--security-opt", "systempaths=unconfined"];
      expect(await inBusybox(open, "grep -c ' /proc/sys ' /proc/mounts || true")).toBe("0");
    });

    test("/dev has what Docker gives and nothing of the host", async () => {
      const said = await inBusybox([], "ls /dev");
      expect(
        said
          .split("\n")
          .filter((entry) => entry !== "core")
          .toSorted(),
      ).toEqual([
        ...["fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr"],
        ...["stdin", "stdout", "tty", "urandom", "zero"],
      ]);
    });

    test("a device node that the container makes cannot be opened", async () => {
      const script = "mknod /tmp/disk b 7 0; dd if=/tmp/disk of=/dev/null count=1";
      expect(await cli.fails("run", "--rm", "busybox", "sh", "-c", script)).toMatch(
        /not permitted/,
      );
    });

    test("--device brings one in, with its rights", async () => {
      const script = "ls -l /dev/tap; head -c1 /dev/tap | wc -c";
      const said = await inBusybox(["--device", "/dev/zero:/dev/tap:r"], script);
      expect(said).toMatch(/^c.* 1, +5 /);
      expect(said).toMatch(/1$/);
      const missing = ["run", "--rm", "--device", "/dev/no-such", "busybox", "true"];
      expect(await cli.fails(...missing)).toContain("/dev/no-such");
    });
  });

  describe(`--privileged with ${name}`, () => {
    test("has every capability of the daemon, no filter and no masks", async () => {
      const found = await status("--privileged");
      expect(found["Seccomp"]).toBe("0");
      expect(BigInt(`0x${found["CapEff"]}`)).toBeGreaterThan(0xa80425fbn);
      const script = "mkdir /m && mount -t tmpfs x /m && echo mounted; ls /dev | wc -l";
      const said = await inBusybox(["--privileged"], script);
      expect(said).toMatch(/^mounted\n/);
      expect(Number(said.split("\n")[1])).toBeGreaterThan(20);
    });

    test("exec --privileged has them in a container that has not", async () => {
      const container = await cli.ok("run", "-d", "busybox", "sleep", "60");
      const said = await cli.ok("exec", "--privileged", container, "cat", "/proc/self/status");
      const effective = /CapEff:\s*([0-9a-f]+)/.exec(said)?.[1] ?? "0";
      expect(BigInt(`0x${effective}`)).toBeGreaterThan(0xa80425fbn);
    });
  });

  describe(`users with ${name}`, () => {
    test("numbers out of range are refused, not wrapped to root", async () => {
      for (const user of ["4294967296", "-1", "99999999999999999999"]) {
        const said = await cli.fails("run", "--rm", "-u", user, "busybox", "id", "-u");
        expect(said).not.toMatch(/^0$/m);
      }
    });
  });
}

describe("security by API", () => {
  test("bad security options are refused", async () => {
    for (const SecurityOpt of [["nosuch=1"], ["seccomp={"], ["no-new-privileges=maybe"]]) {
      const answer = await engine.api("POST", "/containers/create", {
        Image: "busybox",
        HostConfig: { SecurityOpt },
      });
      const started =
        answer.status === 201
          ? await engine.api("POST", `/containers/${String(at(answer.json, "Id"))}/start`)
          : answer;
      expect(started.status).toBeGreaterThanOrEqual(400);
      expect(started.message).not.toBe("");
    }
  });

  test("the seccomp profile is told by info", async () => {
    const info = await engine.api("GET", "/info");
    expect(JSON.stringify(at(info.json, "SecurityOptions"))).toContain("name=seccomp");
  });
});
