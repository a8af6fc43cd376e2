/**
 * Everything at once, and kill -9 of whatever takes part: shims, runtime calls, first processes, the
 * daemon. Whatever was asked is answered, what is said of a container is so, nothing is left behind,
 * and a container that nobody shot at has never noticed.
 *
 * The moments are random; the seed is printed and may be given as TUG_TEST_SEED.
 */
import { describe, expect, test } from "bun:test";
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { basename, join } from "node:path";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import type { Answer } from "../support/http.ts";
import { testLabel } from "../support/images.ts";
import { at, listAt, numberAt, textAt } from "../support/json.ts";
import { killIfThere, processesOf, readdirOptional, readlinkOptional } from "../support/leaks.ts";
import { run, until } from "../support/process.ts";
import { createRandom, type Random } from "../support/random.ts";

const seed = Number(process.env["TUG_TEST_SEED"] ?? Date.now() % 1_000_000);
const roundCount = Number(process.env["TUG_TEST_ROUNDS"] ?? 4);
const roundMs = 2500;
/** On a machine that is busy with other work there are fewer rounds, not a failure. */
const roundsMaxMs = 80_000;
const workerCount = 4;
const shotPauseMaxMs = 60;
/** Longer than anything may take that waits for something to end. */
const answerMaxMs = 30_000;
const settleMaxMs = 15_000;
/** Descriptors that a daemon may have more of for the moment. */
const descriptorSlack = 6;

const commands: readonly (readonly string[])[] = [
  ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.02; done"],
  ["sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 8000000; sleep 600"],
  ["sleep", "600"],
  ["true"],
  ["cat"],
];

/** What went wrong, for the end of the round. */
type Complaints = string[];

/** One round of fire. */
interface Battle {
  readonly daemon: TestDaemon;
  readonly random: Random;
  readonly complaints: Complaints;
  /** How often what was answered. */
  readonly answers: Map<string, number>;
  readonly execIds: string[];
  isOver: boolean;
}

