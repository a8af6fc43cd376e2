/** A tree with everything in it, unpacked by us and by GNU tar: the same, file by file. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changeOddTree, describeTree, makeOddTree } from "../tree/odd-tree.ts";
import { applyLayer } from "./apply.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-gnu-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function sh(script: string): void {
  const child = Bun.spawnSync(["bash", "-euc", script], { cwd: folder });
  // GNU tar warns of times before 1970 and of sockets; a failure is what counts.
  expect([child.exitCode, child.stderr.toString()]).toEqual([0, expect.any(String)]);
}

const at = (name: string): string => join(folder, name);

/** Packs `tree`, unpacks it both ways, and gives both descriptions. */
async function bothWays(pack: string, attributes: string): Promise<[string[], string[]]> {
  mkdirSync(at("ours"));
  mkdirSync(at("gnus"));
  sh(`tar ${pack} -C tree -cf blob .`);
  sh(`tar ${attributes} --same-owner --same-permissions --numeric-owner -C gnus -xf blob`);
  await applyLayer({ blobPath: at("blob"), targetDir: at("ours") });
  return [describeTree(at("ours")), describeTree(at("gnus"))];
}

const xattrs = "--xattrs --xattrs-include='*'";

describe.skipIf(process.getuid?.() !== 0)("applyLayer() beside GNU tar (needs root)", () => {
  test.each([
    ["PAX, with attributes and capabilities", `--format=posix ${xattrs}`, xattrs],
    ["PAX, holes kept (1.0)", `--format=posix -S ${xattrs}`, xattrs],
    ["PAX, holes kept (0.1)", `--format=posix -S --sparse-version=0.1 ${xattrs}`, xattrs],
    ["PAX, holes kept (0.0)", `--format=posix -S --sparse-version=0.0 ${xattrs}`, xattrs],
    ["GNU's own format, long names, holes", "--format=gnu -S", ""],
  ])("%s", async (_name, pack, attributes) => {
    mkdirSync(at("tree"));
    makeOddTree(at("tree"));
    const [ours, gnus] = await bothWays(pack, attributes);
    expect(ours).toEqual(gnus);
    expect(ours.length).toBeGreaterThan(25);
  });

  test("a changed tree, whose files have other kinds than before", async () => {
    mkdirSync(at("tree"));
    makeOddTree(at("tree"));
    changeOddTree(at("tree"));
    const [ours, gnus] = await bothWays(`--format=posix ${xattrs}`, xattrs);
    expect(ours).toEqual(gnus);
    expect(ours.some((line) => line.includes("security.capability="))).toBe(true);
  });

  test("an archive that names files twice, the last wins as with GNU tar", async () => {
    for (const name of ["one", "two"]) mkdirSync(at(name));
    makeOddTree(at("one"));
    makeOddTree(at("two"));
    changeOddTree(at("two"));
    sh(`tar --format=posix ${xattrs} -C one -cf blob .`);
    // What is left out of the second half stays: only files that both have are replaced.
    sh(`tar --format=posix ${xattrs} -C two -rf blob ./bin ./var ./again`);
    mkdirSync(at("ours"));
    mkdirSync(at("gnus"));
    sh(`tar ${xattrs} --same-owner --same-permissions --numeric-owner -C gnus -xf blob`);
    await applyLayer({ blobPath: at("blob"), targetDir: at("ours") });
    expect(describeTree(at("ours"))).toEqual(describeTree(at("gnus")));
  });
});
