import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createRequest, openTestStack, type TestStack } from "./test-stack.ts";

const isRoot = process.getuid?.() === 0;

async function run(
  stack: TestStack,
  request: ReturnType<typeof createRequest>,
): Promise<{ id: string; code: number; output: string }> {
  const { containers } = stack;
  const { Id: id } = await containers.create(request, {});
  const attachment = await containers.attach(id, {
    stdin: false,
    stdout: true,
    stderr: true,
    stream: true,
    logs: false,
  });
  const output = collect(attachment.stream);
  const ended = containers.wait(id, { condition: "next-exit", accepted: () => undefined });
  await containers.start(id, {});
  const { StatusCode: code } = await ended;
  return { id, code, output: unframe(await output) };
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function unframe(bytes: Buffer): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32BE(at + 4);
    text += bytes.toString("utf8", at + 8, at + 8 + size);
    at += 8 + size;
  }
  return text;
}

async function start(
  stack: TestStack,
  request: ReturnType<typeof createRequest>,
  name?: string,
): Promise<string> {
  const { Id } = await stack.containers.create(request, name === undefined ? {} : { name });
  await stack.containers.start(Id, {});
  return Id;
}

const endless = ["sleep", "1000"];
const none = { NetworkMode: "none" };

async function exec(
  stack: TestStack,
  id: string,
  config: Partial<Parameters<TestStack["containers"]["execCreate"]>[1]>,
): Promise<{ execId: string; output: string }> {
  const { Id: execId } = await stack.containers.execCreate(id, { ...emptyExec, ...config });
  const { stream } = await stack.containers.execAttach(execId, { hasTty: false });
  return { execId, output: unframe(await collect(stream)) };
}

const emptyExec = {
  User: "",
  Privileged: false,
  Tty: false,
  ConsoleSize: null,
  AttachStdin: false,
  AttachStderr: true,
  AttachStdout: true,
  DetachKeys: "",
  Env: null,
  WorkingDir: "",
  Cmd: null,
} as const;

async function soon(isDone: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (await isDone()) return;
    await Bun.sleep(10);
  }
  throw new Error("it did not happen within three seconds");
}

