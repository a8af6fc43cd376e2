import { closeSync, fstatSync, readSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import type { MergedTree } from "./merged-tree.ts";

/** Who owns a file. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Greatest number: above it, IDs wrap around on their way to the kernel. */
const idMax = 2 ** 31 - 1;
/** Largest file of users or groups that is read. */
const fileMaxBytes = 4 * 1024 * 1024;

/**
 * Looks up `user[:group]`. Docker: a number without a group is the group as well, and a name that the
 * image does not have is nobody's: 0 for a user, the user's own group for a group; seen in 28.5.
 *
 * @throws invalid-argument for a number out of range
 */
export function resolveOwner(chown: string, users: MergedTree): Owner {
  const colon = chown.indexOf(":");
  const userName = colon < 0 ? chown : chown.slice(0, colon);
  const groupName = colon < 0 ? "" : chown.slice(colon + 1);
  const user = findUser(userName, users);
  const gid = groupName === "" ? user.gid : (findGroup(groupName, users) ?? user.gid);
  for (const id of [user.uid, gid]) {
    if (id < 0 || id > idMax) {
      throw new EngineError("invalid-argument", `uids and gids must be in range 0-${idMax}`);
    }
  }
  return { uid: user.uid, gid };
}

function findUser(name: string, users: MergedTree): Owner {
  const id = parseId(name);
  if (name === "" || id !== undefined) return { uid: id ?? 0, gid: id ?? 0 };
  for (const [found, , uid = "", gid = ""] of readFields(users, "/etc/passwd")) {
    if (found === name) return { uid: parseId(uid) ?? 0, gid: parseId(gid) ?? 0 };
  }
  return { uid: 0, gid: 0 };
}

function findGroup(name: string, users: MergedTree): number | undefined {
  const id = parseId(name);
  if (id !== undefined) return id;
  for (const [found, , gid = ""] of readFields(users, "/etc/group")) {
    if (found === name) return parseId(gid);
  }
  return undefined;
}

function parseId(text: string): number | undefined {
  return /^\d{1,19}$/.test(text) ? Number(text) : undefined;
}

function readFields(users: MergedTree, path: string): readonly string[][] {
  const bytes = readTreeFile(users, path, fileMaxBytes);
  return Buffer.from(bytes ?? [])
    .toString()
    .split("\n")
    .map((line) => line.trim().split(":"));
}

/**
 * Reads a regular file of a tree, links followed inside; undefined when there is none.
 *
 * @throws invalid-argument when it is larger than the limit or no regular file
 */
export function readTreeFile(
  tree: MergedTree,
  path: string,
  sizeMaxBytes: number,
): Uint8Array | undefined {
  const found = tree.resolve(path);
  if (found.missing.length > 0) return undefined;
  const what = `read ${JSON.stringify(path)}`;
  if (!found.node.stat.isFile()) throw new EngineError("invalid-argument", `${what}: no file`);
  const fd = tree.open(found.node);
  try {
    const { size } = fstatSync(fd);
    const tooLarge = new EngineError(
      "invalid-argument",
      `${what}: larger than ${sizeMaxBytes} bytes`,
    );
    if (size > sizeMaxBytes) throw tooLarge;
    // One more, since a file may grow while it is read.
    const bytes = Buffer.alloc(Math.min(size, sizeMaxBytes) + 1);
    let at = 0;
    while (at < bytes.length) {
      const count = readSync(fd, bytes, at, bytes.length - at, null);
      if (count === 0) return bytes.subarray(0, at);
      at += count;
    }
    throw at > sizeMaxBytes ? tooLarge : new EngineError("conflict", `${what}: it grows`);
  } finally {
    closeSync(fd);
  }
}
