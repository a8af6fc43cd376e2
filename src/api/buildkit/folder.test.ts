import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { fillMessage } from "../../lib/protobuf.ts";
import { type FolderSink, receiveFolder } from "./folder-receiver.ts";
import { type FolderSource, type PacketPort, sendFolder } from "./folder-sender.ts";
import {
  comparePaths,
  type FileStat,
  fileStatType,
  goMode,
  goModeOf,
  kindOfGoMode,
  type Packet,
  packetMessage,
  packetType,
  permissionsOfGoMode,
} from "./fsutil.ts";

/** Two ends of one wire. */
function makePorts(): readonly [PacketPort & Closable, PacketPort & Closable] {
  const [left, right] = [new Queue(), new Queue()];
  return [portOf(left, right), portOf(right, left)];
}

interface Closable {
  close(): void;
}

class Queue {
  readonly packets: Packet[] = [];
  isClosed = false;
  wake: (() => void) | undefined;
}

function portOf(own: Queue, other: Queue): PacketPort & Closable {
  return {
    send: async (packet) => {
      other.packets.push(fillMessage(packetMessage, packet));
      other.wake?.();
      await Promise.resolve();
    },
    next: async () => {
      while (own.packets.length === 0 && !own.isClosed) {
        await new Promise<void>((resolve) => {
          own.wake = resolve;
        });
      }
      return own.packets.shift();
    },
    close: () => {
      other.isClosed = true;
      other.wake?.();
    },
  };
}

const stat = (path: string, more: Partial<FileStat> = {}): FileStat =>
  fillMessage(fileStatType, { path, mode: 0o644, ...more });

/** Files in memory. */
class Folder implements FolderSink, FolderSource {
  readonly files = new Map<string, string>();
  readonly stats: FileStat[] = [];
  isWhole = false;

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const [path, content] of Object.entries(files)) this.files.set(path, content);
  }
  async *walk(): AsyncGenerator<FileStat> {
    for (const path of [...this.files.keys()].toSorted(comparePaths)) {
      yield stat(path, { size: this.files.get(path)?.length ?? 0 });
    }
  }
  async *read(path: string): AsyncGenerator<Uint8Array> {
    for (const character of this.files.get(path) ?? "") yield Buffer.from(character);
  }
  add(file: FileStat): boolean {
    this.stats.push(file);
    return !this.files.has(file.path);
  }
  endOfStats(): void {
    this.isWhole = true;
  }
  write(file: FileStat, chunk: Uint8Array): void {
    const before = this.files.get(file.path) ?? "";
    this.files.set(file.path, before + Buffer.from(chunk).toString());
  }
  endOfFile(file: FileStat): void {
    if (!this.files.has(file.path)) this.files.set(file.path, "");
  }
}

/** Has a receiver take packets as a hostile sender makes them. */
async function receive(packets: readonly Partial<Packet>[], more = {}): Promise<unknown> {
  const [near, far] = makePorts();
  for (const packet of packets) await far.send(packet);
  far.close();
  const limits = { fileCountMax: 3, silenceMaxMs: 100, ...more };
  return await receiveFolder(near, new Folder(), limits).catch((error: unknown) => error);
}

const statPacket = (file?: FileStat): Partial<Packet> => ({
  type: packetType.stat,
  ...(file === undefined ? {} : { stat: file }),
});

describe("a folder", () => {
  test("arrives whole", async () => {
    const files = { a: "alpha", "a/b": "", "a-b": "minus", z: "end" };
    const [near, far] = makePorts();
    const target = new Folder();
    const [result] = await Promise.all([
      receiveFolder(near, target),
      sendFolder(far, new Folder(files)),
    ]);
    expect(Object.fromEntries(target.files)).toEqual(files);
    expect(target.stats.map(({ path }) => path)).toEqual(["a", "a/b", "a-b", "z"]);
    expect(result).toEqual({ fileCount: 4, sentCount: 4, sentBytes: 13 });
  });

  test("is sent as far as it is wanted", async () => {
    const [near, far] = makePorts();
    const target = new Folder({ a: "here" });
    const source = new Folder({ a: "here", b: "new" });
    const [result] = await Promise.all([receiveFolder(near, target), sendFolder(far, source)]);
    expect(result).toEqual({ fileCount: 2, sentCount: 1, sentBytes: 3 });
  });

  test("of very many files arrives", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 3000 }, (_, at) => [`f${String(at).padStart(5, "0")}`, `${at}`]),
    );
    const [near, far] = makePorts();
    const target = new Folder();
    await Promise.all([receiveFolder(near, target), sendFolder(far, new Folder(files))]);
    expect(target.files.size).toBe(3000);
    expect(target.files.get("f02999")).toBe("2999");
  });

  test("that cannot be read fails at both ends", async () => {
    const [near, far] = makePorts();
    const source = new Folder({ a: "x" });
    source.read = async function* () {
      yield Buffer.from("x");
      throw new EngineError("permission-denied", "read a: no");
    };
    const received = receiveFolder(near, new Folder()).catch((error: unknown) => error);
    const sent = sendFolder(far, source).catch((error: unknown) => error);
    expect(await received).toMatchObject({ message: "error from sender: read a: no" });
    near.close();
    expect(await sent).toMatchObject({ kind: "permission-denied" });
  });
});