describe.skipIf(!isRoot)("containers", () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await openTestStack();
  });
  afterAll(async () => {
    await stack[Symbol.asyncDispose]();
  });
  const state = async (id: string) => (await stack.containers.inspect(id, { size: false })).State;
  const eventsOf = (id: string): readonly string[] =>
    stack
      .events()
      .filter((event) => event.Type === "container" && event.Actor.ID === id)
      .map((event) => event.Action);

  test("run to their end and say what they said", async () => {
    const { id, code, output } = await run(
      stack,
      createRequest({ Cmd: ["sh", "-c", "echo hello; exit 3"] }),
    );
    expect(output).toBe("hello\n");
    expect(code).toBe(3);
    expect(await state(id)).toMatchObject({ Status: "exited", ExitCode: 3, Pid: 0 });
    expect(eventsOf(id)).toEqual(["create", "attach", "start", "die"]);
  });

  test("lose no byte of a short-lived process to whom attached before the start", async () => {
    const { output } = await run(stack, createRequest({ Cmd: ["seq", "20000"] }, none));
    expect(output.length).toBe(108_894);
    expect(output.endsWith("20000\n")).toBe(true);
  });

  test("read what was written to stdin before the start, half-close included", async () => {
    const { containers } = stack;
    const request = createRequest({ Cmd: ["cat"], OpenStdin: true, StdinOnce: true }, none);
    const { Id } = await containers.create(request, {});
    const query = { stdin: true, stdout: true, stderr: true, stream: true, logs: false };
    const { stream } = await containers.attach(Id, query);
    stream.end("typed early\n");
    const output = collect(stream);
    await containers.start(Id, {});
    expect(unframe(await output)).toBe("typed early\n");
  });

  test("logs: all, followed to the end, and before what an attachment shows", async () => {
    const { containers } = stack;
    const request = createRequest(
      { Cmd: ["sh", "-c", "echo one; echo two >&2; sleep 0.3; echo three"] },
      none,
    );
    const id = await start(stack, request);
    await Bun.sleep(100);
    const query = { stdin: false, stdout: true, stderr: true, stream: true, logs: true };
    const attached = collect((await containers.attach(id, query)).stream);
    const all = { stdout: true, stderr: true, timestamps: false, details: false };
    const followed = await containers.logs(id, { ...all, follow: true });
    expect(followed.hasTty).toBe(false);
    expect(unframe(await collect(followed.stream))).toBe("one\ntwo\nthree\n");
    expect(unframe(await attached)).toBe("one\ntwo\nthree\n");
    const errors = await containers.logs(id, { ...all, stdout: false, follow: false });
    expect(unframe(await collect(errors.stream))).toBe("two\n");
    const tail = await containers.logs(id, { ...all, follow: true, tail: 1 });
    expect(unframe(await collect(tail.stream))).toBe("three\n");
    await expect(
      containers.logs(id, { ...all, stdout: false, stderr: false, follow: false }),
    ).rejects.toThrow("you must choose at least one stream");
  });

  test("a read-only root takes mounts on files and new folders", async () => {
    const { code } = await run(
      stack,
      createRequest(
        { Cmd: ["sh", "-c", "cat /release /new/x/passwd > /out/y && ! echo x > /z"] },
        {
          ReadonlyRootfs: true,
          Binds: ["/etc/os-release:/release:ro", "/etc:/new/x:ro", "out1:/out"],
        },
      ),
    );
    expect(code).toBe(0);
  });

  test("start() twice is not-modified, stop() of a stopped one too", async () => {
    const id = await start(stack, createRequest({ Cmd: endless, StopSignal: "KILL" }, none));
    await expect(stack.containers.start(id, {})).rejects.toMatchObject({ kind: "not-modified" });
    await stack.containers.stop(id, {});
    expect(await state(id)).toMatchObject({ Status: "exited", ExitCode: 137 });
    await expect(stack.containers.stop(id, {})).rejects.toMatchObject({ kind: "not-modified" });
    await soon(() => eventsOf(id).includes("stop"));
    expect(eventsOf(id)).toEqual(["create", "start", "kill", "die", "stop"]);
  });

  test("stop() sends the stop signal, and kills after the timeout", async () => {
    const trap = "trap 'exit 7' USR1; while :; do sleep 0.05; done";
    const id = await start(
      stack,
      createRequest({ Cmd: ["sh", "-c", trap], StopSignal: "SIGUSR1" }, none),
    );
    await Bun.sleep(100);
    await stack.containers.stop(id, { timeoutS: 5 });
    expect((await state(id)).ExitCode).toBe(7);
    await stack.containers.start(id, {});
    await stack.containers.stop(id, { signal: "SIGWINCH", timeoutS: 0 });
    expect((await state(id)).ExitCode).toBe(137);
  });

  test("kill() of one that does not run is a conflict with Docker's words", async () => {
    const { Id } = await stack.containers.create(createRequest({ Cmd: endless }), { name: "idle" });
    await expect(stack.containers.kill("idle", {})).rejects.toMatchObject({
      kind: "conflict",
      message: `cannot kill container: idle: container ${Id} is not running`,
    });
    await expect(stack.containers.kill("idle", { signal: "FOO" })).rejects.toMatchObject({
      kind: "invalid-argument",
      message: "cannot kill container: idle: invalid signal: FOO",
    });
  });

  test("restart() starts again, and keeps the log", async () => {
    const id = await start(stack, createRequest({ Cmd: endless }, none));
    const before = (await state(id)).StartedAt;
    await stack.containers.restart(id, { timeoutS: 0 });
    const after = await state(id);
    expect(after.Running).toBe(true);
    expect(after.StartedAt > before).toBe(true);
    expect(eventsOf(id).slice(-2)).toEqual(["start", "restart"]);
    await stack.containers.kill(id, {});
  });

  test("a command that is not there fails the start with 127, and leaves nothing behind", async () => {
    const { Id } = await stack.containers.create(createRequest({ Cmd: ["/nosuch"] }), {});
    await expect(stack.containers.start(Id, {})).rejects.toMatchObject({
      kind: "invalid-argument",
      message: expect.stringContaining('exec: "/nosuch": stat /nosuch: no such file or directory'),
    });
    expect(await state(Id)).toMatchObject({ Status: "created", ExitCode: 127, Pid: 0 });
    await stack.containers.remove(Id, { force: false, volumes: false, link: false });
  });

  test("an unknown user fails the start in Docker's words", async () => {
    const { Id } = await stack.containers.create(
      createRequest({ Cmd: endless, User: "nosuch" }),
      {},
    );
    await expect(stack.containers.start(Id, {})).rejects.toThrow(
      "unable to find user nosuch: no matching entries in passwd file",
    );
  });

  test("pause() and unpause() stop and go on; a paused one can be stopped and killed", async () => {
    const { containers } = stack;
    const id = await start(stack, createRequest({ Cmd: endless }, none));
    await containers.pause(id);
    expect(await state(id)).toMatchObject({ Status: "paused", Running: true, Paused: true });
    await expect(containers.pause(id)).rejects.toThrow(`Container ${id} is already paused`);
    await expect(containers.start(id, {})).rejects.toThrow("cannot start a paused container");
    await expect(
      containers.remove(id, { force: false, volumes: false, link: false }),
    ).rejects.toThrow("container is paused and must be unpaused first");
    await containers.unpause(id);
    expect((await state(id)).Status).toBe("running");
    await containers.pause(id);
    await containers.stop(id, { timeoutS: 0 });
    expect((await state(id)).Status).toBe("exited");
    await containers.start(id, {});
    await containers.pause(id);
    await containers.kill(id, {});
    expect((await state(id)).Status).toBe("exited");
  });

  test("kill() ends at once what a pause() is about to freeze", async () => {
    const { containers } = stack;
    const Cmd = ["sh", "-c", "while :; do :; done & while :; do :; done"];
    for (let round = 0; round < 5; round += 1) {
      const id = await start(stack, createRequest({ Cmd }, none));
      const beganMs = performance.now();
      const killed = round % 2 === 0 ? containers.kill(id, {}) : undefined;
      const paused = containers.pause(id);
      await Promise.allSettled([killed ?? containers.kill(id, {}), paused]);
      expect((await state(id)).Status).toBe("exited");
      expect(performance.now() - beganMs).toBeLessThan(3000);
      await expect(paused).rejects.toThrow("is not running");
    }
  });

  test("remove() by force takes a container along whose start has just been asked for", async () => {
    const { containers } = stack;
    for (let turns = 0; turns < 6; turns += 1) {
      const { Id } = await containers.create(createRequest({ Cmd: endless }, none), {});
      const started = containers.start(Id, {});
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      const removed = containers.remove(Id, { force: true, volumes: false, link: false });
      const [, removal] = await Promise.allSettled([started, removed]);
      expect(removal).toMatchObject({ status: "fulfilled" });
      await expect(containers.inspect(Id, { size: false })).rejects.toThrow("No such container");
    }
  });

  test("remove() refuses a running one, and takes it by force; two at once are a conflict", async () => {
    const { containers } = stack;
    const id = await start(stack, createRequest({ Cmd: endless }, none), "stubborn");
    const gentle = { force: false, volumes: false, link: false };
    await expect(containers.remove("stubborn", gentle)).rejects.toThrow(
      'cannot remove container "stubborn": container is running: stop the container before removing or force remove',
    );
    const [first, second] = await Promise.allSettled([
      containers.remove(id, { ...gentle, force: true }),
      containers.remove(id, { ...gentle, force: true }),
    ]);
    expect(first.status).toBe("fulfilled");
    expect(second).toMatchObject({
      status: "rejected",
      reason: { kind: "conflict", message: `removal of container ${id} is already in progress` },
    });
    await expect(containers.inspect(id, { size: false })).rejects.toMatchObject({
      kind: "not-found",
      message: `No such container: ${id}`,
    });
  });

  test("an auto-remove container answers each kind of wait, and is gone", async () => {
    const { containers } = stack;
    for (const condition of ["next-exit", "removed"] as const) {
      const request = createRequest({ Cmd: ["sh", "-c", "exit 5"] }, { ...none, AutoRemove: true });
      const { Id } = await containers.create(request, {});
      const ended = containers.wait(Id, { condition, accepted: () => undefined });
      await containers.start(Id, {});
      expect(await ended).toEqual({ StatusCode: 5 });
      await soon(() => eventsOf(Id).includes("destroy"));
      await expect(containers.inspect(Id, { size: false })).rejects.toThrow("No such container");
    }
  });

  test("an auto-remove container is there a while for who has just started it", async () => {
    const { containers } = stack;
    const request = createRequest({ Cmd: ["sh", "-c", "exit 5"] }, { ...none, AutoRemove: true });
    const { Id } = await containers.create(request, {});
    await containers.start(Id, {});
    await soon(() => eventsOf(Id).includes("die"));
    const { State } = await containers.inspect(Id, { size: false });
    expect(State).toMatchObject({ Status: "exited", ExitCode: 5 });
    const ended = { condition: "not-running", accepted: () => undefined } as const;
    expect(await containers.wait(Id, ended)).toEqual({ StatusCode: 5 });
    await containers.start(Id, {});
    await soon(() => eventsOf(Id).includes("destroy"));
    expect(eventsOf(Id).filter((action) => action === "die")).toHaveLength(2);
    await expect(containers.inspect(Id, { size: false })).rejects.toThrow("No such container");

    const { Id: taken } = await containers.create(request, {});
    await containers.start(taken, {});
    await soon(() => eventsOf(taken).includes("die"));
    await containers.remove(taken, { force: false, volumes: false, link: false });
    await Bun.sleep(600);
    expect(eventsOf(taken).filter((action) => action === "destroy")).toHaveLength(1);
  });

  test("an auto-remove container that cannot start is removed", async () => {
    const request = createRequest({ Cmd: ["/nosuch"] }, { ...none, AutoRemove: true });
    const { Id } = await stack.containers.create(request, {});
    const removed = stack.containers.wait(Id, { condition: "removed", accepted: () => undefined });
    await expect(stack.containers.start(Id, {})).rejects.toThrow("no such file");
    expect((await removed).StatusCode).toBe(127);
  });

  test("exec: output, exit code, user, environment, workdir", async () => {
    const id = await start(stack, createRequest({ Cmd: endless, Env: ["A=1"] }, none));
    const { execId, output } = await exec(stack, id, {
      Cmd: ["sh", "-c", "id -u; echo $A$B; pwd; exit 9"],
      User: "bob",
      Env: ["B=2"],
      WorkingDir: "/tmp",
    });
    expect(output).toBe("1000\n12\n/tmp\n");
    await soon(async () => !(await stack.containers.execInspect(execId)).Running);
    expect(await stack.containers.execInspect(execId)).toMatchObject({
      ExitCode: 9,
      ContainerID: id,
      ProcessConfig: { entrypoint: "sh", user: "bob", privileged: false },
    });
    await expect(stack.containers.execStart(execId, {})).rejects.toThrow("has already run");
    await stack.containers.kill(id, {});
  });

  test("exec: a missing command is told to the client, with 127", async () => {
    const id = await start(stack, createRequest({ Cmd: endless }, none));
    const { execId, output } = await exec(stack, id, { Cmd: ["nosuch"] });
    expect(output).toContain('exec: "nosuch": executable file not found in $PATH');
    expect(await stack.containers.execInspect(execId)).toMatchObject({
      ExitCode: 127,
      Running: false,
    });
    await expect(
      stack.containers.execCreate(id, { ...emptyExec, Cmd: ["x"], User: "nosuch" }),
    ).rejects.toThrow("unable to find user nosuch");
    await stack.containers.kill(id, {});
    await expect(stack.containers.execCreate(id, { ...emptyExec, Cmd: ["x"] })).rejects.toThrow(
      `container ${id} is not running`,
    );
  });

  test("an exec that ran ends with its container", async () => {
    const id = await start(stack, createRequest({ Cmd: endless }, none));
    const { Id: execId } = await stack.containers.execCreate(id, { ...emptyExec, Cmd: endless });
    await stack.containers.execStart(execId, {});
    expect(await stack.containers.execInspect(execId)).toMatchObject({
      Running: true,
      ExitCode: null,
    });
    await stack.containers.kill(id, {});
    expect(await stack.containers.execInspect(execId)).toMatchObject({
      Running: false,
      ExitCode: 137,
    });
  });

  test("the memory limit's kill is told in inspect and events", async () => {
    const hog = "x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    const { id, code } = await run(
      stack,
      createRequest({ Cmd: ["sh", "-c", hog] }, { ...none, Memory: 10_000_000 }),
    );
    expect(code).toBe(137);
    expect((await state(id)).OOMKilled).toBe(true);
    expect(eventsOf(id)).toContain("oom");
    expect((await stack.containers.inspect(id, { size: false })).HostConfig.MemorySwap).toBe(
      20_000_000,
    );
  });

  test("names are unique, and given back by rename and remove", async () => {
    const { containers } = stack;
    const { Id } = await containers.create(createRequest({ Cmd: endless }), { name: "one" });
    await expect(
      containers.create(createRequest({ Cmd: endless }), { name: "/one" }),
    ).rejects.toThrow(`Conflict. The container name "/one" is already in use by container "${Id}"`);
    await expect(
      containers.create(createRequest({ Cmd: endless }), { name: "\u001b[31mred" }),
    ).rejects.toThrow("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    await containers.rename("one", { name: "two" });
    expect((await containers.inspect("two", { size: false })).Name).toBe("/two");
    await expect(containers.rename("two", { name: "two" })).rejects.toThrow("same name");
    await expect(containers.rename("two", { name: "idle" })).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringMatching(/^Error when allocating new name: Conflict/),
    });
    await containers.create(createRequest({ Cmd: endless }), { name: "one" });
  });

  test("volumes: the image's content is copied up once, anonymous ones go with their container", async () => {
    const { containers } = stack;
    const request = createRequest(
      { Cmd: ["sh", "-c", "cat /v/seed /a/x; echo more >> /v/seed"], Volumes: { "/data": {} } },
      { ...none, Binds: ["seeded:/data", "made:/v", "/tmp:/a:ro"] },
    );
    await expect(containers.create(request, {})).resolves.toBeDefined();
    const first = await run(
      stack,
      createRequest(
        { Cmd: ["sh", "-c", "cat /data/seed; echo more >> /data/seed"] },
        {
          ...none,
          Binds: ["seeded:/data"],
        },
      ),
    );
    expect(first.output).toBe("seed\n");
    const second = await run(
      stack,
      createRequest({ Cmd: ["cat", "/data/seed"], Volumes: { "/data": {} } }, none),
    );
    expect(second.output).toBe("seed\n");
    const [mount] = (await containers.inspect(second.id, { size: false })).Mounts;
    expect(mount).toMatchObject({ Type: "volume", Destination: "/data", RW: true, Mode: "" });
    expect(await Bun.file(`${mount?.Source}/seed`).exists()).toBe(true);
    await containers.remove(second.id, { force: false, volumes: true, link: false });
    expect(await Bun.file(`${mount?.Source}/seed`).exists()).toBe(false);
  });

  test("hosts, hostname, resolv.conf and 10,000 variables reach the container", async () => {
    const Env = Array.from({ length: 10_000 }, (_, index) => `VARIABLE_${index}=${index}`);
    const { output } = await run(
      stack,
      createRequest(
        {
          Cmd: ["sh", "-c", "hostname; cat /etc/hosts; echo $VARIABLE_9999"],
          Hostname: "box",
          Env,
        },
        { ExtraHosts: ["db:10.0.0.9"] },
      ),
    );
    expect(output).toStartWith("box\n");
    expect(output).toContain("10.0.0.9\tdb\n");
    expect(output).toMatch(/\d+\.\d+\.\d+\.\d+\tbox\n/);
    expect(output).toEndWith("9999\n");
  });

  test("list: filters, limits, and what is shown", async () => {
    const { containers } = stack;
    const id = await start(
      stack,
      createRequest({ Cmd: [...endless, "a b"], Labels: { app: "web" } }, none),
      "shown",
    );
    const list = async (filters: Record<string, string[]>, all = true) =>
      (await containers.list({ all, size: false, filters: new Map(Object.entries(filters)) })).map(
        (one) => one.Names[0],
      );
    expect(await list({ name: ["^/sho"] })).toEqual(["/shown"]);
    expect(await list({ label: ["app=web"] }, false)).toEqual(["/shown"]);
    expect(await list({ id: [id.slice(0, 20)] })).toEqual(["/shown"]);
    expect(await list({ status: ["running"], network: ["none"], label: ["app"] })).toEqual([
      "/shown",
    ]);
    expect(await list({ label: ["app=db"] })).toEqual([]);
    expect(await list({ ancestor: ["busybox"], name: ["shown"] })).toEqual(["/shown"]);
    expect(await list({ name: ["["] })).toEqual([]);
    await expect(list({ foo: ["x"] })).rejects.toThrow("invalid filter 'foo'");
    await expect(list({ status: ["x"] })).rejects.toThrow("invalid value for state (x)");
    const [shown] = await containers.list({
      all: false,
      size: true,
      filters: new Map([["id", [id]]]),
    });
    expect(shown).toMatchObject({
      Command: "sleep 1000 'a b'",
      State: "running",
      Image: "busybox",
      Labels: { app: "web" },
      SizeRootFs: expect.any(Number),
    });
    expect(shown?.Status).toMatch(/^Up (Less than a second|\d seconds?)$/);
    expect(
      await containers.list({ all: false, limit: 1, size: false, filters: new Map() }),
    ).toHaveLength(1);
    await containers.kill(id, {});
  });

  test("top tells the container's processes alone", async () => {
    const id = await start(stack, createRequest({ Cmd: ["sleep", "4711"] }, none));
    const { Titles, Processes } = await stack.containers.top(id, { psArgs: "" });
    expect(Titles).toContain("PID");
    expect(Processes.map((row) => row.at(-1))).toEqual(["sleep 4711"]);
    await expect(stack.containers.top(id, { psArgs: "-o cmd" })).rejects.toThrow(
      "Couldn't find PID field in ps output",
    );
    await stack.containers.kill(id, {});
  });

  test("a container lends its network and its shared memory", async () => {
    const id = await start(
      stack,
      createRequest(
        { Cmd: ["sh", "-c", "echo 1 > /dev/shm/x; sleep 1000"] },
        { IpcMode: "shareable" },
      ),
    );
    await Bun.sleep(50);
    const { output, code } = await run(
      stack,
      createRequest(
        { Cmd: ["sh", "-c", "cat /dev/shm/x; hostname"] },
        {
          NetworkMode: `container:${id}`,
          IpcMode: `container:${id}`,
        },
      ),
    );
    expect(code).toBe(0);
    expect(output).toBe(`1\n${id.slice(0, 12)}\n`);
    await stack.containers.kill(id, {});
    const { Id } = await stack.containers.create(
      createRequest({ Cmd: endless }, { NetworkMode: `container:${id}` }),
      {},
    );
    await expect(stack.containers.start(Id, {})).rejects.toThrow("is not running");
  });

  test("a killed shim costs its container, with a reason, and no other", async () => {
    const victim = await start(stack, createRequest({ Cmd: endless }, none));
    const other = await start(stack, createRequest({ Cmd: endless }, none));
    const pid = (await state(victim)).Pid;
    const stat = await Bun.file(`/proc/${pid}/stat`).text();
    const shimPid = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    process.kill(shimPid, "SIGKILL");
    await soon(async () => (await state(victim)).Status === "exited");
    expect(await state(victim)).toMatchObject({
      ExitCode: 137,
      Error: expect.stringContaining("shim"),
    });
    await soon(async () => !(await Bun.file(`/proc/${pid}/stat`).exists()));
    expect((await state(other)).Running).toBe(true);
    await stack.containers.start(victim, {});
    for (const id of [victim, other]) await stack.containers.kill(id, {});
  });

  test("a container whose file system is lost is dead, says why, and can be removed", async () => {
    const { Id } = await stack.containers.create(createRequest({ Cmd: endless }, none), {});
    await stack.snapshots.remove(Id);
    await expect(stack.containers.start(Id, {})).rejects.toMatchObject({ kind: "data-loss" });
    expect(await state(Id)).toMatchObject({
      Status: "dead",
      Error: expect.stringContaining("its file system is lost"),
    });
    await stack.containers.list({ all: true, size: true, filters: new Map() });
    await stack.containers.remove(Id, { force: false, volumes: false, link: false });
  });

  test("stop and remove work while nothing can be stored; the state is stored later", async () => {
    const id = await start(stack, createRequest({ Cmd: endless }, none));
    const table = stack.breakDisk();
    try {
      await stack.containers.stop(id, { timeoutS: 0 });
      expect(await state(id)).toMatchObject({ Status: "exited", ExitCode: 137 });
    } finally {
      table.repair();
    }
    await soon(() => table.stored(id)?.phase === "exited");
    await stack.containers.remove(id, { force: false, volumes: false, link: false });
  });

  test("what cannot be done yet is refused by name", async () => {
    const refuse = async (hostConfig: Parameters<typeof createRequest>[1], words: string) =>
      expect(
        stack.containers.create(createRequest({ Cmd: endless }, hostConfig), {}),
      ).rejects.toMatchObject({ kind: "not-implemented", message: expect.stringContaining(words) });
    await refuse(
      { RestartPolicy: { Name: "always", MaximumRetryCount: 0 } },
      "HostConfig.RestartPolicy",
    );
    await refuse({ Links: ["a:b"] }, "HostConfig.Links");
    await refuse({ StorageOpt: { size: "1G" } }, "HostConfig.StorageOpt");
    await refuse({ Init: true }, "HostConfig.Init");
    // As in Docker, where clients take a missing object at creation for the image.
    const { Id } = await stack.containers.create(
      createRequest({ Cmd: endless }, { NetworkMode: "mine" }),
      {},
    );
    await expect(stack.containers.start(Id, {})).rejects.toThrow("network mine not found");
    await expect(
      stack.containers.create(createRequest({ Cmd: endless, Image: "nosuch" }), {}),
    ).rejects.toMatchObject({ kind: "not-found" });
  });

  test("prune() removes what does not run", async () => {
    const running = await start(stack, createRequest({ Cmd: endless }, none));
    const { ContainersDeleted } = await stack.containers.prune(new Map());
    expect(ContainersDeleted.length).toBeGreaterThan(3);
    expect(ContainersDeleted).not.toContain(running);
    expect((await state(running)).Running).toBe(true);
    await stack.containers.kill(running, {});
  });
});

