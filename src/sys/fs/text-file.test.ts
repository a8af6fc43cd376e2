import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findText } from "./text-file.ts";

const folder = mkdtempSync(join(tmpdir(), "tug-text-file-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("findText() reads what is there, and finds nothing in what is missing or empty", async () => {
  writeFileSync(join(folder, "some"), "{\u00e9}\n");
  writeFileSync(join(folder, "empty"), "");
  expect(await findText(join(folder, "some"))).toBe("{é}\n");
  expect(await findText(join(folder, "empty"))).toBeUndefined();
  expect(await findText(join(folder, "none"))).toBeUndefined();
  expect(await findText(join(folder, "some/below"))).toBeUndefined();
});

test("findText() does not take a folder for a missing file", async () => {
  mkdirSync(join(folder, "sub"));
  await expect(findText(join(folder, "sub"))).rejects.toMatchObject({ code: "EISDIR" });
});
