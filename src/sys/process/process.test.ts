import { expect, test } from "bun:test";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makePipe } from "../fd-stream.ts";
import {
  isSameProcess,
  openPidfd,
  processStartTime,
  run,
  selfExecutable,
  signalProcess,
  spawnDetached,
  takeDescriptor,
  waitPid,
} from "./process.ts";

test("run() collects both outputs and the exit code", async () => {
  const result = await run({ argv: ["sh", "-c", "cat; echo bad >&2; exit 3"], input: "in" });
  expect(result).toEqual({ exitCode: 3, stdout: "in", stderr: "bad\n" });
});

test("run() tells the signal that ended the process", async () => {
  const result = await run({ argv: ["sh", "-c", "kill -TERM $$"] });
  expect(result).toMatchObject({ exitCode: 143, signalName: "SIGTERM" });
});

test("run() hands extra descriptors on from 3, and the environment as given", async () => {
  const pipe = makePipe();
  const result = await run({
    argv: ["/bin/sh", "-c", 'echo "$A$HOME" >&3'],
    env: { A: "a" },
    extraFds: [pipe.write],
  });
  closeSync(pipe.write);
  expect(readFileSync(pipe.read, "utf8")).toBe("a\n");
  closeSync(pipe.read);
  expect(result.exitCode).toBe(0);
});

test("run() does not wait for what the process left behind with its pipes", async () => {
  const start = performance.now();
  const result = await run({ argv: ["sh", "-c", "sleep 5 & echo $!"] });
  expect(performance.now() - start).toBeLessThan(2000);
  signalProcess(Number(result.stdout), "KILL");
});

test.each([
  ["not-found", { argv: ["/no/such/program"] }],
  ["deadline-exceeded", { argv: ["sleep", "9"], timeoutMs: 20 }],
  ["internal", { argv: ["yes"], outputSizeMaxBytes: 1000 }],
  ["canceled", { argv: ["sleep", "9"], signal: AbortSignal.timeout(20) }],
  ["canceled", { argv: ["sleep", "9"], signal: AbortSignal.abort() }],
])("run() throws %s for %j", async (kind, options) => {
  expect(run(options)).rejects.toMatchObject({ kind });
});

test("processStartTime() tells two processes apart and reads hostile names", async () => {
  const own = processStartTime(process.pid);
  expect(own).toBeGreaterThan(0n);
  expect(isSameProcess(process.pid, own ?? 0n)).toBe(true);
  expect(isSameProcess(process.pid, (own ?? 0n) + 1n)).toBe(false);
  expect(processStartTime(0x3fffff)).toBeUndefined();
  const folder = mkdtempSync(join(tmpdir(), "sys-process-"));
  await run({ argv: ["cp", "/bin/sleep", join(folder, "a) R 1 (b")] });
  const child = Bun.spawn([join(folder, "a) R 1 (b"), "9"]);
  expect(processStartTime(child.pid)).toBeGreaterThanOrEqual(own ?? 0n);
  child.kill();
  await child.exited;
  rmSync(folder, { recursive: true });
});

test("signalProcess() spares a later process of the same PID and tells a gone one", async () => {
  const child = Bun.spawn(["sleep", "9"]);
  const startTime = processStartTime(child.pid) ?? 0n;
  expect(signalProcess(child.pid, "KILL", { startTime: startTime - 1n })).toBe(false);
  expect(signalProcess(child.pid, 0)).toBe(true);
  expect(signalProcess(child.pid, "KILL", { startTime })).toBe(true);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(signalProcess(child.pid, "TERM")).toBe(false);
  expect(signalProcess(child.pid, "TERM", { startTime })).toBe(false);
  expect(() => openPidfd(child.pid)).toThrow("no such process");
});

test("spawnDetached() starts a session of its own with the given descriptors", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sys-detached-"));
  const output = openSync(join(folder, "out"), "w");
  const { pid } = spawnDetached({
    argv: ["sh", "-c", 'read -r s < /proc/self/stat; echo "$PWD $V"; exec sleep 9'],
    env: { V: "v", PATH: process.env["PATH"] ?? "" },
    cwd: folder,
    stdio: ["ignore", output, "ignore"],
  });
  closeSync(output);
  while (readFileSync(join(folder, "out"), "utf8") === "") await Bun.sleep(5);
  expect(readFileSync(join(folder, "out"), "utf8")).toBe(`${folder} v\n`);
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ");
  expect(Number(fields[5])).toBe(pid);
  signalProcess(pid, "KILL");
  rmSync(folder, { recursive: true });
});

test("waitPid() refuses a process that is no child", () => {
  expect(() => waitPid(1)).toThrow("not a child");
});

test("a subreaper gets the exit status of every orphan once", async () => {
  const program = `
    import { becomeSubreaper, run, watchExit } from ${JSON.stringify(join(import.meta.dirname, "process.ts"))};
    becomeSubreaper();
    const { stdout } = await run({ argv: ["sh", "-c",
      'for i in $(seq 40); do (sleep 0.3; exit $i) >&- & echo $!; done; sleep 9 >&- & echo $!'] });
    const pids = stdout.trim().split("\\n").map(Number);
    const seen = new Map();
    await new Promise((resolve) => {
      for (const [index, pid] of pids.entries()) {
        watchExit(pid, (status) => {
          if (seen.has(pid)) throw new Error("twice");
          seen.set(pid, status.exitCode ?? -(status.signal ?? 0));
          if (seen.size === pids.length) resolve();
        });
      }
      process.kill(pids.at(-1), "SIGKILL");
    });
    console.log(JSON.stringify(pids.map((pid) => seen.get(pid))));
    watchExit(process.pid, (status) => console.log(JSON.stringify(status)));
  `;
  const result = await run({ argv: [process.execPath, "-e", program], timeoutMs: 10_000 });
  expect(result.stderr).toBe("");
  const [codes, foreign] = result.stdout.trim().split("\n");
  expect(JSON.parse(codes ?? "")).toEqual([...Array.from({ length: 40 }, (_, i) => i + 1), -9]);
  expect(JSON.parse(foreign ?? "")).toEqual({ exited: true });
});

test("selfExecutable() names programs that exist, by absolute path", () => {
  const [runtime = "", ...script] = selfExecutable();
  expect(existsSync(runtime)).toBe(true);
  expect(script).toEqual([join(import.meta.dirname, "../../main.ts")]);
});

test.skipIf(process.getuid?.() !== 0)("takeDescriptor() takes the same open file", async () => {
  const child = Bun.spawn(["sh", "-c", "exec 7</etc/hostname; read x"], { stdin: "pipe" });
  const path = `/proc/${child.pid}/fd/7`;
  for (let round = 0; round < 100 && !existsSync(path); round += 1) await Bun.sleep(5);
  const fd = takeDescriptor(child.pid, 7);
  expect(readFileSync(fd, "utf8")).toBe(readFileSync("/etc/hostname", "utf8"));
  closeSync(fd);
  expect(() => takeDescriptor(child.pid, 99)).toThrow("take descriptor 99");
  child.kill();
  await child.exited;
  expect(() => takeDescriptor(child.pid, 7)).toThrow("take descriptor 7");
});
