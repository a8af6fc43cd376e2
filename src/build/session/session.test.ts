import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { sendFolder } from "../../api/buildkit/folder-sender.ts";
import { receiveFolder } from "../../api/buildkit/folder-receiver.ts";
import { type FileStat, fileStatType, goMode, packetType } from "../../api/buildkit/fsutil.ts";
import {
  decodeSessionValues,
  sessionHeaders,
  sessionKeys,
  sessionMethods,
} from "../../api/buildkit/session.ts";
import { EngineError } from "../../lib/errors.ts";
import {
  createGrpcServer,
  type GrpcHandler,
  type StreamCall,
  streamHandler,
  unaryHandler,
} from "../../lib/grpc/server.ts";
import { replayDuplex } from "../../lib/grpc/replay-duplex.ts";
import { silentLogger } from "../../lib/log.ts";
import { fillMessage } from "../../lib/protobuf.ts";
import { listXattr } from "../../sys/fs/fs.ts";
import { readAll } from "../../lib/stream-limit.ts";
import type { ContextFolder } from "../build-service.ts";
import { openDiskFolder } from "./_disk-folder.ts";
import { FolderTree } from "./_folder-tree.ts";
import { ContextFolders } from "./context-folders.ts";
import { createSessionClient, type SessionClient } from "./session-client.ts";
import { SessionPool } from "./session-pool.ts";

const root = mkdtempSync("/tmp/session-test-");
let caseCount = 0;
let folder = "";
const closers: (() => void)[] = [];
beforeEach(() => {
  caseCount += 1;
  folder = join(root, String(caseCount));
  mkdirSync(folder);
});
afterEach(() => {
  for (const close of closers.splice(0)) close();
});
afterAll(() => rmSync(root, { recursive: true }), 60_000);

/** What a client that serves `handlers` is to a build. */
async function openClient(
  handlers: readonly GrpcHandler[],
  options: { readonly sharedKey?: string; readonly folders?: ContextFolders } = {},
): Promise<SessionClient & { readonly drop: () => void; readonly pool: SessionPool }> {
  const pool = new SessionPool({ logger: silentLogger });
  const server = createGrpcServer({ handlers, logger: silentLogger });
  const path = join(folder, "s.sock");
  const sockets: net.Socket[] = [];
  const listener = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    void server.accept(replayDuplex(socket));
  });
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  const socket = net.connect({ path, allowHalfOpen: true });
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  void pool.accept(replayDuplex(socket), {
    [sessionHeaders.id]: "s1",
    [sessionHeaders.sharedKey]: options.sharedKey ?? "",
    [sessionHeaders.method]: handlers.map((handler) => handler.path).join(", "),
  });
  const session = await pool.get("s1");
  closers.push(() => {
    pool.close();
    server.close();
    listener.close();
  });
  const client = createSessionClient({
    session,
    folders:
      options.folders ?? new ContextFolders({ root: join(folder, "kept"), logger: silentLogger }),
    socketRoot: folder,
    logger: silentLogger,
    signal: AbortSignal.timeout(20_000),
  });
  const drop = (): void => {
    for (const each of sockets) each.destroy();
  };
  return { ...client, drop, pool };
}

/** Serves a folder of the disk, and tells how much content was asked for. */
function serveFolder(path: string): GrpcHandler & { readonly sent: string[]; names: string[] } {
  const sent: string[] = [];
  const names: string[] = [];
  const handler = streamHandler(sessionMethods.fileSync, async (call) => {
    names.push(
      ...decodeSessionValues(call.metadata, sessionKeys.dirName),
      ...decodeSessionValues(call.metadata, sessionKeys.excludePatterns),
    );
    using source = openDiskFolder(path);
    await sendFolder(call, {
      walk: () => source.walk(),
      read: (file) => {
        sent.push(file);
        return source.read(file);
      },
    });
  });
  return { ...handler, sent, names };
}

/** A sender that says what it likes. */
function serveHostile(
  serve: (call: Pick<StreamCall<never, unknown>, "signal"> & HostilePort) => Promise<void>,
): GrpcHandler {
  return streamHandler(sessionMethods.fileSync, async (call) => await serve(call as HostilePort));
}
type HostilePort = StreamCall<{ readonly id: number; readonly type: number }, object> & {
  send(packet: object): Promise<void>;
};

