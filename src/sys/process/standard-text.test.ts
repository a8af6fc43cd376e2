import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs a program that writes text to its standard output, as `sh` sets that up. */
function write(options: { readonly text: string; readonly shell: string }): {
  readonly stdout: string;
  readonly stderr: string;
} {
  const folder = mkdtempSync(join(tmpdir(), "tug-text-"));
  try {
    const program = join(folder, "program.ts");
    const module = join(import.meta.dir, "standard-text.ts");
    writeFileSync(
      program,
      `import { isTerminal, writeStandardText } from ${JSON.stringify(module)};
       try { writeStandardText(1, ${options.text}); } catch (error) { writeStandardText(2, error.code); }
       writeStandardText(2, String(isTerminal(1)));`,
    );
    const { stdout, stderr } = Bun.spawnSync(
      ["sh", "-c", options.shell, "sh", process.execPath, program],
      { stdin: "ignore", timeout: 20_000 },
    );
    return { stdout: stdout.toString(), stderr: stderr.toString() };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const long = `"\\u00e9".repeat(150_000)`;
const longBytes = "300000";
/** A pipe that does not make its writer wait, and a reader that is late. */
const nonBlocking = `python3 -c '
import os, subprocess, sys, time
r, w = os.pipe()
os.set_blocking(w, False)
child = subprocess.Popen(sys.argv[1:], stdout=w)
os.close(w)
time.sleep(0.3)
print(sum(len(b) for b in iter(lambda: os.read(r, 65536), b"")))
' "$@"`;

test("text of several pipes' size goes whole into a pipe", () => {
  const { stdout, stderr } = write({ text: long, shell: `"$@" | { sleep 0.3; wc -c; }` });
  expect({ stdout, stderr }).toEqual({ stdout: `${longBytes}\n`, stderr: "false" });
});

test.skipIf(Bun.which("python3") === null)("and into one that does not wait, once", () => {
  const { stdout, stderr } = write({ text: long, shell: nonBlocking });
  expect({ stdout, stderr }).toEqual({ stdout: `${longBytes}\n`, stderr: "false" });
});

test.each([
  ["nobody reads it", `{ "$@"; } | true`, "EPIPE"],
  ["the disk is full", `"$@" > /dev/full`, "ENOSPC"],
  ["it is closed", `"$@" 1< /dev/null`, "EBADF"],
])("a failure is told when %s", (_, shell, code) => {
  expect(write({ text: long, shell }).stderr).toBe(`${code}false`);
});

test("what others write to is left in their mode", () => {
  const shell = `{ "$@"; grep flags /proc/self/fdinfo/1; } | cat`;
  const flags = Number.parseInt(
    /flags:\s*(\d+)/.exec(write({ text: `"x\\n"`, shell }).stdout)?.[1] ?? "",
    8,
  );
  expect(flags & 0o4000).toBe(0);
});
