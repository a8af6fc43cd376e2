import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { controlMethods, type StatusResponse } from "../../api/buildkit/control.ts";
import { buildIdKey, gatewayMethods } from "../../api/buildkit/gateway.ts";
import { sessionHeaders } from "../../api/buildkit/session.ts";
import { EngineError } from "../../lib/errors.ts";
import { GrpcClient } from "../../lib/grpc/client.ts";
import { replayDuplex } from "../../lib/grpc/replay-duplex.ts";
import { createGrpcServer } from "../../lib/grpc/server.ts";
import { statusCodeKey, statusDetailsKey } from "../../lib/grpc/status.ts";
import { silentLogger } from "../../lib/log.ts";
import { digestOf } from "../../oci/digest.ts";
import { hostPlatform } from "../../oci/platform.ts";
import { decodeMessage } from "../../lib/protobuf.ts";
import type {
  BuildRequest,
  BuildResult,
  BuildService,
  CacheRecord,
  LocalRequest,
} from "../build-service.ts";
import { ContextFolders } from "../session/context-folders.ts";
import { type Buildkit, createBuildkit } from "./buildkit.ts";
import { ProgressLog } from "./progress-log.ts";

const root = mkdtempSync("/tmp/buildkit-test-");
afterAll(() => rmSync(root, { recursive: true }));

type Build = (request: BuildRequest) => Promise<BuildResult>;
let build: Build;
const built: BuildRequest[] = [];
const result: BuildResult = { imageId: digestOf("image"), metadata: {}, warnings: [] };
const records: CacheRecord[] = [
  {
    id: "one",
    parents: [],
    type: "regular",
    description: "RUN one",
    isInUse: false,
    isShared: true,
    sizeBytes: 10,
    createdNs: "1700000000000000001",
    usageCount: 2,
  },
  {
    id: "two",
    parents: ["one"],
    type: "exec.cachemount",
    description: "cache",
    isInUse: true,
    isShared: false,
    sizeBytes: 5,
    createdNs: "1700000000000000000",
    lastUsedNs: "1700000000000000000",
    usageCount: 1,
  },
];
const service = {
  build: async (request: BuildRequest) => {
    built.push(request);
    return await build(request);
  },
  diskUsage: async () => await Promise.resolve(records),
  prune: async () => await Promise.resolve({ removed: ["one"], spaceReclaimedBytes: 10 }),
} as unknown as BuildService;

let buildkit: Buildkit;
let client: GrpcClient;
let caseCount = 0;
const closers: (() => void)[] = [];

/** Both ends of a connection. */
async function connectPair(): Promise<readonly [net.Socket, net.Socket]> {
  caseCount += 1;
  const path = join(root, `${caseCount}.sock`);
  const accepted = Promise.withResolvers<net.Socket>();
  const listener = net.createServer({ allowHalfOpen: true }, (far) => accepted.resolve(far));
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  const socket = net.connect({ path, allowHalfOpen: true });
  const far = await accepted.promise;
  closers.push(() => {
    listener.close();
    socket.destroy();
  });
  return [socket, far];
}

/** Opens a session that serves nothing. */
async function openSession(id: string): Promise<net.Socket> {
  const [own, far] = await connectPair();
  const server = createGrpcServer({ handlers: [], logger: silentLogger });
  void server.accept(replayDuplex(own));
  void buildkit.acceptSession(replayDuplex(far), { [sessionHeaders.id]: id });
  return own;
}

beforeEach(async () => {
  built.length = 0;
  build = async () => await Promise.resolve(result);
  buildkit = createBuildkit({
    service,
    folders: new ContextFolders({ root: join(root, "contexts"), logger: silentLogger }),
    socketRoot: join(root, "sockets"),
    engineId: "engine",
    engineVersion: "1",
    platforms: [hostPlatform()],
    snapshotter: "overlay2",
    hostGatewayIp: () => "10.0.0.1",
    entitlements: new Set(["network.host"]),
    logger: silentLogger,
  });
  const [own, far] = await connectPair();
  void buildkit.acceptCalls(replayDuplex(far));
  client = new GrpcClient(replayDuplex(own));
  await openSession("s");
});
afterEach(() => {
  client.close();
  buildkit.close();
  for (const close of closers.splice(0)) close();
});

