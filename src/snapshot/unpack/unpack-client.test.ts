import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { encodeTar } from "../../lib/tar/tar-writer.ts";
import { getXattr, listXattr, setXattr } from "../../sys/fs/fs.ts";
import { workerBlobMinBytes } from "./_layer-bytes.ts";
import type { AppliedLayer, ApplyOptions } from "./apply.ts";
import { openUnpacker } from "./unpack-client.ts";

const program = `
  import { unpackMain } from ${JSON.stringify(join(import.meta.dir, "unpack-main.ts"))};
  process.exitCode = await unpackMain([]);`;
const helper = [process.execPath, "-e", program];

/** Unpacks one layer in a helper of its own. */
async function unpackLayer(
  layer: ApplyOptions,
  { signal, ...how }: { readonly helper: readonly string[]; readonly signal?: AbortSignal },
): Promise<AppliedLayer> {
  await using unpacker = openUnpacker({ command: how.helper });
  return await unpacker.unpack(layer, signal === undefined ? {} : { signal });
}

let folder: string;
let target: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tug-unpack-"));
  target = join(folder, "target");
  mkdirSync(target);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function sh(script: string): void {
  const child = Bun.spawnSync(["sh", "-euc", script], { cwd: folder });
  // GNU tar warns of times before 1970; a failure is what counts.
  expect({ exitCode: child.exitCode, stderr: child.stderr.toString() }).toMatchObject({
    exitCode: 0,
  });
}

/** Everything that a tar keeps of a tree, one line a file. */
function listTree(root: string, below = ""): string[] {
  const lines: string[] = [];
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = join(below, name);
    const full = join(root, path);
    const stat = lstatSync(full, { bigint: true });
    const content = stat.isFile()
      ? createHash("sha1").update(readFileSync(full)).digest("hex")
      : stat.isSymbolicLink()
        ? readlinkSync(full)
        : "";
    const attributes = listXattr(full).map((attribute) => {
      const value = Buffer.from(getXattr(full, attribute) ?? []).toString("hex");
      return `${attribute}=${value}`;
    });
    const size = stat.isDirectory() ? 0n : stat.size;
    const facts = [stat.mode.toString(8), stat.uid, stat.gid, size, stat.mtimeNs, stat.rdev];
    const links = stat.isDirectory() ? 0n : stat.nlink;
    lines.push([path, ...facts, links, content, ...attributes.sort()].join(" "));
    if (stat.isDirectory()) lines.push(...listTree(root, path));
  }
  return lines;
}