const stat = (path: string, more: Partial<FileStat> = {}): FileStat =>
  fillMessage(fileStatType, { path, mode: 0o644, ...more });

/** What `find` says of a tree. */
async function listing(path: string): Promise<string> {
  const run = Bun.spawn(["find", ".", "-mindepth", "1", "-printf", "%P %y %m %U %G %s %T@ %l\n"], {
    cwd: path,
    stdout: "pipe",
  });
  const lines = (await new Response(run.stdout).text()).trim().split("\n");
  // The size of a folder is the file system's business.
  return lines
    .map((line) => (line.split(" ")[1] === "d" ? line.replace(/ \d+ (\d+\.)/, " $1") : line))
    .toSorted()
    .join("\n");
}

describe("a client's folder", () => {
  test("arrives with all sorts of files, and the second time nothing is sent", async () => {
    const from = join(folder, "from");
    mkdirSync(join(from, "sub/deep"), { recursive: true });
    writeFileSync(join(from, "a.txt"), "alpha");
    writeFileSync(join(from, "empty"), "");
    writeFileSync(join(from, "sub/büch.txt"), "ünïcode");
    writeFileSync(Buffer.concat([Buffer.from(`${from}/raw-`), Buffer.from([0xff, 0xfe])]), "raw");
    writeFileSync(join(from, "sub/big"), Buffer.alloc(3_000_000, 7));
    linkSync(join(from, "a.txt"), join(from, "sub/hard"));
    symlinkSync("../../etc/passwd", join(from, "sub/link"));
    chmodSync(join(from, "sub"), 0o2750);
    chmodSync(join(from, "sub/big"), 0o4711);
    Bun.spawnSync(["mkfifo", join(from, "pipe")]);
    utimesSync(join(from, "a.txt"), 1000, 1_000_000_000.123456);
    utimesSync(join(from, "sub"), 5, 6);
    const served = serveFolder(from);
    const client = await openClient([served], { sharedKey: "mine:host" });
    const request = { name: "context", excludes: ["**/*.ö", "x"] };
    {
      await using got = await client.folder(request);
      expect(await listing(got.path)).toBe(await listing(from));
      expect(
        readFileSync(join(got.path, "sub/big")).equals(readFileSync(join(from, "sub/big"))),
      ).toBe(true);
      expect(lstatSync(join(got.path, "a.txt")).ino).toBe(
        lstatSync(join(got.path, "sub/hard")).ino,
      );
    }
    expect(served.names).toEqual(["context", "**/*.ö", "x"]);
    expect(served.sent.length).toBe(4);
    served.sent.length = 0;
    await using again = await client.folder(request);
    expect(served.sent).toEqual([]);
    expect(await listing(again.path)).toBe(await listing(from));
  });

  test("of 5,000 files arrives, then only what changed is sent and what is gone is removed", async () => {
    const from = join(folder, "from");
    for (let part = 0; part < 50; part += 1) {
      mkdirSync(join(from, `d${part}`), { recursive: true });
      for (let at = 0; at < 100; at += 1) {
        writeFileSync(join(from, `d${part}/f${at}`), `${part} ${at}`.repeat(50));
      }
    }
    const served = serveFolder(from);
    const client = await openClient([served], { sharedKey: "k" });
    const request = { name: "context", excludes: [] };
    const first = await client.folder(request);
    expect(served.sent.length).toBe(5000);
    expect(["", "d1", "d1/f1"].map((path) => first.hasChanged?.(path))).toEqual([true, true, true]);
    expect(await listing(first.path)).toBe(await listing(from));
    await first[Symbol.asyncDispose]();
    served.sent.length = 0;
    {
      await using same = await client.folder(request);
      expect(["", "d1", "d1/f1"].map((path) => same.hasChanged?.(path))).not.toContain(true);
    }

    writeFileSync(join(from, "d7/f7"), "changed");
    writeFileSync(join(from, "d8/new"), "new");
    rmSync(join(from, "d9"), { recursive: true });
    rmSync(join(from, "d10/f1"));
    rmSync(join(from, "d11"), { recursive: true });
    writeFileSync(join(from, "d11"), "a file now");
    rmSync(join(from, "d12/f2"));
    mkdirSync(join(from, "d12/f2/sub"), { recursive: true });
    chmodSync(join(from, "d13/f3"), 0o600);
    await using second = await client.folder(request);
    expect(served.sent.toSorted()).toEqual(["d11", "d13/f3", "d7/f7", "d8/new"]);
    const changed = ["", "d7", "d7/f7", "d8", "d9", "d10", "d10/f1", "d11", "d12/f2/sub", "d13/f3"];
    expect(changed.filter((path) => second.hasChanged?.(path) !== true)).toEqual([]);
    const others = ["d1", "d7/f", "d7/f8", "d10/f2", "d", "nothing"];
    expect(others.filter((path) => second.hasChanged?.(path) !== false)).toEqual([]);
    expect(await listing(second.path)).toBe(await listing(from));
  }, 60_000);

  test("is another copy for a second build at the same time, and the first again after it", async () => {
    const from = join(folder, "from");
    mkdirSync(from);
    writeFileSync(join(from, "f"), "x");
    const client = await openClient([serveFolder(from)], { sharedKey: "k" });
    const request = { name: "context", excludes: [] };
    const [one, two] = await Promise.all([client.folder(request), client.folder(request)]);
    expect(one.path).not.toBe(two.path);
    await one[Symbol.asyncDispose]();
    const three = await client.folder(request);
    expect(three.path).toBe(one.path);
    // What a build reads to plan has a place of its own.
    const followPaths = ["Dockerfile", "Dockerfile.dockerignore"];
    const four = await client.folder({ ...request, followPaths });
    expect([one.path, two.path]).not.toContain(four.path);
    for (const each of [two, three, four]) await each[Symbol.asyncDispose]();
  });

  test("is not kept for a client that has no name", async () => {
    const from = join(folder, "from");
    mkdirSync(from);
    const folders = new ContextFolders({ root: join(folder, "kept"), logger: silentLogger });
    const client = await openClient([serveFolder(from)], { folders });
    const got = await client.folder({ name: "context", excludes: [] });
    expect(folders.list().length).toBe(1);
    await got[Symbol.asyncDispose]();
    expect(folders.list()).toEqual([]);
  });

  test("that the client does not have is not found", async () => {
    const client = await openClient([
      streamHandler(sessionMethods.fileSync, async () => {
        throw new EngineError("not-found", 'no access allowed to dir "x"');
      }),
    ]);
    const failure = await client.folder({ name: "x", excludes: [] }).catch((error) => error);
    expect(failure).toMatchObject({ kind: "not-found" });
    expect(failure.message).toContain('no access allowed to dir "x"');
    const bare = await (await openAgain()).folder({ name: "x", excludes: [] }).catch((e) => e);
    expect(bare).toMatchObject({ kind: "not-found" });
  });

  test("from a client that goes away fails, and what came is of use to the next", async () => {
    const from = join(folder, "from");
    mkdirSync(from);
    for (let at = 0; at < 300; at += 1) writeFileSync(join(from, `f${at}`), Buffer.alloc(50_000));
    const served = serveFolder(from);
    const client = await openClient([served], { sharedKey: "k" });
    const asked = client.folder({ name: "context", excludes: [] }).catch((error) => error);
    while (served.sent.length < 100) await Bun.sleep(1);
    client.drop();
    expect(await asked).toMatchObject({ kind: "unavailable" });
    served.sent.length = 0;
    rmSync(join(folder, "s.sock"), { force: true });
    const next = await openClient([served], { sharedKey: "k" });
    await using got = await next.folder({ name: "context", excludes: [] });
    expect(served.sent.length).toBeLessThan(300);
    expect(await listing(got.path)).toBe(await listing(from));
  });
});