const direct = { session: "s", frontend: "dockerfile.v0" };

/** All that is told of a build. */
async function watch(ref: string): Promise<readonly StatusResponse[]> {
  const call = client.open(controlMethods.status);
  await call.send({ ref });
  call.end();
  const answers: StatusResponse[] = [];
  for (let next = await call.next(); next !== undefined; next = await call.next()) {
    answers.push(next);
  }
  return answers;
}

describe("a build", () => {
  test("is what its attributes say, and answers with what it made", async () => {
    const { exporterResponse } = await client.unary(controlMethods.solve, {
      ...direct,
      ref: "r1",
      frontendAttrs: new Map([["target", "t"]]),
      exporters: [{ type: "moby", attrs: new Map([["name", "x:1"]]) }],
      entitlements: ["network.host"],
    });
    expect(exporterResponse.get("containerimage.config.digest")).toBe(digestOf("image"));
    expect(built[0]).toMatchObject({ target: "t", outputs: [{ kind: "image", names: ["x:1"] }] });
    expect([...(built[0]?.allows ?? [])]).toEqual(["network.host"]);
  });

  test.each([
    ["security.insecure", "granting entitlement security.insecure is not allowed by build daemon"],
    ["device=nvidia.com/gpu", "granting entitlement device is not allowed by build daemon"],
    ["all", "unknown entitlement: all"],
  ])("is refused when the client gives it %s and the engine does not", async (name, sentence) => {
    const asked = client.unary(controlMethods.solve, {
      ...direct,
      ref: "r1",
      entitlements: ["network.host", name],
    });
    expect(await asked.catch((error) => error)).toMatchObject({
      message: expect.stringContaining(sentence),
    });
    expect(built).toEqual([]);
  });

  test("takes the exporter of an old client", async () => {
    await client.unary(controlMethods.solve, { ...direct, ref: "r1", exporter: "tar" });
    expect(built[0]?.outputs).toEqual([{ kind: "tar" }]);
  });

  test("tells its progress, also to who asks before it begins", async () => {
    const digest = digestOf("v");
    build = async ({ progress }) => {
      progress({ kind: "vertex", vertex: { digest, name: "[1/1] RUN x", inputs: [] } });
      progress({ kind: "started", digest, atNs: "1000000001" });
      progress({
        kind: "log",
        digest,
        stream: "stderr",
        bytes: Buffer.from("out\n"),
        atNs: "1000000002",
      });
      await Bun.sleep(60);
      progress({ kind: "completed", digest, atNs: "2000000000", isCached: true });
      return result;
    };
    const early = watch("r1");
    await Bun.sleep(20);
    const solved = client.unary(controlMethods.solve, { ...direct, ref: "r1" });
    const answers = await early;
    await solved;
    const last = answers.flatMap(({ vertexes }) => vertexes).at(-1);
    expect(last).toMatchObject({
      digest,
      name: "[1/1] RUN x",
      cached: true,
      started: { seconds: 1n, nanos: 1 },
      completed: { seconds: 2n, nanos: 0 },
    });
    const logs = answers.flatMap((answer) => answer.logs);
    expect(logs.map(({ stream, msg }) => [stream, Buffer.from(msg).toString()])).toEqual([
      [2, "out\n"],
    ]);
    // Progress of an ended build is still there for a while.
    expect((await watch("r1")).flatMap(({ vertexes }) => vertexes)).toHaveLength(1);
  });

  test("that fails tells its sentence without a kind, and its steps that ran as canceled", async () => {
    const digest = digestOf("v");
    build = async ({ progress }) => {
      progress({ kind: "vertex", vertex: { digest, name: "step", inputs: [] } });
      progress({ kind: "started", digest, atNs: "1" });
      await Promise.resolve();
      throw new EngineError("invalid-argument", "exit code: 3", {
        details: { location: { startLine: 2, endLine: 2 } },
      });
    };
    const failure = await client
      .unary(controlMethods.solve, { ...direct, ref: "r1" })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ message: "exit code: 3", details: { [statusCodeKey]: 2 } });
    const vertexes = (await watch("r1")).flatMap((answer) => answer.vertexes);
    expect(vertexes.at(-1)?.error).toBe("context canceled");
  });

  test("is canceled when its caller goes", async () => {
    const canceled = Promise.withResolvers<void>();
    build = async ({ signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      canceled.resolve();
      throw new EngineError("canceled", "context canceled");
    };
    const stop = new AbortController();
    const solved = client
      .unary(controlMethods.solve, { ...direct, ref: "r1" }, { signal: stop.signal })
      .catch((error: unknown) => error);
    while (built.length === 0) await Bun.sleep(1);
    stop.abort();
    await canceled.promise;
    expect(await solved).toMatchObject({ kind: "canceled" });
  });

  test("is canceled when the connection is lost", async () => {
    const canceled = Promise.withResolvers<void>();
    build = async ({ signal }) => {
      signal.addEventListener("abort", () => canceled.resolve());
      await canceled.promise;
      throw new EngineError("canceled", "context canceled");
    };
    const solved = client.unary(controlMethods.solve, { ...direct, ref: "r1" }).catch(() => 0);
    while (built.length === 0) await Bun.sleep(1);
    client.close();
    await canceled.promise;
    await solved;
  });

  test("runs beside others of the same session", async () => {
    const gate = Promise.withResolvers<void>();
    build = async () => {
      if (built.length === 3) gate.resolve();
      await gate.promise;
      return result;
    };
    const refs = ["a", "b", "c"];
    await Promise.all(refs.map((ref) => client.unary(controlMethods.solve, { ...direct, ref })));
    expect(new Set(built.map(({ id }) => id)).size).toBe(3);
  });

  test.each([
    ["without a name", { ref: "" }],
    ["of an unknown frontend", { frontend: "nix.v0" }],
    ["of a frontend's image that is no Dockerfile's", { frontend: "gateway.v0" }],
    ["with an unknown exporter", { exporters: [{ type: "ftp", attrs: new Map() }] }],
    ["with an unknown entitlement", { entitlements: ["root"] }],
    [
      "of low-level operations",
      { frontend: "", definition: { def: [Buffer.from("x")], metadata: new Map() } },
    ],
  ])("%s is refused", async (_name, more) => {
    const failure = await client
      .unary(controlMethods.solve, { ...direct, ref: "r", ...more })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(EngineError);
    expect(built).toEqual([]);
  });

  test("of a name that is in use is refused", async () => {
    const gate = Promise.withResolvers<BuildResult>();
    build = async () => await gate.promise;
    const first = client.unary(controlMethods.solve, { ...direct, ref: "r" });
    while (built.length === 0) await Bun.sleep(1);
    const second = client.unary(controlMethods.solve, { ...direct, ref: "r" });
    await expect(second).rejects.toMatchObject({ kind: "already-exists" });
    gate.resolve(result);
    await first;
  });
});