describe.skipIf(!isRoot)("the next daemon", () => {
  test("goes on with what runs, tells what ended, finishes what was begun", async () => {
    const first = await openTestStack();
    const running = await start(first, createRequest({ Cmd: endless, Env: ["A=1"] }), "running");
    const volatile = await start(
      first,
      createRequest({ Cmd: ["sh", "-c", "sleep 0.5; exit 6"] }, { ...none, AutoRemove: true }),
    );
    const ending = await start(
      first,
      createRequest({ Cmd: ["sh", "-c", "sleep 0.5; exit 4"] }, none),
    );
    const { Id: idle } = await first.containers.create(createRequest({ Cmd: ["true"] }, none), {});
    await using second = await first.restart({ meanwhileMs: 900 });
    const inspect = async (id: string) => await second.containers.inspect(id, { size: false });
    expect((await inspect(running)).State.Running).toBe(true);
    expect((await inspect(running)).NetworkSettings.IPAddress).not.toBe("");
    expect((await inspect(ending)).State).toMatchObject({ Status: "exited", ExitCode: 4 });
    await expect(inspect(volatile)).rejects.toThrow("No such container");
    const { output } = await exec(second, running, { Cmd: ["sh", "-c", "echo $A"] });
    expect(output).toBe("1\n");
    await second.containers.start(idle, {});
    await second.containers.stop("running", { timeoutS: 0 });
    expect((await inspect(running)).State).toMatchObject({ Status: "exited", ExitCode: 137 });
    await second.containers.start("running", {});
    expect((await inspect(running)).State.Running).toBe(true);
  });
});
