/** A folder on this machine's disk, as it is sent to a client. */
import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  readdirSync,
  readSync,
  readlinkSync,
} from "node:fs";
import type { FolderSource } from "../../api/buildkit/folder-sender.ts";
import { type FileStat, goModeOf } from "../../api/buildkit/fsutil.ts";
import { fileStatType } from "../../api/buildkit/fsutil.ts";
import { EngineError } from "../../lib/errors.ts";
import { fillMessage } from "../../lib/protobuf.ts";
import { getXattr, listXattr, openInRoot, openRoot } from "../../sys/fs/fs.ts";

const chunkBytes = 128 * 1024;
/** Each level holds a list of names. */
const depthMax = 512;

/**
 * Opens a folder for sending. Links are sent as links, and never followed; all belongs to root, as
 * files that leave a build do.
 */
export function openDiskFolder(path: string): FolderSource & Disposable {
  const root = openRoot(path);
  const firstNames = new Map<string, string>();
  return {
    walk: () => walk(root, { folder: "", depth: 0, firstNames }),
    read: (file) => read(root, file),
    [Symbol.dispose]: () => closeSync(root),
  };
}

interface Level {
  readonly folder: string;
  readonly depth: number;
  /** The first path of each file with several names. */
  readonly firstNames: Map<string, string>;
}

async function* walk(root: number, level: Level): AsyncGenerator<FileStat> {
  const { folder, depth, firstNames } = level;
  if (depth > depthMax) {
    throw new EngineError("invalid-argument", `send folder: deeper than ${depthMax} folders`);
  }
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const fd = openInRoot(root, Buffer.from(folder === "" ? "." : folder, "latin1"), flags);
  const entries: { readonly path: string; readonly stat: BigIntStats; readonly link: string }[] =
    [];
  const attributes = new Map<string, ReadonlyMap<string, Uint8Array>>();
  try {
    for (const raw of readdirSync(`/proc/self/fd/${fd}/.`, { encoding: "buffer" })) {
      const name = raw.toString("latin1");
      const at = Buffer.from(`/proc/self/fd/${fd}/${name}`, "latin1");
      const stat = lstatSync(at, { bigint: true });
      if (stat.isSocket()) continue;
      const path = folder === "" ? name : `${folder}/${name}`;
      const link = stat.isSymbolicLink()
        ? readlinkSync(at, { encoding: "buffer" }).toString("latin1")
        : "";
      entries.push({ path, stat, link });
      if (!stat.isSymbolicLink()) attributes.set(path, attributesOf(at));
    }
  } finally {
    closeSync(fd);
  }
  entries.sort((left, right) => (left.path < right.path ? -1 : 1));
  for (const { path, stat, link } of entries) {
    const first = stat.isFile() && stat.nlink > 1n ? firstNameOf(firstNames, { path, stat }) : "";
    yield fillMessage(fileStatType, {
      path,
      mode: goModeOf(Number(stat.mode)),
      size: stat.isFile() && first === "" ? Number(stat.size) : 0,
      modTime: stat.mtimeNs,
      linkname: link === "" ? first : link,
      devMajor: Number((stat.rdev >> 8n) & 0xfffn),
      devMinor: Number((stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xfff00n)),
      xattrs: attributes.get(path) ?? new Map<string, Uint8Array>(),
    });
    if (stat.isDirectory()) yield* walk(root, { folder: path, depth: depth + 1, firstNames });
  }
}

/** The name under which a file was sent already, or "". */
function firstNameOf(
  names: Map<string, string>,
  file: { readonly path: string; readonly stat: BigIntStats },
): string {
  const key = `${file.stat.dev}:${file.stat.ino}`;
  const first = names.get(key);
  if (first === undefined) names.set(key, file.path);
  return first ?? "";
}

function attributesOf(at: Buffer): ReadonlyMap<string, Uint8Array> {
  const attributes = new Map<string, Uint8Array>();
  for (const name of listXattr(at)) {
    if (!name.startsWith("user.") && name !== "security.capability") continue;
    const value = getXattr(at, name);
    if (value !== undefined) attributes.set(name, value);
  }
  return attributes;
}

async function* read(root: number, path: string): AsyncGenerator<Uint8Array> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const fd = openInRoot(root, Buffer.from(path, "latin1"), flags);
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(chunkBytes);
      const count = readSync(fd, chunk, 0, chunkBytes, null);
      if (count === 0) return;
      yield chunk.subarray(0, count);
    }
  } finally {
    closeSync(fd);
  }
}