describe("a hostile sender", () => {
  test.each([
    ["the folder above", "../x"],
    ["an absolute path", "/etc/passwd"],
    ["a path through itself", "a/./b"],
    ["a climb in the middle", "a/../../b"],
    ["no name", ""],
    ["a slash at the end", "a/"],
    ["a zero byte", "a\0b"],
    ["a name that is too long", "n".repeat(256)],
    ["a path that is too long", "d/".repeat(3000) + "f"],
  ])("is refused %s", async (_name, path) => {
    expect(await receive([statPacket(stat(path))])).toMatchObject({ kind: "invalid-argument" });
  });

  test.each([
    ["backwards", ["b", "a"]],
    ["twice the same", ["a", "a"]],
    ["a folder after its content", ["a/b", "a"]],
    ["another folder in between", ["a", "a-b", "a/b"]],
  ])("is refused an order: %s", async (_name, paths) => {
    const failure = await receive(paths.map((path) => statPacket(stat(path))));
    expect(failure).toMatchObject({ kind: "invalid-argument" });
  });

  test.each([
    ["out of the folder", "../../etc/shadow"],
    ["to what comes later", "z"],
    ["to itself", "b"],
  ])("is refused a hard link %s", async (_name, linkname) => {
    const failure = await receive([statPacket(stat("a")), statPacket(stat("b", { linkname }))]);
    expect(failure).toMatchObject({ kind: "invalid-argument" });
  });

  test("is refused too many files", async () => {
    const packets = ["a", "b", "c", "d"].map((path) => statPacket(stat(path)));
    expect(await receive(packets)).toMatchObject({
      message: expect.stringMatching(/more than 3 files/),
    });
  });

  test("is refused content that nobody asked for", async () => {
    const packet = { type: packetType.data, id: 7, data: Buffer.from("x") };
    expect(await receive([packet])).toMatchObject({
      message: expect.stringMatching(/nobody asked for/),
    });
  });

  test("is refused a file after the last", async () => {
    expect(await receive([statPacket(), statPacket(stat("a"))])).toMatchObject({
      message: expect.stringMatching(/after the last/),
    });
  });

  test("is refused an end before the content", async () => {
    const packets = [statPacket(stat("a")), statPacket(), { type: packetType.finish }];
    expect(await receive(packets)).toMatchObject({ kind: "data-loss" });
  });

  test("that says nothing more is not waited for", async () => {
    const [near] = makePorts();
    const limits = { fileCountMax: 3, silenceMaxMs: 50 };
    const failure = await receiveFolder(near, new Folder(), limits).catch((error) => error);
    expect(failure).toMatchObject({ kind: "deadline-exceeded" });
  });

  test("that goes away is a loss", async () => {
    expect(await receive([])).toMatchObject({ kind: "data-loss" });
  });
});

describe("a receiver that breaks the protocol", () => {
  test("is told of a file it may not ask for", async () => {
    const [near, far] = makePorts();
    await near.send({ type: packetType.request, id: 99 });
    near.close();
    const failure = await sendFolder(far, new Folder({ a: "" })).catch((error) => error);
    expect(failure).toMatchObject({ kind: "data-loss" });
  });
});

describe("modes", () => {
  test.each([
    ["a file", 0o100644, 0o644, "file"],
    ["a folder", 0o040755, goMode.directory + 0o755, "directory"],
    ["a sticky folder", 0o041777, goMode.directory + goMode.sticky + 0o777, "directory"],
    ["a set-user file", 0o104755, goMode.setUid + 0o755, "file"],
    ["a set-group file", 0o102755, goMode.setGid + 0o755, "file"],
    ["a link", 0o120777, goMode.symbolicLink + 0o777, "symlink"],
    ["a fifo", 0o010600, goMode.namedPipe + 0o600, "fifo"],
    ["a terminal", 0o020620, goMode.device + goMode.charDevice + 0o620, "char"],
    ["a disk", 0o060660, goMode.device + 0o660, "block"],
    ["a socket", 0o140755, goMode.socket + 0o755, "other"],
  ] as const)("of %s come and go", (_name, kernel, go, kind) => {
    expect(goModeOf(kernel)).toBe(go);
    expect(kindOfGoMode(go)).toBe(kind);
    expect(permissionsOfGoMode(go)).toBe(kernel & 0o7777);
  });
});
