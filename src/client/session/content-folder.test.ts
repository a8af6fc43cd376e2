import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contentMethods, writeActions } from "../../api/buildkit/content.ts";
import { sessionKeys } from "../../api/buildkit/session.ts";
import { GrpcClient } from "../../lib/grpc/client.ts";
import { replayDuplex } from "../../lib/grpc/replay-duplex.ts";
import { createGrpcServer } from "../../lib/grpc/server.ts";
import { silentLogger } from "../../lib/log.ts";
import { contentHandlers } from "./content-folder.ts";

const root = mkdtempSync(join(tmpdir(), "content-folder-"));
const writable = join(root, "writable");
const readable = join(root, "readable");
let client: GrpcClient;
let close: () => void;

beforeEach(async () => {
  rmSync(writable, { recursive: true, force: true });
  mkdirSync(join(readable, "blobs/sha256"), { recursive: true });
  const server = createGrpcServer({
    handlers: contentHandlers(
      new Map([
        ["w", { path: writable, isWritable: true }],
        ["r", { path: readable, isWritable: false }],
      ]),
    ),
    logger: silentLogger,
  });
  const path = join(root, "s.sock");
  rmSync(path, { force: true });
  const listener = net.createServer((socket) => void server.accept(replayDuplex(socket)));
  await new Promise<void>((resolve) => listener.listen(path, resolve));
  const socket = net.connect({ path });
  await new Promise<void>((resolve) => socket.once("connect", resolve));
  client = new GrpcClient(replayDuplex(socket));
  close = () => {
    client.close();
    server.close();
    listener.close();
  };
});
afterEach(() => close());
afterAll(() => rmSync(root, { recursive: true }));

const digestOf = (bytes: Uint8Array | string): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const pathOf = (folder: string, digest: string): string =>
  join(folder, "blobs/sha256", digest.slice("sha256:".length));
const of = (id: string) => ({ metadata: new Map([[sessionKeys.storeId, [id]]]) });
const kindOf = async (asked: Promise<unknown>): Promise<string> =>
  await asked.then(
    () => "no error",
    (error: { kind?: string }) => error.kind ?? String(error),
  );

async function read(digest: string, range: { offset?: number; size?: number } = {}) {
  const call = client.open(contentMethods.read, of("r"));
  await call.send({ digest, ...range });
  call.end();
  const parts: Uint8Array[] = [];
  for (let next = await call.next(); next !== undefined; next = await call.next()) {
    parts.push(Uint8Array.from(next.data));
  }
  return Buffer.concat(parts);
}

type Message = Parameters<ReturnType<typeof openWrite>["send"]>[0];
const openWrite = (id = "w") => client.open(contentMethods.write, of(id));

/** Sends messages, each after the answer to the one before. */
async function write(messages: readonly Message[], id = "w"): Promise<string> {
  const call = openWrite(id);
  let digest = "";
  try {
    for (const message of messages) {
      await call.send({ ref: "ref", ...message });
      digest = (await call.next())?.digest ?? "";
    }
    call.end();
    while ((await call.next()) !== undefined);
    return digest;
  } finally {
    call.cancel();
  }
}

describe("a folder that is read", () => {
  test("gives blobs, whole and in parts", async () => {
    const bytes = Buffer.alloc(1_300_000, "abc");
    const digest = digestOf(bytes);
    writeFileSync(pathOf(readable, digest), bytes);
    const { info } = await client.unary(contentMethods.info, { digest }, of("r"));
    expect(info).toMatchObject({ digest, size: bytes.length });
    expect((await read(digest)).equals(bytes)).toBe(true);
    expect((await read(digest, { offset: 1_299_998 })).toString()).toBe("ca");
    expect((await read(digest, { offset: 1, size: 2 })).toString()).toBe("bc");
    expect(await kindOf(read(digest, { offset: 1, size: bytes.length }))).toBe("invalid-argument");
    expect(await kindOf(read(digest, { offset: -1 }))).toBe("invalid-argument");
  });

  test("has nothing that no digest names, and no folder but those that are offered", async () => {
    writeFileSync(join(root, "secret"), "secret");
    for (const digest of ["../../../secret", "sha256:../../../secret", "sha256:aa", ""]) {
      expect(await kindOf(read(digest))).toBe("invalid-argument");
    }
    expect(await kindOf(read(digestOf("gone")))).toBe("not-found");
    const other = client.unary(contentMethods.info, { digest: digestOf("x") }, of("other"));
    expect(await kindOf(other)).toBe("not-found");
  });

  test("is not written to", async () => {
    const messages = [{ action: writeActions.stat }];
    expect(await kindOf(write(messages, "r"))).toBe("permission-denied");
  });
});

describe("a folder that is written", () => {
  const data = Buffer.from("content");
  const expected = digestOf(data);
  const total = data.length;

  test("has a blob when its write is committed, and nothing of it before", async () => {
    const call = openWrite();
    await call.send({ action: writeActions.stat, ref: "r", total, expected });
    expect(await call.next()).toMatchObject({ offset: 0 });
    await call.send({ action: writeActions.write, ref: "r", total, expected, data });
    expect(await call.next()).toMatchObject({ offset: total });
    expect(existsSync(pathOf(writable, expected))).toBe(false);
    await call.send({ action: writeActions.commit, ref: "r", total, expected, offset: total });
    expect(await call.next()).toMatchObject({ digest: expected });
    call.end();
    await call.next();
    expect(readFileSync(pathOf(writable, expected)).equals(data)).toBe(true);
    expect(readdirSync(writable)).toEqual(["blobs"]);
  });

  test("tells of what it has", async () => {
    const commit = { action: writeActions.commit, data, expected };
    expect(await write([commit])).toBe(expected);
    expect(await kindOf(write([{ action: writeActions.stat, expected }]))).toBe("already-exists");
  });

  test.each([
    ["other bytes", { data: Buffer.from("other!!") }],
    ["too few bytes", { total: 99 }],
    ["a digest that leads elsewhere", { expected: "sha256:../../x" }],
  ])("refuses %s, and keeps nothing", async (_name, more) => {
    const commit = { action: writeActions.commit, data, expected, total, ...more };
    expect(await kindOf(write([commit]))).toMatch(/data-loss|invalid-argument/);
    expect(readdirSync(writable)).toEqual([]);
  });

  test("refuses bytes at another place than the end", async () => {
    const begin = { action: writeActions.write, data };
    expect(await kindOf(write([begin, { ...begin, offset: 3 }]))).toBe("invalid-argument");
    expect(await kindOf(write([begin, { ...begin, offset: 99 }]))).toBe("invalid-argument");
    expect(readdirSync(writable)).toEqual([]);
  });

  test("keeps nothing of a write that breaks off", async () => {
    const call = openWrite();
    await call.send({ action: writeActions.write, ref: "r", data });
    await call.next();
    expect(readdirSync(join(writable, "ingest"))).toHaveLength(1);
    call.cancel();
    for (let round = 0; round < 100 && existsSync(join(writable, "ingest")); round += 1) {
      await Bun.sleep(10);
    }
    expect(readdirSync(writable)).toEqual([]);
  });
});