/** A client that serves nothing. */
async function openAgain(): Promise<SessionClient> {
  rmSync(join(folder, "s.sock"), { force: true });
  return await openClient([]);
}

describe("a hostile folder", () => {
  async function take(stats: readonly FileStat[]): Promise<unknown> {
    writeFileSync(join(folder, "outside"), "safe");
    const client = await openClient(
      [
        serveHostile(async (call) => {
          for (const each of stats) await call.send({ type: packetType.stat, stat: each });
          await call.send({ type: packetType.stat });
          for (let packet = await call.next(); packet !== undefined; packet = await call.next()) {
            if (packet.type === packetType.finish) {
              await call.send({ type: packetType.finish });
              return;
            }
            const data = Buffer.from("evil evil evil");
            await call.send({ type: packetType.data, id: packet.id, data });
            await call.send({ type: packetType.data, id: packet.id });
          }
        }),
      ],
      { sharedKey: "k" },
    );
    const got = await client.folder({ name: "context", excludes: [] }).catch((error) => error);
    expect(readFileSync(join(folder, "outside"), "utf8")).toBe("safe");
    return got;
  }
  const link = { mode: goMode.symbolicLink + 0o777 };

  test.each([
    [
      "a file behind a link",
      [stat("l", { ...link, linkname: "../.." }), stat("l/outside", { size: 4 })],
    ],
    ["a folder that is not there", [stat("no/file", { size: 4 })]],
    ["a file below a file", [stat("f", { size: 4 }), stat("f/x", { size: 4 })]],
    ["a hard link to nothing", [stat("a"), stat("b", { linkname: "aa" })]],
    [
      "a hard link through a link",
      [stat("l", { ...link, linkname: "/etc" }), stat("m", { linkname: "l/passwd" })],
    ],
  ])("with %s is refused", async (_name, stats) => {
    const failure = await take(stats);
    expect(failure).toBeInstanceOf(EngineError);
  });

  test("with a link out of it stores the link", async () => {
    const got = (await take([stat("l", { ...link, linkname: "/etc/passwd" })])) as ContextFolder;
    expect(readlinkSync(join(got.path, "l"))).toBe("/etc/passwd");
  });

  test("with a file where a link was writes no further than itself", async () => {
    mkdirSync(join(folder, "tree"));
    symlinkSync(join(folder, "outside"), join(folder, "tree/l"));
    symlinkSync(folder, join(folder, "tree/d"));
    writeFileSync(join(folder, "outside"), "safe");
    using tree = new FolderTree(join(folder, "tree"), { isNew: false });
    const packets = [
      { type: packetType.stat, stat: stat("d", { mode: goMode.directory + 0o755 }) },
      { type: packetType.stat, stat: stat("d/outside", { size: 4 }) },
      { type: packetType.stat, stat: stat("l", { size: 4 }) },
      { type: packetType.stat },
      ...[1, 2].flatMap((id) => [
        { type: packetType.data, id, data: Buffer.from("evil") },
        { type: packetType.data, id },
      ]),
      { type: packetType.finish },
    ];
    await receiveFolder(
      {
        send: async () => await Promise.resolve(),
        next: async () => {
          const packet = packets.shift();
          return await Promise.resolve(
            packet === undefined
              ? undefined
              : { id: 0, data: new Uint8Array(0), stat: undefined, ...packet },
          );
        },
      },
      tree,
    );
    expect(readFileSync(join(folder, "outside"), "utf8")).toBe("safe");
    expect(readFileSync(join(folder, "tree/d/outside"), "utf8")).toBe("evil");
    expect(lstatSync(join(folder, "tree/l")).isFile()).toBe(true);
  });

  test("whose file is longer than it said is cut", async () => {
    const got = (await take([stat("f", { size: 4 })])) as ContextFolder;
    expect(readFileSync(join(got.path, "f"), "utf8")).toBe("evil");
  });

  test("has no attributes of overlayfs", async () => {
    const xattrs = new Map([
      ["trusted.overlay.opaque", Buffer.from("y")],
      ["user.note", Buffer.from("kept")],
    ]);
    const got = (await take([stat("f", { xattrs })])) as ContextFolder;
    expect(listXattr(join(got.path, "f"))).not.toContain("trusted.overlay.opaque");
  });
});

