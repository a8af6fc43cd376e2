/** A folder of the user's, as it is sent to an engine that builds. */
import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { posix } from "node:path";
import { nextTurn } from "../../lib/concurrency/turn.ts";
import type { FolderSource } from "../../api/buildkit/folder-sender.ts";
import { type FileStat, fileStatType, goModeOf } from "../../api/buildkit/fsutil.ts";
import { codeOf } from "../../lib/errors.ts";
import { type ParentMatch, parseGoPattern, PatternList } from "../../lib/pattern/name-pattern.ts";
import { fillMessage } from "../../lib/protobuf.ts";

const chunkBytes = 128 * 1024;
/** Pieces up to that size are copied out of their room, which is read into again: fresh memory costs
 * more than what is read into it. A larger piece is given away with its room. */
const copiedMaxBytes = chunkBytes / 2;
const freeRooms: Buffer[] = [];
/** As the kernel's MAXSYMLINKS. */
const linkCountMax = 40;
/** Names are worked on so many at a time, then others have their turn. */
const batchCount = 200;

/** What of a folder is sent. */
export interface FolderChoice {
  /** Lines as in .dockerignore, of what stays here. */
  readonly excludes?: readonly string[];
  /** Only these paths, with wildcards, what is below them, and what links among them lead to. */
  readonly followPaths?: readonly string[];
}

/**
 * Opens a folder for sending.
 *
 * Files belong to root when they arrive, whoever has them here. Paths are text with one character a
 * byte. Sockets stay here; what cannot be read fails the transfer.
 *
 * @throws invalid-argument for a malformed pattern
 */
export function openLocalFolder(root: string, choice: FolderChoice = {}): FolderSource {
  const excludes = new PatternList((choice.excludes ?? []).map(toBytes));
  const { followPaths } = choice;
  return {
    walk: () => {
      const followed =
        followPaths === undefined ? undefined : new Followed(root, followPaths.map(toBytes));
      return walk({ root, excludes, followed, firstNames: new Map(), count: 0 });
    },
    read: (path) => read(root, path),
  };
}

interface Walk {
  readonly root: string;
  readonly excludes: PatternList;
  readonly followed: Followed | undefined;
  /** The first path of each file with several names. */
  readonly firstNames: Map<string, string>;
  count: number;
}

interface Folder {
  readonly path: string;
  readonly match: ParentMatch;
  /** Folders above that are sent only when something in them is. */
  readonly held: readonly FileStat[];
}

/** All files, in the order in which they travel. */
async function* walk(state: Walk): AsyncGenerator<FileStat> {
  yield* walkFolder(state, { path: "", match: [], held: [] });
}

async function* walkFolder(state: Walk, folder: Folder): AsyncGenerator<FileStat> {
  let { held } = folder;
  for (const name of namesIn(state.root, folder.path)) {
    state.count += 1;
    if (state.count % batchCount === 0) await nextTurn();
    const path = folder.path === "" ? name : `${folder.path}/${name}`;
    if (state.followed?.wants(path) === false) continue;
    const { isMatch, below } = state.excludes.match(path, folder.match);
    const stat = statOf(state.root, path);
    // Gone since the folder was listed.
    if (stat === undefined || stat.isSocket()) continue;
    const isFolder = stat.isDirectory();
    if (isMatch && !(isFolder && state.excludes.hasExceptions)) continue;
    const file = describe(state, { path, stat });
    if (isMatch) {
      const inner = { path, match: below, held: [...held, file] };
      for await (const each of walkFolder(state, inner)) {
        held = [];
        yield each;
      }
      continue;
    }
    yield* held;
    held = [];
    yield file;
    if (isFolder) yield* walkFolder(state, { path, match: below, held: [] });
  }
}

function namesIn(root: string, path: string): readonly string[] {
  try {
    const names = readdirSync(pathOf(root, path), { encoding: "buffer" });
    return names.map((name) => name.toString("latin1")).sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT" && path !== "") return [];
    throw error;
  }
}

