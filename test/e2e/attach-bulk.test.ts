/**
 * Much output and input through attach and exec: past the first megabyte the client's connection is
 * served by somebody else than before, of which nobody may notice anything.
 */
import { describe, expect, test } from "bun:test";
import { createHash, type Hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { startDaemon } from "../support/daemon.ts";
import { type Engine, referenceHost } from "../support/engine.ts";
import { at, textAt } from "../support/json.ts";
import { until } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const ours = test.skipIf(referenceHost !== undefined);
const bulkBytes = 20_000_000;
/** More than all buffers on the way take. */
const boundBytes = 8_000_000;
const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
/** Lines that are all different, so that none can be lost, doubled or moved unnoticed. */
const printLines = "seq 100000000 100300000; seq 200000000 200300000 >&2; seq 300000000 301000000";

/** A hijacked connection that hashes the payload of each stream as it comes. */
class Listener {
  readonly socket: Socket;
  readonly hashes: Readonly<Record<number, Hash>> = { 1: sha256(), 2: sha256() };
  payloadBytes = 0;
  tail = "";
  head = "";
  readonly ended: Promise<void>;
  readonly #isRaw: boolean;
  #rest: Buffer = Buffer.alloc(0);
  #leftBytes = 0;
  #stream = 1;

  constructor(of: Engine, { isRaw = false }: { readonly isRaw?: boolean } = {}) {
    this.#isRaw = isRaw;
    this.socket = connect({ path: of.socketPath, allowHalfOpen: true });
    const ended = Promise.withResolvers<void>();
    this.ended = ended.promise;
    this.socket.on("data", (chunk: Buffer) => this.#received(chunk));
    for (const name of ["end", "close", "error"]) this.socket.on(name, () => ended.resolve());
  }

  ask(path: string, body?: unknown): void {
    const text = body === undefined ? "" : JSON.stringify(body);
    this.socket.write(
      `POST /v1.51${path} HTTP/1.1\r\nHost: engine\r\n${upgrade}` +
        `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
  }

  async attached(): Promise<void> {
    await until(() => this.head !== "", "the answer's head");
  }

  #received(chunk: Buffer): void {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = Buffer.alloc(0);
    if (this.head === "") {
      const end = rest.indexOf("\r\n\r\n");
      if (end < 0) {
        this.#rest = rest;
        return;
      }
      this.head = rest.toString("latin1", 0, end);
      rest = rest.subarray(end + 4);
    }
    while (rest.length > 0) {
      if (this.#isRaw) this.#leftBytes = rest.length;
      else if (this.#leftBytes === 0) {
        if (rest.length < 8) {
          this.#rest = rest;
          return;
        }
        this.#stream = rest[0] ?? 0;
        this.#leftBytes = rest.readUInt32BE(4);
        rest = rest.subarray(8);
      }
      const payload = rest.subarray(0, this.#leftBytes);
      this.#leftBytes -= payload.length;
      this.payloadBytes += payload.length;
      this.hashes[this.#stream]?.update(payload);
      this.tail = `${this.tail}${payload.toString("latin1")}`.slice(-100);
      rest = rest.subarray(payload.length);
    }
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

function sha256(): Hash {
  return createHash("sha256");
}

function lines(...ranges: readonly (readonly [number, number])[]): string {
  const hash = sha256();
  for (const [from, to] of ranges) {
    for (let start = from; start <= to; start += 10_000) {
      const count = Math.min(10_000, to - start + 1);
      hash.update(Array.from({ length: count }, (_, index) => `${start + index}\n`).join(""));
    }
  }
  return hash.digest("hex");
}

const outLines = lines([100_000_000, 100_300_000], [300_000_000, 301_000_000]);
const errLines = lines([200_000_000, 200_300_000]);

async function create(
  config: Readonly<Record<string, unknown>>,
  of: Engine = engine,
): Promise<string> {
  const made = await of.api("POST", "/containers/create", { Image: "busybox", ...config });
  expect(made.status).toBe(201);
  return textAt(made.json, "Id");
}

async function attach(
  container: string,
  options: { readonly of?: Engine; readonly stdin?: boolean; readonly isRaw?: boolean } = {},
): Promise<Listener> {
  const { of = engine, stdin = false, isRaw = false } = options;
  const listener = new Listener(of, { isRaw });
  listener.ask(`/containers/${container}/attach?stream=1&stdin=${stdin ? 1 : 0}&stdout=1&stderr=1`);
  await listener.attached();
  return listener;
}

async function startExec(container: string, config: Readonly<Record<string, unknown>>) {
  const made = await engine.api("POST", `/containers/${container}/exec`, {
    AttachStdout: true,
    AttachStderr: true,
    ...config,
  });
  const id = textAt(made.json, "Id");
  const listener = new Listener(engine);
  listener.ask(`/exec/${id}/start`, { Detach: false, Tty: false });
  await listener.attached();
  return { id, listener };
}

/** Writes all of it, waiting for room, and half-closes. */
async function sendAll(socket: Socket, sizeBytes: number): Promise<string> {
  const hash = sha256();
  const block = Buffer.alloc(64 * 1024);
  for (let sent = 0; sent < sizeBytes; sent += block.length) {
    block.writeUInt32BE(sent, 0);
    hash.update(block);
    if (!socket.write(Buffer.from(block))) {
      await new Promise((resolve) => socket.once("drain", resolve));
    }
  }
  socket.end();
  return hash.digest("hex");
}

/** What the process of a container, or one below it, has written so far. */
function writtenBytes(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ");
  const pids = [pid, ...children.filter(Boolean).map(Number)];
  return pids.reduce((sum, each) => {
    const text = readFileSync(`/proc/${each}/io`, "latin1");
    return sum + Number(/^wchar: (\d+)/m.exec(text)?.[1] ?? 0);
  }, 0);
}

async function stalled(read: () => number): Promise<number> {
  let before = -1;
  await until(() => {
    const now = read();
    const isSame = now === before;
    before = now;
    return isSame;
  }, "no more to be written");
  return before;
}

describe("much output", () => {
  for (const driver of ["json-file", "none"]) {
    test(`arrives whole and in order, with log driver ${driver}`, async () => {
      const id = await create({
        Cmd: ["sh", "-c", printLines],
        HostConfig: { LogConfig: { Type: driver } },
      });
      using listener = await attach(id);
      await engine.api("POST", `/containers/${id}/start`);
      await listener.ended;
      expect(listener.hashes[1]?.digest("hex")).toBe(outLines);
      expect(listener.hashes[2]?.digest("hex")).toBe(errLines);
    });
  }

  test("arrives whole at all who listen, quick or slow, whenever they came", async () => {
    const id = await create({ Cmd: ["sh", "-c", `read go; ${printLines}`], OpenStdin: true });
    using first = await attach(id);
    await engine.api("POST", `/containers/${id}/start`);
    using second = await attach(id, { stdin: true });
    using late = await attach(id);
    first.socket.pause();
    second.socket.write("go\n");
    await Bun.sleep(300);
    first.socket.resume();
    await Promise.all([first.ended, second.ended, late.ended]);
    for (const each of [first, second, late]) {
      expect(each.hashes[1]?.digest("hex")).toBe(outLines);
      expect(each.hashes[2]?.digest("hex")).toBe(errLines);
    }
  });

  ours("waits for a client that does not read", async () => {
    const id = await create({ Cmd: ["dd", "if=/dev/zero", "bs=64k"] });
    using listener = await attach(id);
    await engine.api("POST", `/containers/${id}/start`);
    const pid = Number(at(await engine.inspect(id), "State", "Pid"));
    await until(() => listener.payloadBytes > bulkBytes, "the bulk");
    listener.socket.pause();
    await Bun.sleep(200);
    const written = await stalled(() => writtenBytes(pid));
    expect(written - listener.payloadBytes).toBeLessThan(boundBytes);
    listener.socket.resume();
    await until(() => writtenBytes(pid) > written + bulkBytes, "it to go on");
  });

  ours("goes on without a client that has vanished, also one that had said all", async () => {
    for (const hasHalfClosed of [false, true]) {
      const id = await create({ Cmd: ["dd", "if=/dev/zero", "bs=64k"], OpenStdin: true });
      const listener = await attach(id, { stdin: true });
      await engine.api("POST", `/containers/${id}/start`);
      const pid = Number(at(await engine.inspect(id), "State", "Pid"));
      if (hasHalfClosed) listener.socket.end();
      await until(() => listener.payloadBytes > bulkBytes, "the bulk");
      listener.socket.pause();
      await stalled(() => writtenBytes(pid));
      listener.socket.destroy();
      const written = writtenBytes(pid);
      await until(() => writtenBytes(pid) > written + bulkBytes, "it to go on");
      await engine.api("POST", `/containers/${id}/kill`);
    }
  });

  test("of a terminal is left by the detach keys, and the process runs on", async () => {
    const script = "seq 1 300000; echo over; cat";
    const id = await create({ Cmd: ["sh", "-c", script], OpenStdin: true, Tty: true });
    using listener = await attach(id, { stdin: true, isRaw: true });
    await engine.api("POST", `/containers/${id}/start`);
    await until(() => listener.tail.includes("over"), "the bulk");
    listener.socket.write("typed\r");
    await until(() => listener.tail.includes("typed\r\ntyped\r\n"), "the echo");
    listener.socket.write("\x10\x11");
    await listener.ended;
    expect(at(await engine.inspect(id), "State", "Running")).toBe(true);
    using again = await attach(id, { stdin: true, isRaw: true });
    again.socket.write("again\r");
    await until(() => again.tail.includes("again\r\nagain\r\n"), "the next echo");
  });

  ours("ends for the client when the daemon is killed, and for it alone", async () => {
    await using daemon = await startDaemon();
    await daemon.engine.ensureImages("busybox");
    const id = await create({ Cmd: ["dd", "if=/dev/zero", "bs=64k"] }, daemon.engine);
    using listener = await attach(id, { of: daemon.engine });
    await daemon.engine.api("POST", `/containers/${id}/start`);
    const pid = Number(at(await daemon.engine.inspect(id), "State", "Pid"));
    await until(() => listener.payloadBytes > bulkBytes, "the bulk");
    await daemon.kill9();
    await listener.ended;
    const written = writtenBytes(pid);
    await until(() => writtenBytes(pid) > written + bulkBytes, "it to go on");
    await daemon.restart();
    expect(at(await daemon.engine.inspect(id), "State", "Running")).toBe(true);
    using next = await attach(id, { of: daemon.engine });
    await until(() => next.payloadBytes > bulkBytes, "the bulk after the restart");
    await daemon.engine.removeContainers();
  });
});

describe("much input", () => {
  test("comes back whole from a container, and its end ends that", async () => {
    const id = await create({ Cmd: ["cat"], OpenStdin: true, StdinOnce: true });
    using listener = await attach(id, { stdin: true });
    await engine.api("POST", `/containers/${id}/start`);
    const sent = await sendAll(listener.socket, bulkBytes);
    await listener.ended;
    expect(listener.hashes[1]?.digest("hex")).toBe(sent);
    expect((await engine.api("POST", `/containers/${id}/wait`)).json).toMatchObject({
      StatusCode: 0,
    });
  });

  test("waits for a process that does not read", async () => {
    const id = await create({ Cmd: ["sleep", "60"], OpenStdin: true, StopSignal: "SIGKILL" });
    using listener = await attach(id, { stdin: true });
    await engine.api("POST", `/containers/${id}/start`);
    let sentBytes = 0;
    const send = async (): Promise<void> => {
      const block = Buffer.alloc(64 * 1024);
      while (!listener.socket.destroyed) {
        if (!listener.socket.write(block)) {
          await new Promise((resolve) => listener.socket.once("drain", resolve));
        }
        sentBytes += block.length;
      }
    };
    void send();
    await until(() => sentBytes > 0, "the first of it to be taken");
    await Bun.sleep(200);
    expect(await stalled(() => sentBytes)).toBeLessThan(boundBytes);
  });
});

describe("exec", () => {
  test("carries both ways whole, and its exit code is known once its output has ended", async () => {
    const container = await engine.runDetached({
      Image: "busybox",
      Cmd: ["sleep", "600"],
      StopSignal: "SIGKILL",
    });
    for (let round = 0; round < 5; round += 1) {
      const Cmd = ["sh", "-c", "sha256sum | cut -c 1-64 >&2; seq 1 300000; exit 7"];
      const { id, listener } = await startExec(container, { AttachStdin: true, Cmd });
      using _ = listener;
      const sent = await sendAll(listener.socket, 4_000_000);
      await listener.ended;
      const told = await engine.api("GET", `/exec/${id}/json`);
      expect(told.json).toMatchObject({ Running: false, ExitCode: 7 });
      expect(listener.hashes[1]?.digest("hex")).toBe(lines([1, 300_000]));
      expect(listener.hashes[2]?.digest("hex")).toBe(sha256().update(`${sent}\n`).digest("hex"));
    }
    for (let round = 0; round < 10; round += 1) {
      const Cmd = ["sh", "-c", "seq 1 300000; exit 3"];
      const { id, listener } = await startExec(container, { Cmd });
      using _ = listener;
      await listener.ended;
      const told = await engine.api("GET", `/exec/${id}/json`);
      expect(told.json).toMatchObject({ Running: false, ExitCode: 3 });
      expect(listener.hashes[1]?.digest("hex")).toBe(lines([1, 300_000]));
    }
  });
});
