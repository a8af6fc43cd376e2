/** Trees with everything in them that a layer can hold: for tests. Needs root. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { digestOf } from "../../oci/digest.ts";
import { deviceNumber, makeNode, setTimes, setXattr } from "../../sys/fs/fs.ts";
import { readLayerXattrs } from "./layer-xattrs.ts";

const secondNs = 1_000_000_000n;
const longName = "l".repeat(200);
/** cap_net_raw=ep, as the kernel keeps it. */
const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
const odd = Buffer.from([0x6f, 0xff, 0x64, 0xc3, 0x64]);

/** Fills an empty folder. */
export function makeOddTree(root: string): void {
  const at = (name: string): string => join(root, name);
  for (const name of ["bin", "etc/deep/er", "gone/a/b", "again/old", "var/spool", longName]) {
    mkdirSync(at(name), { recursive: true });
  }
  writeFileSync(at("bin/tool"), "#!/bin/sh\n");
  chmodSync(at("bin/tool"), 0o4755);
  linkSync(at("bin/tool"), at("bin/tool2"));
  writeFileSync(at("bin/ping"), "ping");
  setXattr(at("bin/ping"), "security.capability", capability);
  setXattr(at("bin/ping"), "user.note", Buffer.from([0, 1, 0x0a, 0xff]));
  writeFileSync(at(`${longName}/${"x".repeat(180)}`), "long");
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), odd]), "not UTF-8");
  symlinkSync("../bin/tool", at("etc/link"));
  symlinkSync(`/nowhere/${"t".repeat(150)}`, at("etc/longlink"));
  makeNode(at("etc/fifo"), 0o010644, 0);
  makeNode(at("etc/null"), 0o020666, deviceNumber(1, 3));
  makeNode(at("etc/block"), 0o060660, deviceNumber(259, 70_000));
  writeFileSync(at("etc/old"), "before 1970");
  setTimes(at("etc/old"), { atime: 0n, mtime: -86_400n * secondNs - 500_000_000n });
  writeFileSync(at("etc/owned"), "owned");
  chownSync(at("etc/owned"), 3_000_000, 4_000_000);
  const sparse = openSync(at("var/sparse"), "w");
  ftruncateSync(sparse, 3 * 1024 * 1024 + 17);
  closeSync(sparse);
  appendFileSync(at("var/sparse"), "end");
  for (const name of ["gone/a/b/file", "gone/file", "again/old/file", "again/x", "etc/deep/er/f"]) {
    writeFileSync(at(name), name);
  }
  chmodSync(at("var/spool"), 0o1777);
}

/** Changes such a tree in every way there is. */
export function changeOddTree(root: string): void {
  const at = (name: string): string => join(root, name);
  rmSync(at("gone"), { recursive: true });
  rmSync(at("again"), { recursive: true });
  mkdirSync(at("again"));
  writeFileSync(at("again/new"), "new");
  writeFileSync(at("again/x"), "other x");
  rmSync(at("etc/link"));
  rmSync(at("etc/deep"), { recursive: true });
  writeFileSync(at("etc/deep"), "a file where a folder was");
  rmSync(at("etc/old"));
  mkdirSync(at("etc/old/sub"), { recursive: true });
  writeFileSync(at("etc/old/sub/file"), "a folder where a file was");
  appendFileSync(at("bin/tool"), "exit 0\n");
  chmodSync(at("var/spool"), 0o2700);
  writeFileSync(at("var/b"), "linked");
  linkSync(at("var/b"), at("var/a"));
  linkSync(at("var/b"), at("bin/c"));
  symlinkSync("b", at("var/s"));
  makeNode(at("var/fifo"), 0o010600, 0);
  makeNode(at("var/device"), 0o020600, deviceNumber(10, 200));
  mkdirSync(at("new/a/b"), { recursive: true });
  writeFileSync(at("new/a/b/c"), "deep");
  setXattr(at("new/a/b/c"), "user.mark", Buffer.from("x"));
  renameSync(at("etc/owned"), at("etc/renamed"));
  writeFileSync(Buffer.concat([Buffer.from(`${root}/var/`), odd, odd]), "also not UTF-8");
  setTimes(at("new"), { atime: 0n, mtime: -5n * secondNs });
}

/** One line a file, with everything that a layer keeps; times in whole seconds. */
export function describeTree(root: string): string[] {
  const lines: string[] = [];
  const links = new Map<string, string>();
  const visit = (folder: Buffer, shown: string): void => {
    const names = readdirSync(folder, { encoding: "buffer" }).toSorted(Buffer.compare);
    for (const name of names) {
      const path = Buffer.concat([folder, Buffer.from("/"), name]);
      const stat = lstatSync(path, { bigint: true });
      const text = `${shown}/${name.toString("latin1")}`;
      const first = links.get(`${stat.dev}:${stat.ino}`) ?? text;
      if (!stat.isDirectory()) links.set(`${stat.dev}:${stat.ino}`, first);
      const xattrs = [...readLayerXattrs(path)].map(
        ([key, value]) => `${key}=${Buffer.from(value).toString("hex")}`,
      );
      const content = stat.isFile()
        ? digestOf(readFileSync(path)).slice(7, 19)
        : stat.isSymbolicLink()
          ? readlinkSync(path, { encoding: "buffer" }).toString("latin1")
          : stat.rdev;
      const seconds =
        (stat.mtimeNs - (((stat.mtimeNs % secondNs) + secondNs) % secondNs)) / secondNs;
      lines.push(
        [
          text,
          stat.mode.toString(8),
          `${stat.uid}:${stat.gid}`,
          stat.isFile() ? stat.size : "-",
          content,
          seconds,
          first === text ? "" : `=${first}`,
          xattrs.toSorted().join(","),
        ].join(" "),
      );
      if (stat.isDirectory()) visit(path, text);
    }
  };
  visit(Buffer.from(root), "");
  return lines;
}
