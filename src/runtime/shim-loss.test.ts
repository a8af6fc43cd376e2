/** Shims that are killed, hang, or never come up; runtimes that are killed. */
import { afterEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../lib/concurrency/retry.ts";
import { EngineError } from "../lib/errors.ts";
import { processStartTime, signalProcess } from "../sys/process/process.ts";
import { connectShim } from "./_shim-connection.ts";
import { isShimAlive, readShimRecord } from "./_shim-cleanup.ts";
import { canRunContainers, ShimFixture } from "./_shim-fixture.ts";
import type { ShimRecord } from "./shim/shim-container.ts";
import type { StartRequest } from "./shim-protocol.ts";

const opened: ShimFixture[] = [];

function openFixture(options: ConstructorParameters<typeof ShimFixture>[0] = {}): ShimFixture {
  const fixture = new ShimFixture(options);
  opened.push(fixture);
  return fixture;
}

function shimFolders(fixture: ShimFixture): readonly string[] {
  return readdirSync(join(fixture.root, "shims")).map((name) => join(fixture.root, "shims", name));
}

/** The spares that listen, by what is noted of them. */
async function spares(fixture: ShimFixture, count: number): Promise<readonly ShimRecord[]> {
  for (;;) {
    const ready = shimFolders(fixture).filter((path) => existsSync(join(path, "shim.sock")));
    const records = ready.map(readShimRecord).filter((record) => record !== undefined);
    if (records.length >= count) return records;
    await sleep(10);
  }
}

/** Folders that no living shim is noted for. */
function deadFolders(fixture: ShimFixture): readonly string[] {
  return shimFolders(fixture).filter((path) => {
    const record = readShimRecord(path);
    return record === undefined || !isShimAlive(record);
  });
}

/** Kills a process, and returns once it is dead: nobody else has had a turn. */
function killNow(pid: number): void {
  signalProcess(pid, "SIGKILL");
  while (!/^State:\s+[ZX]/m.test(statusOf(pid)));
}

function statusOf(pid: number): string {
  return existsSync(`/proc/${pid}/status`)
    ? readFileSync(`/proc/${pid}/status`, "utf8")
    : "State: X";
}

/** The request with another program as its runtime. */
function withRuntime(fixture: ShimFixture, request: StartRequest, script: string): StartRequest {
  const path = join(fixture.root, "runtime.sh");
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { ...request, runtime: { ...request.runtime, path } };
}

/** What there is of a container. */
function traces({ containerId, runtime }: StartRequest): readonly string[] {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const groups = readdirSync("/sys/fs/cgroup").map((name) =>
    join("/sys/fs/cgroup", name, "tug-test", containerId),
  );
  const calls = readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && commandOf(name).includes(containerId),
  );
  return [
    ...mounts.filter((line) => line.includes(containerId)),
    ...groups.filter((path) => existsSync(path)),
    ...(existsSync(join(runtime.root, containerId)) ? ["runtime state"] : []),
    ...calls.map((pid) => `process ${pid}: ${commandOf(pid)}`),
  ];
}

function commandOf(pid: string): string {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) ? readFileSync(path, "utf8").replaceAll("\0", " ") : "";
}