describe("a session", () => {
  test("gives secrets, and says what it does not have", async () => {
    const client = await openClient([
      unaryHandler(sessionMethods.getSecret, async ({ id }) => {
        if (id !== "token") throw new EngineError("not-found", `secret ${id} not found`);
        return { data: Buffer.from("s3cret") };
      }),
    ]);
    expect(Buffer.from((await client.secret("token")) ?? []).toString()).toBe("s3cret");
    expect(await client.secret("other")).toBeUndefined();
    expect(await (await openAgain()).secret("token")).toBeUndefined();
  });

  test("gives credentials once for each registry, for Docker Hub under one name", async () => {
    const asked: string[] = [];
    const client = await openClient([
      unaryHandler(sessionMethods.credentials, async ({ host }) => {
        asked.push(host);
        if (host === "token.example") return { secret: "identity" };
        if (host === "none.example") return {};
        return { username: "u", secret: "p" };
      }),
    ]);
    expect(await client.credentials("docker.io")).toEqual({ username: "u", password: "p" });
    expect(await client.credentials("registry-1.docker.io")).toBeDefined();
    expect(await client.credentials("token.example")).toEqual({ identityToken: "identity" });
    expect(await client.credentials("none.example")).toBeUndefined();
    expect(asked).toEqual(["registry-1.docker.io", "token.example", "none.example"]);
  });

  test("leads a socket to the client's agent", async () => {
    const client = await openClient([
      unaryHandler(sessionMethods.checkAgent, async ({ id }) => {
        if (id !== "default") throw new EngineError("not-found", `unset ssh forward key ${id}`);
        return {};
      }),
      streamHandler(sessionMethods.forwardAgent, async (call) => {
        for (let next = await call.next(); next !== undefined; next = await call.next()) {
          await call.send({ data: Buffer.from(`agent: ${Buffer.from(next.data)}`) });
        }
      }),
    ]);
    expect(await client.sshAgent("other")).toBeUndefined();
    const agent = await client.sshAgent("default");
    const socket = net.connect({ path: agent?.path ?? "" });
    socket.write("hello");
    const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    expect(answer.toString()).toBe("agent: hello");
    await client[Symbol.asyncDispose]();
    expect(lstatSync(agent?.path ?? "", { throwIfNoEntry: false })).toBeUndefined();
  });

  test("takes a tar, and a folder, for the output they are", async () => {
    const got: { index: string | undefined; bytes: Buffer }[] = [];
    const tarClient = await openClient([
      streamHandler(sessionMethods.sendFile, async (call) => {
        const chunks: Uint8Array[] = [];
        for (let next = await call.next(); next !== undefined; next = await call.next()) {
          chunks.push(next.data);
        }
        got.push({
          index: call.metadata.get(sessionKeys.exporterId)?.[0],
          bytes: Buffer.concat(chunks),
        });
      }),
    ]);
    const tar = new Response(Buffer.alloc(2_000_000, 3)).body;
    await tarClient.sendTar(tar as ReadableStream<Uint8Array>, { index: 2 });
    expect(got.map(({ index, bytes }) => [index, bytes.length])).toEqual([["2", 2_000_000]]);

    const from = join(folder, "from");
    mkdirSync(join(from, "sub"), { recursive: true });
    writeFileSync(join(from, "sub/f"), "content");
    rmSync(join(folder, "s.sock"), { force: true });
    const target = join(folder, "target");
    mkdirSync(target);
    const folderClient = await openClient([
      streamHandler(sessionMethods.sendFolder, async (call) => {
        using tree = new FolderTree(target, { isNew: true });
        await receiveFolder(call, tree);
        tree.finish();
      }),
    ]);
    await folderClient.sendFolder(from, { index: 0 });
    expect(await listing(target)).toBe(await listing(from));
  });

  test("that takes no more tells why", async () => {
    const client = await openClient([
      streamHandler(sessionMethods.sendFile, async () => {
        throw new EngineError("already-exists", "target already exists");
      }),
    ]);
    const tar = new Response(Buffer.alloc(1000)).body as ReadableStream<Uint8Array>;
    const failure = await client.sendTar(tar, { index: 0 }).catch((error) => error);
    expect(failure).toMatchObject({ kind: "already-exists", message: "target already exists" });
  });

  test("gives what the client has on its stdin", async () => {
    const client = await openClient([
      streamHandler(sessionMethods.pull, async (call) => {
        const path = call.metadata.get(sessionKeys.uploadPath)?.[0] ?? "";
        await call.send({ data: Buffer.from(`from ${path}`) });
      }),
    ]);
    const upload = client.pullUpload(new URL("http://buildkit-session/abc"));
    const bytes = await readAll(upload, { sizeMaxBytes: 100, what: "upload" });
    expect(Buffer.from(bytes).toString()).toBe("from /abc");
  });

  test("is waited for, and not for ever", async () => {
    const pool = new SessionPool({ logger: silentLogger });
    const stop = new AbortController();
    const waiting = pool.get("none", stop.signal).catch((error) => error);
    stop.abort();
    expect(await waiting).toMatchObject({ kind: "canceled" });
    expect(() => pool.check({})).toThrow("no session ID");
  });

  test("of an ID that is taken is refused", async () => {
    const client = await openClient([]);
    expect(() => client.pool.check({ [sessionHeaders.id]: "s1" })).toThrow("already exists");
    client.drop();
    while (client.pool.size > 0) await Bun.sleep(1);
  });
});