describe.skipIf(process.getuid?.() !== 0)("openUnpacker() (needs root)", () => {
  test("makes of a real tree exactly what GNU tar makes", async () => {
    const tree = join(folder, "tree");
    mkdirSync(tree);
    sh(`
      cp -a /usr/share/perl5 /etc/alternatives tree/ 2>/dev/null
      cp -a /bin/su /usr/bin/passwd /usr/bin/perl /bin/bash tree/
      mknod tree/null c 1 3; mkfifo tree/pipe; ln tree/su tree/su2; ln -s ../../etc tree/up
      chown 1000:1001 tree/su; chmod 4755 tree/su; chown -h 7:8 tree/up
      mkdir -m 2751 tree/sg; touch -d @-86400.5 tree/sg/old; touch -d @-1000 tree/sg
      truncate -s 3M tree/sparse; printf x | dd of=tree/sparse bs=1 seek=1M conv=notrunc status=none
      mkdir -p tree/$(printf 'd%.0s' $(seq 120))/$(printf 'e%.0s' $(seq 120))
      touch "tree/a name
with newline" tree/ünïcode
    `);
    setXattr(join(tree, "passwd"), "user.note", Buffer.from("kept"));
    utimesSync(join(tree, "sparse"), 5, 5);
    sh(`
      mkdir gnu gnu2 target2
      tar --xattrs --format=pax -czf pax.tar.gz -C tree .
      tar --sparse --format=gnu -cf gnu.tar -C tree .
      tar --xattrs --xattrs-include='*' --numeric-owner -xpzf pax.tar.gz -C gnu
      tar --numeric-owner -xpf gnu.tar -C gnu2
    `);
    // Large enough for the worker thread, which other tests do not reach.
    expect(statSync(join(folder, "pax.tar.gz")).size).toBeGreaterThan(workerBlobMinBytes);
    const done = await unpackLayer(
      { blobPath: join(folder, "pax.tar.gz"), targetDir: target, durable: true },
      { helper },
    );
    const wanted = listTree(join(folder, "gnu"));
    expect(wanted.length).toBeGreaterThan(300);
    expect(listTree(target)).toEqual(wanted);
    expect(done.entryCount).toBe(wanted.length + 1);
    expect(lstatSync(target, { bigint: true }).mtimeNs).toBe(
      lstatSync(join(folder, "gnu"), { bigint: true }).mtimeNs,
    );
    const second = join(folder, "target2");
    await unpackLayer({ blobPath: join(folder, "gnu.tar"), targetDir: second }, { helper });
    expect(listTree(second)).toEqual(listTree(join(folder, "gnu2")));
    expect(lstatSync(join(second, "sparse")).blocks).toBeLessThan(64);
  }, 30_000);

  test("hands on the failure of the helper with its kind", async () => {
    const blobPath = join(folder, "evil.tar");
    writeFileSync(blobPath, encodeTar([{ header: { name: "../x" } }]));
    await expect(unpackLayer({ blobPath, targetDir: target }, { helper })).rejects.toMatchObject({
      kind: "invalid-argument",
      message: 'unpack "../x": "../x" leads out of the layer',
    });
    const missing = { blobPath: join(folder, "none"), targetDir: target };
    await expect(unpackLayer(missing, { helper })).rejects.toMatchObject({ kind: "internal" });
  });

  test("a large layer that is cut, or refused in the middle, ends the worker thread too", async () => {
    const entries = [{ header: { name: "big" }, content: randomBytes(2 << 20) }];
    const evil = [...entries, { header: { name: "../x" } }, ...entries];
    const packed = gzipSync(encodeTar(evil), { level: 1 });
    const blobPath = join(folder, "evil.tar.gz");
    writeFileSync(blobPath, packed);
    await expect(unpackLayer({ blobPath, targetDir: target }, { helper })).rejects.toMatchObject({
      kind: "invalid-argument",
      message: 'unpack "../x": "../x" leads out of the layer',
    });
    writeFileSync(blobPath, packed.subarray(0, (3 << 20) / 2));
    await expect(unpackLayer({ blobPath, targetDir: target }, { helper })).rejects.toMatchObject({
      kind: "invalid-argument",
    });
  });

  test("tells a full disk as such", async () => {
    const small = join(folder, "small");
    mkdirSync(small);
    sh("mount -t tmpfs -o size=1m tmpfs small");
    try {
      const blobPath = join(folder, "big.tar");
      writeFileSync(
        blobPath,
        encodeTar([{ header: { name: "x" }, content: Buffer.alloc(2 << 20) }]),
      );
      await expect(unpackLayer({ blobPath, targetDir: small }, { helper })).rejects.toMatchObject({
        kind: "unavailable",
        details: { code: "ENOSPC" },
      });
    } finally {
      sh("umount -l small");
    }
  });

  test("an abort kills the helper", async () => {
    const stop = new AbortController();
    const sleeping = unpackLayer(
      { blobPath: "/x", targetDir: target },
      { helper: ["sleep", "60"], signal: stop.signal },
    );
    stop.abort();
    await expect(sleeping).rejects.toMatchObject({ kind: "canceled" });
  });

  test("a helper that dies or talks rubbish is an internal failure", async () => {
    const request = { blobPath: "/x", targetDir: target };
    for (const script of ["kill -9 $$", "exit 3", "echo rubbish", "echo '{}'"]) {
      const run = unpackLayer(request, { helper: ["sh", "-c", script] });
      await expect(run).rejects.toMatchObject({ kind: "internal" });
    }
  });
});
