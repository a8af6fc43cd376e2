import type { BigIntStats } from "node:fs";
import { errno, errnoName, lazyLibc, systemFailure } from "../libc.ts";

const libc = lazyLibc({
  statx: { args: ["i32", "ptr", "i32", "u32", "ptr"], returns: "i32" },
});

/** What a file is: those parts of node:fs's stat that the engine asks for, in the same form. */
export type FileFacts = Pick<
  BigIntStats,
  | "birthtimeNs"
  | "ctimeNs"
  | "dev"
  | "gid"
  | "ino"
  | "isBlockDevice"
  | "isCharacterDevice"
  | "isDirectory"
  | "isFIFO"
  | "isFile"
  | "isSocket"
  | "isSymbolicLink"
  | "mode"
  | "mtimeNs"
  | "nlink"
  | "rdev"
  | "size"
  | "uid"
>;

/** `AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT`, linux/fcntl.h */
const noFollow = 0x100 | 0x800;
/** `AT_EMPTY_PATH`, linux/fcntl.h */
const openFileItself = 0x1000;
/** `STATX_BASIC_STATS | STATX_BTIME`, linux/stat.h */
const wantedFacts = 0xfff;
/** struct statx; the same on all machines. */
const statxBytes = 256;
/** Linux limits.h: PATH_MAX */
const pathMaxBytes = 4096;

/** 32-bit words of struct statx. */
const word = {
  nlink: 4,
  uid: 5,
  gid: 6,
  /** The lower half. */
  mode: 7,
  ino: 8,
  size: 10,
  birthTime: 20,
  changeTime: 24,
  modifyTime: 28,
  rdev: 32,
  dev: 34,
  count: 36,
} as const;

const room = Buffer.alloc(pathMaxBytes);
const answer = new Uint32Array(statxBytes / Uint32Array.BYTES_PER_ELEMENT);

/**
 * What a path below an open folder is, a link itself; undefined when there is nothing, or can be.
 *
 * A third of what node:fs takes, by the way through `/proc`. Links in the middle are followed.
 *
 * @param path byte string
 */
export function factsAt(folder: number, path: string): FileFacts | undefined {
  // Cut, it would be the path of something else.
  const fits = path.length < pathMaxBytes;
  const length = room.write(fits ? path : "", 0, pathMaxBytes - 1, "latin1");
  room[length] = 0;
  if (libc().statx(folder, room, noFollow, wantedFacts, answer) === 0) {
    return new StatxFacts(answer.slice(0, word.count));
  }
  const number = errno();
  const code = errnoName(number);
  if (code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG") return undefined;
  throw systemFailure(number, `look at ${JSON.stringify(path)}`);
}

/** What an open file is. */
export function factsOf(fd: number): FileFacts {
  room[0] = 0;
  if (libc().statx(fd, room, openFileItself, wantedFacts, answer) === 0) {
    return new StatxFacts(answer.slice(0, word.count));
  }
  throw systemFailure(errno(), "look at an open file");
}

const secondNs = 1_000_000_000n;
const typeBits = 0o170000;

/** Numbers become bigints when they are asked for: mostly few are. */
class StatxFacts implements FileFacts {
  readonly #words: Uint32Array;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  get dev(): bigint {
    return this.#device(word.dev);
  }
  get ino(): bigint {
    return this.#wide(word.ino);
  }
  get mode(): bigint {
    return BigInt(this.#mode);
  }
  get nlink(): bigint {
    return BigInt(this.#word(word.nlink));
  }
  get uid(): bigint {
    return BigInt(this.#word(word.uid));
  }
  get gid(): bigint {
    return BigInt(this.#word(word.gid));
  }
  get rdev(): bigint {
    return this.#device(word.rdev);
  }
  get size(): bigint {
    return this.#wide(word.size);
  }
  get mtimeNs(): bigint {
    return this.#time(word.modifyTime);
  }
  get ctimeNs(): bigint {
    return this.#time(word.changeTime);
  }
  get birthtimeNs(): bigint {
    return this.#time(word.birthTime);
  }

  isFile(): boolean {
    return this.#isType(0o100000);
  }
  isDirectory(): boolean {
    return this.#isType(0o040000);
  }
  isSymbolicLink(): boolean {
    return this.#isType(0o120000);
  }
  isFIFO(): boolean {
    return this.#isType(0o010000);
  }
  isSocket(): boolean {
    return this.#isType(0o140000);
  }
  isCharacterDevice(): boolean {
    return this.#isType(0o020000);
  }
  isBlockDevice(): boolean {
    return this.#isType(0o060000);
  }

  get #mode(): number {
    return this.#word(word.mode) & 0xffff;
  }

  #isType(type: number): boolean {
    return (this.#mode & typeBits) === type;
  }

  #word(at: number): number {
    return this.#words[at] ?? 0;
  }

  #wide(at: number): bigint {
    const high = this.#word(at + 1);
    return high === 0 ? BigInt(this.#word(at)) : (BigInt(high) << 32n) | BigInt(this.#word(at));
  }

  /** Seconds, which may be negative, and nanoseconds that count forward from there. */
  #time(at: number): bigint {
    return BigInt.asIntN(64, this.#wide(at)) * secondNs + BigInt(this.#word(at + 2));
  }

  /** As glibc's `makedev`. */
  #device(at: number): bigint {
    const [major, minor] = [BigInt(this.#word(at)), BigInt(this.#word(at + 1))];
    const low = ((major & 0xfffn) << 8n) | (minor & 0xffn);
    return low | ((minor & 0xffffff00n) << 12n) | ((major & 0xfffff000n) << 32n);
  }
}
