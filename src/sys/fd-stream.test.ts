import { afterAll, expect, test } from "bun:test";
import { closeSync, fstatSync, mkdtempSync, readdirSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  makeFifo,
  makePipe,
  openFdReader,
  openFdWriter,
  openFifoReadWrite,
  setCloseOnExec,
} from "./fd-stream.ts";
import { removeTree } from "./fs/fs.ts";
import { run } from "./process/process.ts";

const folder = mkdtempSync(join(tmpdir(), "sys-stream-"));
afterAll(() => removeTree(folder));

const sample = (sizeBytes: number): Uint8Array => {
  const words = new Uint32Array(sizeBytes / 4);
  for (let index = 0; index < words.length; index += 1) words[index] = Math.imul(index, 2654435761);
  return new Uint8Array(words.buffer);
};

test("50 MB pass through a FIFO unchanged, the writer waiting for the reader", async () => {
  const path = join(folder, "fifo");
  makeFifo(path, 0o622);
  expect(statSync(path).mode & 0o777).toBe(0o622);
  const bytes = sample(50_000_000);
  const readEnd = openFifoReadWrite(path);
  const writer = openFdWriter(openFifoReadWrite(path));
  const hash = new Bun.SHA1();
  let sizeBytes = 0;
  const done = Promise.withResolvers<void>();
  const reader = openFdReader(readEnd, {
    onData: (chunk) => {
      hash.update(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes === bytes.length) done.resolve();
    },
    onEnd: () => done.reject(new TypeError("a FIFO open both ways has no end")),
  });
  let offset = 0;
  let fullCount = 0;
  const fill = (): void => {
    while (offset < bytes.length) {
      const end = Math.min(offset + 65_537, bytes.length);
      const hasRoom = writer.write(bytes.subarray(offset, end));
      offset = end;
      if (hasRoom) continue;
      fullCount += 1;
      return;
    }
    writer.end();
  };
  writer.onDrain(fill);
  fill();
  await done.promise;
  expect(hash.digest("hex")).toBe(Bun.SHA1.hash(bytes, "hex"));
  expect(fullCount).toBeGreaterThan(0);
  reader.close();
});

test("chunks stay as they were when later ones come", async () => {
  const pipe = makePipe();
  const script = "i=0; while [ $i -lt 300 ]; do printf %06d $i; i=$((i+1)); done; seq 600000";
  const child = Bun.spawn(["sh", "-c", script], { stdio: ["ignore", pipe.write, "inherit"] });
  closeSync(pipe.write);
  const chunks: Uint8Array[] = [];
  const copies: Uint8Array[] = [];
  const end = Promise.withResolvers<void>();
  openFdReader(pipe.read, {
    onData: (chunk) => {
      chunks.push(chunk);
      copies.push(Uint8Array.from(chunk));
    },
    onEnd: (error) => (error === undefined ? end.resolve() : end.reject(error)),
  });
  await end.promise;
  await child.exited;
  expect(chunks.length).toBeGreaterThan(10);
  expect(Buffer.concat(chunks).equals(Buffer.concat(copies))).toBe(true);
});

test("a paused reader holds the writer back and loses nothing", async () => {
  const pipe = makePipe();
  const child = Bun.spawn(["sh", "-c", "head -c 8000000 /dev/zero; echo done >&2"], {
    stdio: ["ignore", pipe.write, "pipe"],
  });
  closeSync(pipe.write);
  let sizeBytes = 0;
  let isPaused = false;
  const end = Promise.withResolvers<void>();
  const reader = openFdReader(pipe.read, {
    onData: (chunk) => {
      expect(isPaused).toBe(false);
      sizeBytes += chunk.length;
    },
    onEnd: (error) => (error === undefined ? end.resolve() : end.reject(error)),
  });
  reader.pause();
  isPaused = true;
  await Bun.sleep(60);
  expect(child.exitCode).toBeNull();
  isPaused = false;
  reader.resume();
  await end.promise;
  expect(sizeBytes).toBe(8_000_000);
});

test("close() within onData stops at once and calls no onEnd", async () => {
  const pipe = makePipe();
  writeSync(pipe.write, "one");
  let callCount = 0;
  const reader = openFdReader(pipe.read, {
    onData: () => {
      callCount += 1;
      reader.close();
      writeSync(pipe.write, "two");
    },
    onEnd: () => {
      callCount += 100;
    },
  });
  await Bun.sleep(30);
  closeSync(pipe.write);
  await Bun.sleep(10);
  expect(callCount).toBe(1);
});

test("a writer closes itself when the reader is gone, and wakes who waits", async () => {
  const pipe = makePipe();
  const writer = openFdWriter(pipe.write, { countMaxBytes: 1000 });
  let drainCount = 0;
  writer.onDrain(() => {
    drainCount += 1;
  });
  expect(writer.write(new Uint8Array(4_000_000))).toBe(false);
  closeSync(pipe.read);
  await Bun.sleep(30);
  expect([writer.isClosed, drainCount]).toEqual([true, 1]);
  expect(writer.write(new Uint8Array(10))).toBe(true);
  writer.end();
  writer.close();
});

test("end() closes only after the queue is written", async () => {
  const pipe = makePipe();
  const child = Bun.spawn(["wc", "-c"], { stdio: [pipe.read, "pipe", "ignore"] });
  closeSync(pipe.read);
  const writer = openFdWriter(pipe.write);
  writer.write(new Uint8Array(3_000_000));
  writer.end();
  writer.write(new Uint8Array(1));
  expect((await new Response(child.stdout).text()).trim()).toBe("3000000");
  expect(writer.isClosed).toBe(true);
});

test("readers and writers give their descriptors back", async () => {
  const count = (): number => readdirSync("/proc/self/fd").length;
  const before = count();
  for (let round = 0; round < 50; round += 1) {
    const pipe = makePipe();
    const end = Promise.withResolvers<void>();
    openFdReader(pipe.read, { onData: () => undefined, onEnd: () => end.resolve() });
    const writer = openFdWriter(pipe.write);
    writer.write(new Uint8Array(10));
    writer.end();
    await end.promise;
  }
  // The runtime closes its duplicates a moment later.
  await Bun.sleep(50);
  expect(count()).toBeLessThanOrEqual(before + 1);
});

test("makePipe() and setCloseOnExec() keep descriptors from children", async () => {
  const pipe = makePipe();
  setCloseOnExec(pipe.read);
  const { stdout } = await run({ argv: ["ls", "-l", "/proc/self/fd"] });
  expect(stdout).not.toContain(`pipe:[${fstatSync(pipe.read).ino}]`);
  closeSync(pipe.read);
  closeSync(pipe.write);
});

test("makeFifo() refuses a name that is taken, openFifoReadWrite() one that is missing", () => {
  const path = join(folder, "taken");
  makeFifo(path, 0o600);
  expect(() => makeFifo(path, 0o600)).toThrow("File exists");
  expect(() => openFifoReadWrite(join(folder, "missing"))).toThrow("No such file");
});