describe("a build that its client drives", () => {
  const call = (ref: string) => ({ metadata: new Map([[buildIdKey, [ref]]]) });
  const wanted = { frontend: "dockerfile.v0", frontendOpt: new Map([["target", "x"]]) };

  test("runs when its result is returned, with the outputs it was opened with", async () => {
    const solved = client.unary(controlMethods.solve, {
      ref: "g",
      session: "s",
      exporters: [{ type: "local", attrs: new Map() }],
    });
    const pong = await client.unary(gatewayMethods.ping, {}, call("g"));
    expect(pong.frontendApiCaps.map(({ id }) => id)).toContain("return");
    expect(pong.workers[0]?.labels.get("org.mobyproject.buildkit.worker.snapshotter")).toBe(
      "overlay2",
    );
    const { result: got } = await client.unary(gatewayMethods.solve, wanted, call("g"));
    expect(built).toEqual([]);
    await client.unary(gatewayMethods.return, { result: got }, call("g"));
    await solved;
    expect(built[0]).toMatchObject({ target: "x", outputs: [{ kind: "local" }] });
  });

  test("ends with what its client returns as failure, details and all", async () => {
    const solved = client
      .unary(controlMethods.solve, { ref: "g", session: "s" })
      .catch((error: unknown) => error);
    const details = [{ typeUrl: "t", value: Buffer.from("v") }];
    const error = { code: 2, message: "client's own", details };
    await client.unary(gatewayMethods.return, { error }, call("g"));
    const failure = (await solved) as EngineError;
    expect(failure.message).toBe("client's own");
    expect(JSON.stringify(failure.details[statusDetailsKey])).toContain('"typeUrl":"t"');
  });

  test("that only asks what can be done builds nothing", async () => {
    const solved = client.unary(controlMethods.solve, { ref: "g", session: "s" });
    await client.unary(gatewayMethods.ping, {}, call("g"));
    await client.unary(gatewayMethods.return, { result: undefined }, call("g"));
    expect((await solved).exporterResponse.size).toBe(0);
    expect(built).toEqual([]);
  });

  test("answers requests besides an image at once", async () => {
    build = async ({ subrequest, outputs }) => {
      expect(outputs).toEqual([]);
      return await Promise.resolve({ ...result, answers: { "result.txt": subrequest ?? "" } });
    };
    void client.unary(controlMethods.solve, { ref: "g", session: "s" }).catch(() => 0);
    const ask = async (id: string): Promise<string> => {
      const frontendOpt = new Map([["requestid", id]]);
      const answer = await client.unary(
        gatewayMethods.solve,
        { ...wanted, frontendOpt },
        call("g"),
      );
      return Buffer.from(answer.result?.metadata.get("result.txt") ?? []).toString();
    };
    expect(await ask("frontend.lint")).toBe("check");
    expect(await ask("frontend.subrequests.describe")).toContain("frontend.targets");
  });

  test("takes the result of another as an input", async () => {
    for (const ref of ["base", "app"]) {
      void client.unary(controlMethods.solve, { ref, session: "s" }).catch(() => 0);
    }
    const base = await client.unary(gatewayMethods.solve, wanted, call("base"));
    const def = base.result?.ref?.def;
    if (def === undefined) throw new EngineError("internal", "the result has no definition");
    const app = await client.unary(
      gatewayMethods.solve,
      {
        frontend: "dockerfile.v0",
        frontendOpt: new Map([["context:mybase", "input:base"]]),
        frontendInputs: new Map([["base", def]]),
      },
      call("app"),
    );
    await client.unary(gatewayMethods.return, { result: app.result }, call("app"));
    while (built.length < 2) await Bun.sleep(1);
    expect(built[0]).toMatchObject({ target: "x", outputs: [{ kind: "image", names: [] }] });
    expect(built[1]?.contexts.get("mybase")).toEqual({
      kind: "image",
      reference: digestOf("image"),
    });
  });
});

