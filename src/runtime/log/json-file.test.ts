import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ReadJsonLogOptions, readJsonLog } from "./json-file-reader.ts";
import { type JsonFileWriter, openJsonFileWriter } from "./json-file-writer.ts";
import type { LogPlan } from "../shim-protocol.ts";

const timeNs = 1_700_000_000_123_456_789n;
const time = "2023-11-14T22:13:20.123456789Z";
let folder = "";
let path = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-log-"));
  path = join(folder, "x-json.log");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(plan: Partial<LogPlan> = {}, warnings: string[] = []): JsonFileWriter {
  return openJsonFileWriter({
    plan: {
      driver: "json-file",
      path,
      sizeMaxBytes: 0,
      countMax: 1,
      isCompressed: false,
      ...plan,
    } as LogPlan & { path: string },
    onWarning: (message) => warnings.push(message),
    now: () => timeNs,
  });
}

function record(log: string, stream = "stdout"): string {
  return `{"log":${JSON.stringify(log)},"stream":"${stream}","time":"${time}"}\n`;
}

async function read(options: Partial<ReadJsonLogOptions> = {}): Promise<string> {
  const parts: Uint8Array[] = [];
  const stream = readJsonLog({
    path,
    countMax: 5,
    stdout: true,
    stderr: true,
    timestamps: false,
    details: false,
    frame: false,
    signal: new AbortController().signal,
    ...options,
  });
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString("latin1");
}

const golden: readonly [name: string, chunks: readonly string[], expected: string][] = [
  ["one line", ["hello\n"], record("hello\n")],
  ["two lines of one chunk", ["a\nb\n"], record("a\n") + record("b\n")],
  ["a line of two chunks", ["he", "llo\n"], record("hello\n")],
  ["an empty line", ["\n"], record("\n")],
  ["quotes and backslashes", ['say "a\\b"\n'], record('say "a\\b"\n')],
  ["control characters", ["\u001b[0m\t\u0000\r\n"], record("\u001b[0m\t\u0000\r\n")],
  ["other scripts", ["żółć 日本 🚢\n"], record("żółć 日本 🚢\n")],
  ["an unfinished line, at the end", ["a\nrest"], record("a\n") + record("rest")],
  ["16 KiB without an end", ["x".repeat(16_385)], record("x".repeat(16_384)) + record("x")],
  [
    "a long line among short ones",
    [`a\n${"x".repeat(20_000)}\nb\n`],
    record("a\n") + record("x".repeat(16_384)) + record(`${"x".repeat(3616)}\n`) + record("b\n"),
  ],
];
for (const [name, chunks, expected] of golden) {
  test(`the writer stores ${name}`, () => {
    const writer = open();
    for (const chunk of chunks) writer.write("stdout", Buffer.from(chunk));
    writer.close();
    expect(readFileSync(path, "utf8")).toBe(expected);
  });
}

test("the writer keeps the order of both streams and their unfinished lines apart", () => {
  const writer = open();
  writer.write("stdout", Buffer.from("ou"));
  writer.write("stderr", Buffer.from("err\n"));
  writer.write("stdout", Buffer.from("t\n"));
  writer.close();
  expect(readFileSync(path, "utf8")).toBe(record("err\n", "stderr") + record("out\n"));
});

test("attributes stand in each record", () => {
  const writer = open({ attributes: { env: "prod" } });
  writer.write("stdout", Buffer.from("a\n"));
  writer.close();
  expect(readFileSync(path, "utf8")).toBe(
    `{"log":"a\\n","stream":"stdout","attrs":{"env":"prod"},"time":"${time}"}\n`,
  );
});

test("bytes that are no UTF-8 come back exactly", async () => {
  const bytes = Buffer.from([0xff, 0x00, 0x41, 0xc3, 0x0a, 0xfe]);
  const writer = open();
  writer.write("stdout", bytes);
  writer.close();
  expect(readFileSync(path, "utf8")).toContain('"raw":"');
  expect(Buffer.from(await read(), "latin1").equals(bytes)).toBe(true);
});

test("random bytes in random chunks come back exactly, and each record is JSON", async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    rmSync(path, { force: true });
    const random = generator(seed);
    const bytes = Buffer.from(Array.from({ length: 40_000 }, () => pickByte(random, seed % 4)));
    const writer = open();
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + Math.floor(random() * 9000);
      writer.write("stdout", Buffer.from(bytes.subarray(at, at + size)));
      at += size;
      if (random() < 0.3) writer.flush();
    }
    writer.close();
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    const texts = lines.map((line) => JSON.parse(line) as { log: string; raw?: string });
    const back = texts.map(({ log, raw }) =>
      raw === undefined ? Buffer.from(log) : Buffer.from(raw, "base64"),
    );
    expect(Buffer.concat(back).equals(bytes), `seed ${seed}`).toBe(true);
    expect(Buffer.from(await read(), "latin1").equals(bytes), `seed ${seed}`).toBe(true);
    for (const each of back) expect(each.length).toBeLessThanOrEqual(16 * 1024 + 1);
  }
});

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Kinds: any byte; letters and line ends; few line ends; letters with quotes. */
function pickByte(random: () => number, kind: number): number {
  if (kind === 0) return Math.floor(random() * 256);
  if (random() < (kind === 2 ? 0.0001 : 0.02)) return 0x0a;
  if (kind === 3 && random() < 0.05) return 0x22;
  return 0x61 + Math.floor(random() * 26);
}

