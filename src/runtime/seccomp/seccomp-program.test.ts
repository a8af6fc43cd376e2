import { expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import type { RuntimeSeccomp, RuntimeSpec } from "../../oci/runtime-spec.ts";
import { ensureCgroupMounts } from "../../sys/cgroup.ts";
import { run, selfExecutable } from "../../sys/process/process.ts";
import { compileSeccomp } from "./seccomp-program.ts";
import { readHostFacts } from "../spec/host-facts.ts";
import { resolveSeccomp } from "./seccomp.ts";
import { openSeccompPrograms } from "./seccomp-programs.ts";

const filter: RuntimeSeccomp = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
  syscalls: [
    { names: ["read", "write", "exit", "no_such_call"], action: "SCMP_ACT_ALLOW" },
    { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 },
    {
      names: ["personality"],
      action: "SCMP_ACT_ALLOW",
      args: [{ index: 0, value: 0xffffffff, op: "SCMP_CMP_EQ" }],
    },
    {
      names: ["clone"],
      action: "SCMP_ACT_ALLOW",
      args: [{ index: 0, value: 0x7e020000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
    },
    {
      names: ["socket"],
      action: "SCMP_ACT_ALLOW",
      args: [
        { index: 0, value: 38, op: "SCMP_CMP_LT" },
        { index: 0, value: 39, op: "SCMP_CMP_EQ" },
      ],
    },
  ],
};

const hasCrun = existsSync("/usr/bin/crun") && process.getuid?.() === 0 && process.arch === "x64";
if (!hasCrun) console.log("skipped: comparing filter programs needs root, crun and amd64");

/** The filter of a container with one capability. */
function defaultFilter(): RuntimeSeccomp {
  const { seccompProfile, architecture, kernelVersion } = readHostFacts();
  if (seccompProfile === undefined) throw new EngineError("unavailable", "no seccomp profile");
  return resolveSeccomp(seccompProfile, {
    capabilities: ["CAP_CHOWN"],
    architecture,
    kernelVersion,
  });
}

test.skipIf(!hasCrun)(
  "compileSeccomp() makes the very program that the runtime makes",
  async () => {
    ensureCgroupMounts();
    const root = mkdtempSync("/tmp/tug-bpf-");
    const bundle = join(root, "b");
    for (const name of ["proc", "dev", "sys"]) {
      mkdirSync(join(bundle, "rootfs", name), { recursive: true });
    }
    const seccomp = defaultFilter();
    const spec = {
      ociVersion: "1.0.2",
      process: { user: { uid: 0, gid: 0 }, args: ["/nothing"], cwd: "/" },
      root: { path: "rootfs" },
      mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
      linux: { namespaces: [{ type: "mount" }, { type: "pid" }], seccomp },
    };
    writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
    const crun = ["/usr/bin/crun", "--root", join(root, "state")];
    const id = `bpf${process.pid}`;
    try {
      writeFileSync(join(bundle, "rootfs/nothing"), "", { mode: 0o755 });
      const made = await run({ argv: [...crun, "create", "--bundle", bundle, id] });
      expect([made.exitCode, made.stderr]).toEqual([0, ""]);
      const theirs = readFileSync(join(root, "state", id, "seccomp.bpf"));
      expect(Buffer.from(compileSeccomp(seccomp)).equals(theirs)).toBe(true);
    } finally {
      await run({ argv: [...crun, "delete", "--force", id] });
      rmSync(root, { recursive: true, force: true });
    }
  },
);

test("compileSeccomp() refuses an action that it does not know", () => {
  expect(() => compileSeccomp({ defaultAction: "SCMP_ACT_NOTIFY" })).toThrow(/SCMP_ACT_NOTIFY/);
});

test("addTo() gives the program from the second time on, and leaves unfiltered specs alone", async () => {
  const programs = openSeccompPrograms({
    command: [...selfExecutable(), "seccomp"],
    logger: silentLogger,
  });
  const spec = { ociVersion: "1.0.2", annotations: { a: "b" }, linux: { seccomp: filter } };
  expect(programs.addTo(spec as RuntimeSpec)).toBe(spec as RuntimeSpec);
  await programs.idle();
  const { annotations } = programs.addTo(spec as RuntimeSpec);
  expect(annotations?.["a"]).toBe("b");
  const program = Buffer.from(annotations?.["run.oci.seccomp_bpf_data"] ?? "", "base64");
  expect(program.equals(Buffer.from(compileSeccomp(filter)))).toBe(true);
  const bare: RuntimeSpec = { ociVersion: "1.0.2" };
  expect(programs.addTo(bare)).toBe(bare);
});

test("addTo() leaves the filter to the runtime when the helper fails", async () => {
  const programs = openSeccompPrograms({ command: ["/bin/false"], logger: silentLogger });
  const spec = { ociVersion: "1.0.2", linux: { seccomp: filter } } as RuntimeSpec;
  programs.addTo(spec);
  await programs.idle();
  expect(programs.addTo(spec)).toBe(spec);
});