describe("the engine", () => {
  test("says who it is", async () => {
    const { record } = await client.unary(controlMethods.listWorkers, {});
    expect(record[0]).toMatchObject({ id: "engine" });
    expect(record[0]?.platforms[0]?.os).toBe("linux");
    const { buildkitVersion } = await client.unary(controlMethods.info, {});
    expect(buildkitVersion?.version).toMatch(/^v\d+\.\d+\.\d+\+tug-1$/);
  });

  test.each([
    [[], ["one", "two"]],
    [[""], ["one", "two"]],
    [["type==regular"], ["one"]],
    [["description~=cac"], ["two"]],
    [["inuse"], ["two"]],
    [["parents==one"], ["two"]],
    [["shared==true", "type==exec.cachemount"], []],
  ])("lists its cache by %p", async (filter, ids) => {
    const { record } = await client.unary(controlMethods.diskUsage, { filter });
    expect(record.map(({ id }) => id)).toEqual(ids);
  });

  test("tells what it pruned", async () => {
    const call = client.open(controlMethods.prune);
    await call.send({ all: true });
    call.end();
    expect(await call.next()).toMatchObject({ id: "one", size: 10, shared: true });
    expect(await call.next()).toBeUndefined();
  });

  test("gives the client's side of a session to a build that is asked for elsewhere", async () => {
    const { signal } = new AbortController();
    await using opened = await buildkit.openClient("s", signal);
    expect(await opened.secret("none")).toBeUndefined();
    await expect(opened.folder({ name: "context" } as LocalRequest)).rejects.toThrow();
    const gone = buildkit.openClient("none", AbortSignal.abort());
    await expect(gone).rejects.toMatchObject({ kind: "canceled" });
  });

  test("tells a build to who reads a trace of it, to its end", async () => {
    const trace = buildkit.openTrace();
    const digest = digestOf("step");
    trace.push({ kind: "vertex", vertex: { digest, name: "RUN it", inputs: [] } });
    const bytes = Buffer.from("said\n");
    trace.push({ kind: "log", digest, stream: "stdout", bytes, atNs: "1" });
    trace.end();
    const told: StatusResponse[] = [];
    for await (const text of trace.read(new AbortController().signal)) {
      told.push(decodeMessage(controlMethods.status.response, Buffer.from(text, "base64")));
    }
    expect(told.flatMap(({ vertexes }) => vertexes.map(({ name }) => name))).toEqual(["RUN it"]);
    expect(told.flatMap(({ logs }) => logs.map(({ msg }) => String(Buffer.from(msg))))).toEqual([
      "said\n",
    ]);
  });

  test("takes a session as a call", async () => {
    const call = client.open(controlMethods.session, {
      metadata: new Map([[sessionHeaders.id, ["inner"]]]),
    });
    // The engine is the client there: it speaks first.
    expect(Buffer.from((await call.next())?.data ?? []).toString("latin1")).toStartWith(
      "PRI * HTTP/2",
    );
    call.cancel();
  });
});