/** What the daemon answered; undefined when it was killed meanwhile. */
async function ask(
  battle: Battle,
  method: string,
  path: string,
  body?: unknown,
): Promise<Answer | undefined> {
  const signal = AbortSignal.timeout(answerMaxMs);
  try {
    // A connection that is kept would count among what the daemon has open.
    const headers = { Connection: "close" };
    const answer = await battle.daemon.engine.api(method, path, body, { signal, headers });
    const what = path.replace(/[0-9a-f]{64}/, "ID").replace(/\?.*/, "");
    const reason = answer.message.replaceAll(/[0-9a-f]{12,64}|\d+/g, "N");
    const key = `${method} ${what} ${answer.status} ${reason}`;
    battle.answers.set(key, (battle.answers.get(key) ?? 0) + 1);
    return answer;
  } catch (error) {
    if (signal.aborted) battle.complaints.push(`${method} ${path} was not answered`);
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** A client on a hijacked connection; it reads until the end, or leaves early. */
async function converse(
  battle: Battle,
  path: string,
  options: { readonly body?: unknown; readonly leavesMs?: number },
): Promise<void> {
  const socket = connect({ path: battle.daemon.engine.socketPath, allowHalfOpen: true });
  const text = options.body === undefined ? "" : JSON.stringify(options.body);
  socket.write(
    `POST /v1.51${path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  const over = Promise.withResolvers<void>();
  socket.on("data", () => undefined);
  for (const name of ["end", "close", "error"]) socket.on(name, () => over.resolve());
  const timer = setTimeout(() => over.resolve(), options.leavesMs ?? answerMaxMs);
  await over.promise;
  clearTimeout(timer);
  socket.destroy();
}

/** One container after the other, in all the ways there are. */
async function live(battle: Battle, random: Random): Promise<void> {
  while (!battle.isOver) {
    const created = await ask(battle, "POST", "/containers/create", configOf(random));
    if (created === undefined) await Bun.sleep(20);
    if (created?.status !== 201) continue;
    const id = textAt(created.json, "Id");
    const listening =
      random.next() < 0.5
        ? converse(battle, `/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`, {
            leavesMs: random.below(600),
          })
        : Promise.resolve();
    const started = await ask(battle, "POST", `/containers/${id}/start`);
    if (started !== undefined && started.status >= 400) await expectReason(battle, id, started);
    const condition = random.of(["not-running", "next-exit", "removed"]);
    const isRemoved = random.next() < 0.7;
    const waiting = isRemoved
      ? ask(battle, "POST", `/containers/${id}/wait?condition=${condition}`)
      : Promise.resolve();
    for (let count = random.below(4); count > 0 && !battle.isOver; count -= 1) {
      await disturb(battle, { id, random });
    }
    if (isRemoved) await removeForGood(battle, id);
    await Promise.all([listening, waiting]);
  }
}

/** Removes a container, whoever else does, and whatever happens to the daemon meanwhile. */
async function removeForGood(battle: Battle, id: string): Promise<void> {
  const end = performance.now() + answerMaxMs;
  for (;;) {
    const removed = await ask(battle, "DELETE", `/containers/${id}?force=1`);
    if (removed?.status === 204 || removed?.status === 404) return;
    if (performance.now() > end) {
      battle.complaints.push(`${id} cannot be removed: ${removed?.message}`);
      return;
    }
    await Bun.sleep(20);
  }
}

function configOf(random: Random): Readonly<Record<string, unknown>> {
  const bindings = { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] };
  return {
    Image: "busybox",
    Cmd: random.of(commands),
    Tty: random.next() < 0.2,
    OpenStdin: random.next() < 0.5,
    HostConfig: {
      AutoRemove: random.next() < 0.2,
      NetworkMode: random.next() < 0.3 ? "none" : "bridge",
      ...(random.next() < 0.3 ? { PortBindings: bindings } : {}),
      ...(random.next() < 0.3 ? { Memory: 64 * 1024 * 1024 } : {}),
    },
  };
}

async function disturb(
  battle: Battle,
  { id, random }: { readonly id: string; readonly random: Random },
): Promise<void> {
  const on = `/containers/${id}`;
  const [method, path] = random.of([
    ["EXEC", "seq 1 300000"],
    ["EXEC", "sleep 0.1"],
    ["POST", `${on}/stop?t=0`],
    ["POST", `${on}/stop?t=1`],
    ["POST", `${on}/kill`],
    ["POST", `${on}/restart?t=0`],
    ["POST", `${on}/start`],
    ["GET", `${on}/logs?stdout=1`],
    ["GET", `${on}/json`],
  ] as const);
  if (method !== "EXEC") {
    await ask(battle, method, path);
    return;
  }
  const config = { Cmd: ["sh", "-c", path], AttachStdout: true, AttachStderr: true };
  const exec = await ask(battle, "POST", `${on}/exec`, config);
  if (exec?.status !== 201) return;
  const execId = textAt(exec.json, "Id");
  battle.execIds.push(execId);
  await converse(battle, `/exec/${execId}/start`, { body: {}, leavesMs: 50 + random.below(800) });
}

/** A start that failed says why, in its answer and in the record. */
async function expectReason(battle: Battle, id: string, started: Answer): Promise<void> {
  if (started.message === "") battle.complaints.push(`start of ${id} failed without a reason`);
  const found = await ask(battle, "GET", `/containers/${id}/json`);
  if (found?.status !== 200 || at(found.json, "State", "Status") === "removing") return;
  if (at(found.json, "State", "Error") === "") {
    battle.complaints.push(`start of ${id} failed (${started.message}), its state has no reason`);
  }
}

/** Shoots at whatever runs for the daemon, but not at the witness. */
async function shoot(battle: Battle, spared: ReadonlySet<number>): Promise<void> {
  const { daemon, random } = battle;
  while (!battle.isOver) {
    await Bun.sleep(random.below(shotPauseMaxMs));
    if (random.next() < 0.02) {
      await daemon.kill9();
      await Bun.sleep(random.below(200));
      await daemon.restart();
    }
    const targets = processesOf(daemon.folder).filter(({ pid }) => pid !== daemon.pid);
    const matching = (form: RegExp): readonly number[] =>
      targets.filter(({ command }) => form.test(command)).map(({ pid }) => pid);
    const shims = matching(/ shim \S+$/);
    const victims = random.of([
      () => shims,
      () => matching(/ --root \S+ /),
      () => shims.flatMap(childrenOf),
      () => childrenOf(daemon.pid),
    ])();
    const fair = victims.filter((pid) => !spared.has(pid));
    if (fair.length > 0) killIfThere(random.of(fair));
  }
}

function childrenOf(pid: number): readonly number[] {
  return readdirOptional(`/proc/${pid}/task`).flatMap((thread) => {
    const path = `/proc/${pid}/task/${thread}/children`;
    return existsSync(path) ? readText(path).split(" ").filter(Boolean).map(Number) : [];
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error) return "";
    throw error;
  }
}

/** What is not so of what is said of a container; undefined when all is. */
async function falsehood(engine: Engine, id: string): Promise<string | undefined> {
  const answer = await engine.api("GET", `/containers/${id}/json`);
  if (answer.status === 404) return undefined;
  const state = at(answer.json, "State");
  const said = JSON.stringify(state);
  const status = textAt(state, "Status");
  if (status === "running") {
    return existsSync(`/proc/${numberAt(state, "Pid")}`) ? undefined : `no process: ${said}`;
  }
  if (!["created", "exited"].includes(status)) return `an odd state: ${said}`;
  const isLeftOver = status === "exited" && at(answer.json, "HostConfig", "AutoRemove") === true;
  if (isLeftOver) return `not removed: ${said}`;
  if (numberAt(state, "Pid") !== 0) return `a process of one that does not run: ${said}`;
  const isWithoutEnd = status === "exited" && textAt(state, "FinishedAt").startsWith("0001");
  return isWithoutEnd ? `no end: ${said}` : undefined;
}

/** The shim of a container. Until the runtime's last process has ended, it is not the parent. */
function shimOf({ execRoot }: TestDaemon, id: string): number {
  for (const name of readdirOptional(join(execRoot, "shims"))) {
    const record: unknown = JSON.parse(
      readText(join(execRoot, "shims", name, "shim.json")) || "{}",
    );
    if (at(record, "containerId") === id) return numberAt(record, "shimPid");
  }
  throw new assert.AssertionError({ message: `container ${id} has no shim` });
}

/** What there is of containers besides the witness, on the exec root. */
function remains(daemon: TestDaemon, witness: string): readonly string[] {
  const { execRoot } = daemon;
  const runtimes = readdirOptional(join(execRoot, "runtime")).map((name) => `runtime/${name}`);
  const folders = ["containers", ...runtimes].flatMap((folder) =>
    readdirOptional(join(execRoot, folder)).map((name) => `${folder}/${name}`),
  );
  const homes = new Set(processesOf(daemon.folder).map(({ pid }) => basename(homeOf(pid))));
  const dead = readdirOptional(join(execRoot, "shims")).filter((name) => !homes.has(name));
  return [
    ...folders.filter((path) => !path.endsWith(witness)),
    ...dead.map((name) => `shims/${name}`),
  ];
}

/** Where a shim is at home now. */
function homeOf(pid: number): string {
  return readlinkOptional(`/proc/${pid}/fd/2`).replace(/\/shim\.log$/, "");
}

/** What the daemon has open, by kind; without its connections to shims, and its hold of children. */
function descriptorsOf(daemon: TestDaemon): Map<string, number> {
  const shims = processesOf(daemon.folder).filter(({ command }) => / shim \S+$/.test(command));
  const kinds = new Map<string, number>([
    ["socket", -shims.length],
    ["anon_inode:[pidfd]", -childrenOf(daemon.pid).length],
  ]);
  const folder = `/proc/${daemon.pid}/fd`;
  for (const name of readdirSync(folder)) {
    const kind = readlinkOptional(join(folder, name)).replace(/:\[\d+\]$/, "");
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  return kinds;
}

function sum(kinds: ReadonlyMap<string, number>): number {
  return [...kinds.values()].reduce((total, count) => total + count, 0);
}

async function elementCount(daemon: TestDaemon): Promise<number> {
  const table = await run(["nft", "list", "table", "inet", `tug_${daemon.bridge}`]);
  return table.stdout.match(/\b(?:tcp|udp) \. \d+/g)?.length ?? 0;
}

async function expectTruth(battle: Battle): Promise<void> {
  const { engine } = battle.daemon;
  const list = await engine.api("GET", "/containers/json?all=1");
  for (const item of listAt(list.json)) {
    const id = textAt(item, "Id");
    let last: string | undefined;
    await until(
      async () => {
        last = await falsehood(engine, id);
        return last === undefined;
      },
      () => `the truth of ${id}: ${last}`,
      settleMaxMs,
    );
  }
}

/** The execs of a round have ended with their containers. */
async function expectExecsOver({ daemon, execIds }: Battle): Promise<void> {
  for (const id of execIds) {
    const { status, json } = await daemon.engine.api("GET", `/exec/${id}/json`);
    if (status !== 404) expect(at(json, "Running")).toBe(false);
  }
}

async function removeAll(battle: Battle, witness: string): Promise<void> {
  const { engine } = battle.daemon;
  const list = await engine.api("GET", "/containers/json?all=1");
  for (const item of listAt(list.json)) {
    const id = textAt(item, "Id");
    if (id === witness) continue;
    const { status, message } = await engine.api("DELETE", `/containers/${id}?force=1`);
    if (status !== 204 && status !== 404) {
      battle.complaints.push(`removal of ${id}: ${status} ${message}`);
    }
  }
}

/** A container that nobody shoots at. */
interface Witness {
  readonly id: string;
  readonly pid: number;
  readonly shimPid: number;
}

async function startWitness(daemon: TestDaemon): Promise<Witness> {
  const { engine } = daemon;
  const script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";
  const id = await engine.runDetached(
    { Image: "busybox", Cmd: ["sh", "-c", script], Labels: { [testLabel]: "witness" } },
    "witness",
  );
  const pid = numberAt(await engine.inspect(id), "State", "Pid");
  return { id, pid, shimPid: shimOf(daemon, id) };
}

/** Fire, and when it has ended, a look at what there is. */
async function fight(battle: Battle, witness: Witness): Promise<void> {
  const { daemon, random } = battle;
  const { engine } = daemon;
  const [before, daemonPid] = [descriptorsOf(daemon), daemon.pid];
  const workers = Array.from({ length: workerCount }, () =>
    live(battle, createRandom(random.below(2 ** 31))),
  );
  const shooting = shoot(battle, new Set([witness.pid, witness.shimPid]));
  await Bun.sleep(roundMs);
  battle.isOver = true;
  await Promise.all([...workers, shooting]);
  await expectTruth(battle);
  await removeAll(battle, witness.id);
  await expectExecsOver(battle);
  expect(battle.complaints).toEqual([]);
  expect(at(await engine.inspect(witness.id), "State")).toMatchObject({
    Running: true,
    Pid: witness.pid,
  });
  await until(
    () => remains(daemon, witness.id).length === 0,
    () => `the exec root to be empty: ${remains(daemon, witness.id).join(", ")}`,
  );
  await until(async () => (await elementCount(daemon)) === 0, "rules of ports to be gone");
  if (daemon.pid !== daemonPid) return;
  await until(
    () => sum(descriptorsOf(daemon)) <= sum(before) + descriptorSlack,
    () => `descriptors to be closed: ${[...before]} now ${[...descriptorsOf(daemon)]}`,
  );
}

describe.skipIf(referenceHost !== undefined)("kill -9 of everybody", () => {
  test(`at any moment, ${roundCount} rounds (seed ${seed})`, async () => {
    console.log(`seed ${seed}`);
    const random = createRandom(seed);
    await using daemon = await startDaemon({ flags: ["--live-restore"] });
    await daemon.engine.ensureImages("busybox");
    const witness = await startWitness(daemon);
    const answers = new Map<string, number>();
    const end = performance.now() + roundsMaxMs;
    try {
      for (let round = 0; round < roundCount && performance.now() < end; round += 1) {
        const none = { isOver: false, complaints: [], execIds: [] };
        await fight({ daemon, random, answers, ...none }, witness);
      }
      await daemon.engine.api("DELETE", `/containers/${witness.id}?force=1`);
      expect(await daemon.leaks()).toEqual([]);
      const faults = /^.*(?:uncaught|unhandled|did not end: killing its shim).*$/gm;
      expect(daemon.log().match(faults) ?? []).toEqual([]);
    } catch (error) {
      console.log(daemon.log().split("\n").slice(-100).join("\n"));
      throw error;
    }
    if (process.env["TUG_TEST_VERBOSE"] !== undefined) console.log(answers);
  }, 180_000);
});
