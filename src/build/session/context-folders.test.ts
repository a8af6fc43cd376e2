import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import { removeTree, spreadSubfolders } from "../../sys/fs/fs.ts";
import { run } from "../../sys/process/process.ts";
import { ContextFolders } from "./context-folders.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-contexts-"));
});
afterAll(async () => await removeTree(folder));

describe("kept folders of clients", () => {
  test("lie apart on a disk that can do that", async () => {
    const root = join(folder, "apart");
    const folders = new ContextFolders({ root, logger: silentLogger });
    await folders.take("a").release();
    const canSpread = spreadSubfolders(folder);
    const { stdout, exitCode } = await run({ argv: ["lsattr", "-d", root] });
    expect(exitCode === 0 && /^\S*T/.test(stdout)).toBe(canSpread);
  });

  test("come again under their key, in another copy while one is in use", async () => {
    const folders = new ContextFolders({ root: join(folder, "again"), logger: silentLogger });
    const first = folders.take("a");
    writeFileSync(join(first.path, "file"), "content");
    const second = folders.take("a");
    expect([first.isNew, second.isNew, second.path === first.path]).toEqual([true, true, false]);
    await first.release();
    await second.release({ isBroken: true });
    expect(existsSync(second.path)).toBe(false);
    const again = folders.take("a");
    expect([again.path, again.isNew]).toEqual([first.path, false]);
    expect(existsSync(join(again.path, "file"))).toBe(true);
    await again.release();
  });
});
