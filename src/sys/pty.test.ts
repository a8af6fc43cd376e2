import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFdReader, openFdWriter } from "./fd-stream.ts";
import { removeTree } from "./fs/fs.ts";
import { run } from "./process/process.ts";
import { getWindowSize, listenConsole, makeRaw, openPty, setWindowSize } from "./pty.ts";

const folder = mkdtempSync(join(tmpdir(), "sys-pty-"));
afterAll(() => removeTree(folder));

const collect = (fd: number): Promise<string> =>
  new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    openFdReader(fd, {
      onData: (chunk) => chunks.push(chunk.slice()),
      onEnd: (error) => resolve(error?.message ?? Buffer.concat(chunks).toString()),
    });
  });

test("a process on a terminal sees its size; hang-up is an end with all bytes before it", async () => {
  const { master, slave } = openPty();
  setWindowSize(master, { rows: 33, cols: 77 });
  expect(getWindowSize(slave)).toEqual({ rows: 33, cols: 77 });
  const script = "stty size; head -c 300000 /dev/zero | tr '\\0' x";
  Bun.spawn(["sh", "-c", script], { stdio: [slave, slave, slave] });
  closeSync(slave);
  const output = await collect(master);
  expect(output.slice(0, 7)).toBe("33 77\r\n");
  expect(output).toHaveLength(300_007);
});

test("makeRaw() passes every byte, and its result puts the mode back", async () => {
  const { master, slave } = openPty();
  const mode = async (): Promise<string> =>
    (await run({ argv: ["stty", "-g"], stdio: { stdin: slave } })).stdout;
  const before = await mode();
  const restore = makeRaw(slave);
  expect(await mode()).not.toBe(before);
  restore();
  restore();
  expect(await mode()).toBe(before);
  closeSync(slave);
  closeSync(master);
});

test("2 MB through a raw terminal arrive whole", async () => {
  const { master, slave } = openPty();
  makeRaw(slave);
  const child = Bun.spawn(["sh", "-c", "head -c 2000000 | sha1sum >&2"], {
    stdio: [slave, "ignore", "pipe"],
  });
  closeSync(slave);
  const bytes = new Uint8Array(2_000_000).map((_, index) => (index * 31) % 251);
  const writer = openFdWriter(master);
  writer.write(bytes);
  const text = await new Response(child.stderr).text();
  expect(text.slice(0, 40)).toBe(Bun.SHA1.hash(bytes, "hex"));
  writer.close();
});

test("listenConsole() receives the descriptor that a runtime sent", async () => {
  const path = join(folder, "console.sock");
  const listener = listenConsole(path);
  expect(() => listener.accept()).toThrow("no terminal");
  const script = [
    "import socket, os, array, pty",
    "m, s = pty.openpty()",
    "c = socket.socket(socket.AF_UNIX)",
    `c.connect(${JSON.stringify(path)})`,
    "c.sendmsg([b'/dev/ptmx'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [m]))])",
    "os.write(s, b'from the container')",
  ].join("\n");
  const result = await run({ argv: ["python3", "-c", script] });
  expect(result).toMatchObject({ exitCode: 0, stderr: "" });
  const { master } = listener.accept();
  expect(await collect(master)).toBe("from the container");
  await run({
    argv: ["python3", "-c", `import socket\nsocket.socket(1).connect(${JSON.stringify(path)})`],
  });
  expect(() => listener.accept()).toThrow("no terminal");
  listener.close();
  listener.close();
});

test("a console path longer than a socket address is refused", () => {
  expect(() => listenConsole(join(folder, "x".repeat(108)))).toThrow("longer than 107 bytes");
});

test("a pipe is no terminal", () => {
  expect(() => makeRaw(0)).toThrow();
});