describe("progress", () => {
  const digest = digestOf("v");

  async function collect(log: ProgressLog): Promise<readonly Partial<StatusResponse>[]> {
    const answers: Partial<StatusResponse>[] = [];
    for await (const answer of log.watch(AbortSignal.timeout(5000))) answers.push(answer);
    return answers;
  }

  test("gives up old output of a step that never ends, and says so", async () => {
    const log = new ProgressLog();
    const stop = new AbortController();
    const watching = log.watch(stop.signal);
    log.push({ kind: "vertex", vertex: { digest, name: "x", inputs: [] } });
    await watching.next();
    for (let at = 0; at < 2000; at += 1) {
      const bytes = Buffer.alloc(10_000, at % 256);
      log.push({ kind: "log", digest, stream: "stdout", bytes, atNs: "1" });
    }
    log.end();
    let sizeBytes = 0;
    let isClipped = false;
    for await (const { logs = [] } of watching) {
      for (const { msg } of logs) {
        sizeBytes += msg.length;
        isClipped ||= Buffer.from(msg).toString().includes("clipped");
      }
      expect(logs.reduce((sum, { msg }) => sum + msg.length, 0)).toBeLessThan(2 * 1024 * 1024);
    }
    expect(isClipped).toBe(true);
    expect(sizeBytes).toBeLessThan(9 * 1024 * 1024);
  });

  test("does not hold back the last answer for what could still come", async () => {
    const log = new ProgressLog();
    const answers = log.watch(AbortSignal.timeout(5000));
    const first = answers.next();
    await Bun.sleep(1);
    log.push({ kind: "vertex", vertex: { digest, name: "x", inputs: [] } });
    // Now it waits for more of it to come.
    await Bun.sleep(0);
    let hasWaited = false;
    const timer = setTimeout(() => {
      hasWaited = true;
    }, 0);
    log.end();
    expect((await first).value?.vertexes).toHaveLength(1);
    expect((await answers.next()).done).toBe(true);
    expect(hasWaited).toBe(false);
    clearTimeout(timer);
  });

  test("completes the parts of a step with the step", async () => {
    const log = new ProgressLog();
    const status = { kind: "status", digest, id: "a", name: "a", total: 9, atNs: "5" } as const;
    log.push({ ...status, current: 1, isCompleted: false });
    log.push({ kind: "completed", digest, atNs: "9", isCached: false });
    log.end();
    const [answer] = await collect(log);
    expect(answer?.statuses?.[0]).toMatchObject({ completed: { nanos: 9 }, started: { nanos: 5 } });
  });

  test("tells findings with their place", async () => {
    const data = Buffer.from("from x");
    const source = { filename: "Dockerfile", data, language: "Dockerfile" };
    const log = new ProgressLog({ source: () => source });
    log.push({
      kind: "warning",
      warning: {
        rule: "Casing",
        description: "All the same",
        url: "https://x",
        detail: "Command 'from' is odd",
        startLine: 1,
        endLine: 1,
      },
    });
    log.end();
    const [answer] = await collect(log);
    const [warning] = answer?.warnings ?? [];
    expect(Buffer.from(warning?.short ?? []).toString()).toBe(
      "Casing: Command 'from' is odd (line 1)",
    );
    expect(warning?.ranges[0]?.start?.line).toBe(1);
    expect(warning?.info?.filename).toBe("Dockerfile");
  });
});