function describe(
  state: Walk,
  file: { readonly path: string; readonly stat: BigIntStats },
): FileStat {
  const { path, stat } = file;
  const isFile = stat.isFile();
  const first = isFile && stat.nlink > 1n ? firstNameOf(state.firstNames, file) : "";
  const link = stat.isSymbolicLink()
    ? readlinkSync(pathOf(state.root, path), { encoding: "buffer" }).toString("latin1")
    : first;
  return fillMessage(fileStatType, {
    path,
    mode: goModeOf(Number(stat.mode)),
    size: isFile && first === "" ? Number(stat.size) : 0,
    modTime: stat.mtimeNs,
    linkname: link,
    devMajor: Number((stat.rdev >> 8n) & 0xfffn),
    devMinor: Number((stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xfff00n)),
  });
}

function firstNameOf(
  names: Map<string, string>,
  file: { readonly path: string; readonly stat: BigIntStats },
): string {
  const key = `${file.stat.dev}:${file.stat.ino}`;
  const first = names.get(key);
  if (first === undefined) names.set(key, file.path);
  return first ?? "";
}

async function* read(root: string, path: string): AsyncGenerator<Uint8Array> {
  let fd: number;
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    fd = openSync(pathOf(root, path), flags);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  let room = freeRooms.pop() ?? Buffer.allocUnsafeSlow(chunkBytes);
  try {
    for (;;) {
      const count = readSync(fd, room, 0, chunkBytes, null);
      if (count === 0) return;
      if (count > copiedMaxBytes) {
        yield room.subarray(0, count);
        room = Buffer.allocUnsafeSlow(chunkBytes);
      } else yield Buffer.from(room.subarray(0, count));
    }
  } finally {
    freeRooms.push(room);
    closeSync(fd);
  }
}

/** The paths that are asked for, with what links among them lead to. */
class Followed {
  readonly #root: string;
  readonly #paths = new Set<string>();
  readonly #parents = new Set<string>();
  #isWhole = false;

  constructor(root: string, patterns: readonly string[]) {
    this.#root = root;
    for (const pattern of patterns) {
      const parts = posix
        .join("/", pattern)
        .split("/")
        .filter((part) => part !== "");
      this.#follow({ at: "", parts, linkCount: 0 });
    }
  }

  /** Whether a path is asked for, is below one, or leads to one. */
  wants(path: string): boolean {
    if (this.#isWhole || this.#parents.has(path)) return true;
    for (let at = path; at !== ""; at = parentOf(at)) if (this.#paths.has(at)) return true;
    return false;
  }

  #follow(step: {
    readonly at: string;
    readonly parts: readonly string[];
    readonly linkCount: number;
  }): void {
    const { at, parts, linkCount } = step;
    const [part, ...rest] = parts;
    if (part === undefined) {
      this.#add(at);
      return;
    }
    for (const name of this.#expand(at, part)) {
      const next = at === "" ? name : `${at}/${name}`;
      const stat = statOf(this.#root, next);
      if (stat === undefined) continue;
      if (!stat.isSymbolicLink()) this.#follow({ at: next, parts: rest, linkCount });
      else {
        this.#add(next);
        if (linkCount >= linkCountMax) continue;
        const target = readlinkSync(pathOf(this.#root, next), { encoding: "buffer" });
        const from = target[0] === 0x2f ? "/" : `/${at}`;
        const path = posix.join(from, target.toString("latin1"));
        const linked = path.split("/").filter((each) => each !== "");
        this.#follow({ at: "", parts: [...linked, ...rest], linkCount: linkCount + 1 });
      }
    }
  }

  #expand(folder: string, part: string): readonly string[] {
    if (!/[*?[\\]/.test(part)) return [part];
    const pattern = parseGoPattern(part);
    if (statOf(this.#root, folder)?.isDirectory() !== true) return [];
    return namesIn(this.#root, folder).filter((name) => pattern.matches(name));
  }

  #add(path: string): void {
    if (path === "") this.#isWhole = true;
    this.#paths.add(path);
    for (let at = parentOf(path); at !== ""; at = parentOf(at)) this.#parents.add(at);
  }
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

function statOf(root: string, path: string): BigIntStats | undefined {
  try {
    return lstatSync(pathOf(root, path), { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

function pathOf(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, "latin1")]);
}

function toBytes(text: string): string {
  return Buffer.from(text).toString("latin1");
}