test("rotation keeps as many files as it should and loses no record of those", async () => {
  const writer = open({ sizeMaxBytes: 1000, countMax: 3 });
  for (let index = 0; index < 100; index += 1) {
    writer.write("stdout", Buffer.from(`line ${index}\n`));
    writer.flush();
  }
  writer.close();
  expect(existsSync(`${path}.2`)).toBe(true);
  expect(existsSync(`${path}.3`)).toBe(false);
  const lines = (await read({ countMax: 3 })).trimEnd().split("\n");
  expect(lines.at(-1)).toBe("line 99");
  const first = Number(lines[0]?.slice(5));
  expect(lines).toEqual(Array.from({ length: 100 - first }, (_, at) => `line ${first + at}`));
  expect(lines.length).toBeGreaterThan(20);
});

test("one burst is cut into files of the size", () => {
  const writer = open({ sizeMaxBytes: 10_000, countMax: 50 });
  writer.write("stdout", Buffer.from("0123456789\n".repeat(5000)));
  writer.close();
  for (let index = 1; index < 20; index += 1) {
    const size = readFileSync(`${path}.${index}`).length;
    expect(size).toBeGreaterThanOrEqual(10_000);
    expect(size).toBeLessThan(10_100);
  }
});

test("compressed files are read as the others", async () => {
  const writer = open({ sizeMaxBytes: 2000, countMax: 3, isCompressed: true });
  writer.write("stdout", Buffer.from("0123456789\n".repeat(40)));
  writer.close();
  for (let wait = 0; wait < 100 && !existsSync(`${path}.2.gz`); wait += 1) await Bun.sleep(10);
  expect(existsSync(`${path}.1`) && existsSync(`${path}.1.gz`)).toBe(false);
  const text = await read({ countMax: 3 });
  expect(text.split("\n").length - 1).toBe(40);
});

test("a log that cannot be written costs lines, not the container", () => {
  const warnings: string[] = [];
  const writer = open({ path: "/dev/full" }, warnings);
  for (let index = 0; index < 10; index += 1) {
    writer.write("stdout", Buffer.from("lost\n"));
    writer.flush();
  }
  expect(warnings).toEqual(["write log: ENOSPC; output is dropped"]);
  expect(writer.state().droppedBytes).toBeGreaterThan(0);
  writer.close();
});

test("half a record of a killed writer is ended, and the reader skips it", async () => {
  writeFileSync(path, `${record("a\n")}{"log":"half`);
  const writer = open();
  writer.write("stdout", Buffer.from("b\n"));
  writer.close();
  let skipped = 0;
  expect(await read({ onSkipped: (count) => (skipped = count) })).toBe("a\nb\n");
  expect(skipped).toBe(1);
});

test("frames name stream and size of each record", async () => {
  writeFileSync(path, record("out\n") + record('"q"\n', "stderr"));
  expect(await read({ frame: true })).toBe(
    '\u0001\0\0\0\0\0\0\u0004out\n\u0002\0\0\0\0\0\0\u0004"q"\n',
  );
});

test("timestamps, streams, since and until choose and dress records", async () => {
  const other = record("late\n").replace(time, "2023-11-15T00:00:00.5Z");
  writeFileSync(path, record("out\n") + record("err\n", "stderr") + other);
  expect(await read({ timestamps: true, stderr: false })).toBe(
    `${time} out\n2023-11-15T00:00:00.500000000Z late\n`,
  );
  expect(await read({ stdout: false })).toBe("err\n");
  expect(await read({ sinceNs: timeNs + 1n })).toBe("late\n");
  expect(await read({ untilNs: timeNs })).toBe("out\nerr\n");
});

for (const [tail, expected] of [
  [0, ""],
  [1, "e\n"],
  [2, "d\ne\n"],
  [4, "b\nc\nd\ne\n"],
  [9, "a\nb\nc\nd\ne\n"],
] as const) {
  test(`tail ${tail} is taken across files`, async () => {
    writeFileSync(`${path}.1`, record("a\n") + record("b\n"));
    writeFileSync(path, record("c\n") + record("d\n") + record("e\n"));
    expect(await read({ tail })).toBe(expected);
  });
}

test("a missing log is an empty one", async () => {
  expect(await read()).toBe("");
});

test("a follower sees every record once, through rotations, to the end of the container", async () => {
  const writer = open({ sizeMaxBytes: 3000, countMax: 5 });
  const ended = new AbortController();
  const reading = read({ follow: true, ended: ended.signal });
  for (let index = 0; index < 400; index += 1) {
    writer.write("stdout", Buffer.from(`line ${index}\n`));
    writer.flush();
    if (index % 8 === 0) await Bun.sleep(2);
  }
  writer.close();
  ended.abort();
  const lines = (await reading).trimEnd().split("\n");
  expect(lines).toEqual(Array.from({ length: 400 }, (_, index) => `line ${index}`));
});

test("a follower is woken by the log, and ends when it is not wanted", async () => {
  writeFileSync(path, "");
  const gone = new AbortController();
  const stream = readJsonLog({
    path,
    countMax: 1,
    follow: true,
    stdout: true,
    stderr: true,
    timestamps: false,
    details: false,
    frame: false,
    signal: gone.signal,
  });
  const first = stream.next();
  await Bun.sleep(20);
  const begin = performance.now();
  appendFileSync(path, record("now\n"));
  expect(Buffer.from((await first).value ?? []).toString()).toBe("now\n");
  expect(performance.now() - begin).toBeLessThan(300);
  const second = stream.next();
  gone.abort();
  expect((await second).done).toBe(true);
});

test("a file moved away while it is followed is read to its end", async () => {
  writeFileSync(path, record("a\n"));
  const ended = new AbortController();
  const reading = read({ follow: true, ended: ended.signal });
  await Bun.sleep(20);
  appendFileSync(path, record("b\n"));
  renameSync(path, `${path}.1`);
  writeFileSync(path, record("c\n"));
  await Bun.sleep(20);
  ended.abort();
  expect(await reading).toBe("a\nb\nc\n");
});
