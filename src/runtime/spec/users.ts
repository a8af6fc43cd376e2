/**
 * Who a container's process runs as: names and numbers looked up in the image's own files.
 */
import { EngineError } from "../../lib/errors.ts";
import { readImageFile } from "./_image-file.ts";

/** The identity of a process. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** All groups, the primary one first, each once. */
  readonly additionalGids: readonly number[];
  /** Home from the image's passwd; `/` for a user that is not in it. */
  readonly home: string;
}

/** What was asked. */
export interface UserRequest {
  /** `user[:group]`, names or numbers; "" is root. */
  readonly user: string;
  readonly groupAdd: readonly string[];
}

/** Files of users and groups, as text; undefined when the image has none. */
export interface UserFiles {
  readonly passwd: string | undefined;
  readonly group: string | undefined;
}

/** Greatest user or group ID: above it, numbers wrap around to root on their way to the kernel. */
const idMax = 2 ** 31 - 1;

/** Reads the files of users and groups of an image; see `readImageFile`. */
export function readUserFiles(layerDirs: readonly string[]): UserFiles {
  return {
    passwd: readText(layerDirs, "/etc/passwd"),
    group: readText(layerDirs, "/etc/group"),
  };
}

/**
 * Looks up a user and groups.
 *
 * @throws invalid-argument in Docker's words: no such user or group, or an ID out of range, also
 * when the image's files name it
 */
export function resolveUser(request: UserRequest, files: UserFiles): ResolvedUser {
  const colon = request.user.indexOf(":");
  const userName = colon === -1 ? request.user : request.user.slice(0, colon);
  const groupName = colon === -1 ? "" : request.user.slice(colon + 1);
  const groups = parseGroups(files.group ?? "");
  const user = findUser(userName === "" ? "0" : userName, {
    passwd: files.passwd ?? "",
    isAsked: userName !== "",
  });
  const gid = groupName === "" ? user.gid : findGroup(groupName, groups);
  const memberships =
    groupName === "" && user.name !== undefined
      ? groups.filter((group) => group.members.includes(user.name ?? ""))
      : [];
  const ids = [
    gid,
    ...memberships.map((group) => group.gid),
    ...request.groupAdd.map((name) => findGroup(name, groups)),
  ];
  for (const id of [user.uid, ...ids]) checkRange(id);
  return { uid: user.uid, gid, additionalGids: [...new Set(ids)], home: user.home };
}

interface FoundUser {
  /** Undefined when the user is a number that passwd does not have. */
  readonly name?: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

function findUser(
  wanted: string,
  options: { readonly passwd: string; readonly isAsked: boolean },
): FoundUser {
  const id = parseId(wanted);
  for (const line of lines(options.passwd)) {
    const [name = "", , uidText = "", gidText = "", , home = ""] = line.split(":");
    const uid = parseId(uidText);
    if (uid === undefined || name === "") continue;
    const isMatch = (options.isAsked && name === wanted) || (id !== undefined && uid === id);
    if (!isMatch) continue;
    const gid = parseId(gidText) ?? 0;
    return { name, uid, gid, home: home === "" ? "/" : home };
  }
  if (id === undefined) {
    throw invalid(`unable to find user ${wanted}: no matching entries in passwd file`);
  }
  return { uid: id, gid: 0, home: "/" };
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

function findGroup(wanted: string, groups: readonly GroupEntry[]): number {
  const id = parseId(wanted);
  const found = groups.find(
    (group) => group.name === wanted || (id !== undefined && group.gid === id),
  );
  if (found !== undefined) return found.gid;
  if (id === undefined) {
    throw invalid(`unable to find group ${wanted}: no matching entries in group file`);
  }
  return id;
}

function parseGroups(text: string): readonly GroupEntry[] {
  return lines(text).flatMap((line) => {
    const [name = "", , gidText = "", members = ""] = line.split(":");
    const gid = parseId(gidText);
    if (name === "" || gid === undefined) return [];
    return [{ name, gid, members: members.split(",").map((member) => member.trim()) }];
  });
}

function lines(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/** A decimal number, also one out of range, so that it is refused and not taken for a name. */
function parseId(text: string): number | undefined {
  return /^[+-]?\d{1,19}$/.test(text) ? Number(text) : undefined;
}

function checkRange(id: number): void {
  if (id < 0 || id > idMax) throw invalid(`uids and gids must be in range 0-${idMax}`);
}

function readText(layerDirs: readonly string[], path: string): string | undefined {
  const bytes = readImageFile(layerDirs, path);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

function invalid(message: string): EngineError {
  return new EngineError("invalid-argument", message);
}