describe.skipIf(!canRunContainers)("lost shims (needs root, crun and busybox)", () => {
  afterEach(async () => {
    for (const fixture of opened.splice(0)) await fixture.close();
  });

  test("spares that are killed as they are taken cost nobody a start", async () => {
    const fixture = openFixture({ spareCount: 2 });
    for (const { shimPid } of await spares(fixture, 2)) killNow(shimPid);
    const request = fixture.request({ args: ["sh", "-c", "echo once; exit 5"] });
    const { shim, told } = await fixture.acquire(request);
    await shim.start(request);
    expect(await told.ended).toMatchObject({ exitCode: 5 });
    const log = readFileSync(request.log.path ?? "", "utf8");
    expect(log.match(/once/g)).toHaveLength(1);
    await fixture.pool.forget(shim.name);
    await sleep(100);
    expect(deadFolders(fixture)).toEqual([]);
  });

  test("what is done for a shim that is lost while it answers is done for the next one", async () => {
    const fixture = openFixture({ spareCount: 2 });
    await spares(fixture, 2);
    const pids: number[] = [];
    const meanwhile = async ({ pid }: { readonly pid: number }): Promise<void> => {
      pids.push(pid);
      // The signal comes before the request is read, or after: both are a loss or none.
      if (pids.length === 1) killNow(pid);
      await Promise.resolve();
    };
    const request = fixture.request({ args: ["true"] });
    const shim = await fixture.pool.acquire(request.containerId, { meanwhile });
    expect(shim.pid).toBe(pids.at(-1) ?? 0);
    await shim.abandon();
    await fixture.pool.forget(shim.name);
  });

  test("a shim that is lost once it has answered, while that is done, is replaced as well", async () => {
    const fixture = openFixture({ spareCount: 2 });
    await spares(fixture, 2);
    const pids: number[] = [];
    const meanwhile = async ({ pid }: { readonly pid: number }): Promise<void> => {
      pids.push(pid);
      if (pids.length > 1) return;
      await sleep(200);
      killNow(pid);
      throw new EngineError("unavailable", "the sandbox is gone");
    };
    const request = fixture.request({ args: ["true"] });
    const shim = await fixture.pool.acquire(request.containerId, { meanwhile });
    expect(pids).toEqual([pids[0] ?? 0, shim.pid]);
    await shim.abandon();
    await fixture.pool.forget(shim.name);
    expect(deadFolders(fixture)).toEqual([]);
  });

  test("where that fails, the shim is ended and the failure told", async () => {
    const fixture = openFixture({ spareCount: 1 });
    const [spare] = await spares(fixture, 1);
    const { containerId } = fixture.request({ args: ["true"] });
    const failed = fixture.pool.acquire(containerId, {
      meanwhile: () => Promise.reject(new EngineError("not-found", "no such network")),
    });
    await expect(failed).rejects.toThrow("no such network");
    expect(spare === undefined || isShimAlive(spare)).toBe(false);
    await sleep(100);
    expect(deadFolders(fixture)).toEqual([]);
  });

  test("a shim that is lost before its start says so, and one that is lost later does not", async () => {
    const fixture = openFixture({ spareCount: 2 });
    const requests = [1, 2, 3].map(() => fixture.request({ args: ["sleep", "60"] }));
    const answers: boolean[] = [];
    for (const [index, request] of requests.entries()) {
      const { shim } = await fixture.acquire(request);
      if (index === 1) await shim.start(request);
      if (index < 2) killNow(shim.pid);
      answers.push(await shim.isLostUnstarted());
      await shim.abandon();
      expect(traces(request)).toEqual([]);
    }
    expect(answers).toEqual([true, false, false]);
  });

  test("a container that nobody wants ends with its shim", async () => {
    const fixture = openFixture();
    const request = fixture.request({ args: ["sleep", "60"] });
    const { shim } = await fixture.acquire(request);
    await shim.start(request);
    await shim.abandon();
    expect(traces(request)).toEqual([]);
    await fixture.pool.forget(shim.name);
    expect(deadFolders(fixture)).toEqual([]);
  });

  test("a spare that hangs is ended, another takes its place", async () => {
    const fixture = openFixture({ spareCount: 1 });
    const [hung] = await spares(fixture, 1);
    signalProcess(hung?.shimPid ?? 0, "SIGSTOP");
    const request = fixture.request({ args: ["true"] });
    const { shim, told } = await fixture.acquire(request);
    expect(shim.pid).not.toBe(hung?.shimPid ?? 0);
    expect(hung === undefined || isShimAlive(hung)).toBe(false);
    await shim.start(request);
    expect(await told.ended).toMatchObject({ exitCode: 0 });
  }, 15_000);

  test("a shim that ends while it starts is replaced at once, and leaves no folder", async () => {
    const folder = mkdtempSync("/tmp/tug-shims-");
    // The first three end before they listen.
    const script = 'echo x >>"$0/count"; [ $(wc -l <"$0/count") -gt 3 ] || exit 1; exec "$@"';
    const fixture = openFixture({
      spareCount: 1,
      wrap: (argv) => ["/bin/sh", "-c", script, folder, ...argv],
    });
    const request = fixture.request({ args: ["true"] });
    const begunMs = performance.now();
    const { shim, told } = await fixture.acquire(request);
    expect(performance.now() - begunMs).toBeLessThan(5000);
    await shim.start(request);
    await told.ended;
    await fixture.pool.forget(shim.name);
    expect(deadFolders(fixture)).toEqual([]);
    rmSync(folder, { recursive: true });
  }, 15_000);

  test("where no shim comes up, a start says so", async () => {
    const fixture = openFixture({ wrap: () => ["/bin/false"] });
    const request = fixture.request({ args: ["true"] });
    await expect(fixture.pool.acquire(request.containerId)).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringMatching(/^start shim: process \d+ has ended$/),
    });
    expect(shimFolders(fixture)).toEqual([]);
  });

  test("a call of the runtime ends with its shim: no container comes after", async () => {
    const fixture = openFixture();
    const plain = fixture.request({ args: ["sleep", "60"] });
    const mark = join(fixture.root, "came-after");
    const script = `case "$*" in *" run "*) sleep 2; echo x >${mark};; esac; exec /usr/bin/crun "$@"`;
    const request = withRuntime(fixture, plain, script);
    const { shim, told } = await fixture.acquire(request);
    const start = shim.start(request);
    await sleep(200);
    signalProcess(shim.pid, "SIGKILL");
    await expect(start).rejects.toMatchObject({ kind: "unavailable" });
    // Whoever hears of it may start the container again.
    expect(traces(request)).toEqual([]);
    expect(await told.ended).toEqual({ lost: `shim ${shim.pid} was killed` });
    await sleep(2200);
    expect(traces(request)).toEqual([]);
    expect(existsSync(mark)).toBe(false);
  });

  test("a runtime whose child was killed is a failure in words, and can be tried again", async () => {
    const fixture = openFixture();
    const plain = fixture.request({ args: ["sh", "-c", "exit 4"] });
    const { shim, told } = await fixture.acquire(plain);
    const failure = shim.start(withRuntime(fixture, plain, "exit 0"));
    await expect(failure).rejects.toMatchObject({
      kind: "internal",
      message: expect.stringMatching(/OCI runtime create failed: the runtime told no pid$/),
    });
    expect(traces(plain)).toEqual([]);
    await shim.start(plain);
    expect(await told.ended).toMatchObject({ exitCode: 4 });
  });

  test("a runtime that is killed leaves nothing that it had forked", async () => {
    const fixture = openFixture();
    const plain = fixture.request({ args: ["sleep", "60"] });
    const mark = join(fixture.root, "came-after");
    const script = `case "$*" in *" run "*) (sleep 1.5; echo x >${mark}) & kill -9 $$;; esac`;
    const request = withRuntime(fixture, plain, script);
    const { shim } = await fixture.acquire(request);
    await expect(shim.start(request)).rejects.toMatchObject({ kind: "internal" });
    await sleep(1700);
    expect(traces(request)).toEqual([]);
    expect(existsSync(mark)).toBe(false);
    await shim.abandon();
  });

  test("what a shim had not yet read when its daemon was killed is not done later", async () => {
    const fixture = openFixture();
    const [spare] = await spares(fixture, 1);
    const [folder = ""] = shimFolders(fixture);
    const request = fixture.request({ args: ["sleep", "60"] });
    const pid = spare?.shimPid ?? 0;
    const startTime = processStartTime(pid);
    signalProcess(pid, "SIGSTOP");
    const control = await connectShim(join(folder, "shim.sock"), { kind: "control" });
    const { spec, ...others } = request;
    const facts = { command: "sleep", cwd: "/", hasMemoryLimit: false, hasPoststopHooks: false };
    const config = JSON.stringify(spec);
    const adopt = { op: "adopt", containerId: request.containerId, logLevel: "info", seq: 1 };
    control?.write(`${JSON.stringify(adopt)}\n`);
    control?.end(`${JSON.stringify({ ...others, config, facts, seq: 2 })}\n`);
    if (control !== undefined) await once(control, "finish");
    await fixture.pool[Symbol.asyncDispose]();
    fixture.pool = fixture.openPool();
    await fixture.pool.recover([]);
    signalProcess(pid, "SIGCONT");
    await sleep(500);
    expect(startTime === undefined || processStartTime(pid) === startTime).toBe(false);
    expect(traces(request)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
    control?.destroy();
  });

  test("a shim that hangs does not keep the next daemon from its others", async () => {
    const fixture = openFixture({ spareCount: 2 });
    const requests = [1, 2].map(() => fixture.request({ args: ["sleep", "60"] }));
    const known = await Promise.all(
      requests.map(async (request) => {
        const { shim } = await fixture.acquire(request);
        await shim.start(request);
        return { name: shim.name, containerId: request.containerId, pid: shim.pid };
      }),
    );
    await fixture.pool[Symbol.asyncDispose]();
    const pid = known[0]?.pid ?? 0;
    signalProcess(pid, "SIGSTOP");
    fixture.pool = fixture.openPool();
    expect(await fixture.pool.recover(known)).toMatchObject([
      { kind: "lost", reason: `shim ${pid} does not answer` },
      { kind: "running" },
    ]);
    expect(requests.map((request) => traces(request).length > 0)).toEqual([false, true]);
    signalProcess(known[1]?.pid ?? 0, "SIGKILL");
    await sleep(500);
  }, 20_000);

  test("a shim that is killed while it is connected to is no fault of the daemon's", async () => {
    const fixture = openFixture();
    const [spare] = await spares(fixture, 1);
    const [folder = ""] = shimFolders(fixture);
    const socket = await connectShim(join(folder, "shim.sock"), { kind: "control" });
    // The first write may break before the caller has a turn.
    expect(socket?.listenerCount("error")).toBeGreaterThan(0);
    killNow(spare?.shimPid ?? 0);
    await sleep(50);
    expect(await connectShim(join(folder, "shim.sock"), { kind: "control" })).toBeUndefined();
  });
});
