import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import { spreadSubfolders } from "./fs.ts";
import { run } from "../process/process.ts";

test("spreadSubfolders() sets the flag where the file system keeps it, and tells", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tug-spread-"));
  try {
    const took = spreadSubfolders(folder);
    mkdirSync(join(folder, "below"));
    const { stdout, exitCode } = await run({ argv: ["lsattr", "-d", folder] });
    const hasFlag = exitCode === 0 && /^\S*T/.test(stdout);
    expect(took).toBe(hasFlag);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("spreadSubfolders() leaves a file system alone that has no such flag", () => {
  expect(spreadSubfolders("/proc/self")).toBe(false);
});

test("spreadSubfolders() refuses a folder that is missing", () => {
  let code: string | undefined;
  try {
    spreadSubfolders("/nonexistent/folder");
  } catch (error) {
    code = codeOf(error);
  }
  expect(code).toBe("ENOENT");
});
