import {
  type BigIntStats,
  closeSync,
  constants,
  openSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { codeOf } from "../../lib/errors.ts";
import { writeFileAtomic } from "../../sys/fs/fs.ts";

/** Most files a cache remembers; the ones not seen longest go first. */
const entriesMax = 1_000_000;
/** Most caches held in memory. */
const cachesMax = 4;
const header = "tug hashes 1";
/**
 * A file that changed less than this before it was read may change again within the same tick of the
 * file system's clock, and look the same: it is not remembered.
 */
const settledNs = 50_000_000n;

/**
 * Hashes of files by what changes whenever their content does: device, inode, size, and times to the
 * nanosecond. Names do not count.
 *
 * Of a tree whose files are only replaced, the time of a file's making stands for that of its last
 * change, which also a further name of the file moves.
 */
export class HashCache {
  readonly #path: string;
  readonly #hashes: Map<string, string>;
  /** Lines that the file does not have yet. */
  #newLines: string[] = [];
  /** The file is one, and has all others. */
  #isStored: boolean;
  #isFrozen = false;

  private constructor(path: string, hashes: Map<string, string> | undefined) {
    this.#path = path;
    this.#hashes = hashes ?? new Map<string, string>();
    this.#isStored = hashes !== undefined;
  }

  /** Says whether the files to come are never changed in place. */
  setFrozen(isFrozen: boolean): void {
    this.#isFrozen = isFrozen;
  }

  /** The cache in a file; an empty one when that is missing or is no such file. */
  static open(path: string): HashCache {
    return new HashCache(path, readHashes(path));
  }

  /** The hash of a file that looks so; undefined when it is not known. */
  find(stat: BigIntStats): string | undefined {
    const key = this.#keyOf(stat);
    const hash = this.#hashes.get(key);
    if (hash === undefined) return undefined;
    // Behind those that were not seen for longer.
    if (this.#hashes.size > entriesMax / 2) {
      this.#hashes.delete(key);
      this.#hashes.set(key, hash);
    }
    return hash;
  }

  /** Remembers the hash of a file that looked so before and after it was read. */
  put(stat: BigIntStats, hash: string): void {
    if (BigInt(Date.now()) * 1_000_000n - stat.ctimeNs < settledNs) return;
    const key = this.#keyOf(stat);
    this.#hashes.set(key, hash);
    this.#newLines.push(lineOf(key, hash));
  }

  #keyOf(stat: BigIntStats): string {
    const { birthtimeNs } = stat;
    // Not every file system tells when a file was made.
    const time = this.#isFrozen && birthtimeNs > 0n ? `b${birthtimeNs}` : String(stat.ctimeNs);
    return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${time}`;
  }

  /** Writes down what is new, behind what the file has: mostly little of much. */
  save(): void {
    if (this.#newLines.length === 0) return;
    const isFull = this.#hashes.size > entriesMax;
    if (isFull || !this.#isStored || !appendTo(this.#path, this.#newLines.join(""))) {
      this.#writeAll();
    }
    this.#newLines = [];
  }

  #writeAll(): void {
    for (const key of this.#hashes.keys()) {
      if (this.#hashes.size <= entriesMax) break;
      this.#hashes.delete(key);
    }
    const lines = [`${header}\n`];
    for (const [key, hash] of this.#hashes) lines.push(lineOf(key, hash));
    writeFileAtomic(this.#path, lines.join(""), { mode: 0o600, durable: false });
    this.#isStored = true;
  }
}

function lineOf(key: string, hash: string): string {
  return `${key} ${hash}\n`;
}

/** Adds to a file; false when it is gone. A line that is cut is none to a reader, nor is the next. */
function appendTo(path: string, text: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_APPEND);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  try {
    writeFileSync(fd, text, "latin1");
    return true;
  } finally {
    closeSync(fd);
  }
}

/** The caches that a process used last. */
export class HashCaches {
  readonly #caches = new Map<string, { readonly cache: HashCache; mtimeNs: bigint }>();

  /** The cache in a file, read again when somebody else has written it. */
  open(path: string, mtimeNs: bigint): HashCache {
    const held = this.#caches.get(path);
    this.#caches.delete(path);
    const cache = held?.mtimeNs === mtimeNs ? held.cache : HashCache.open(path);
    this.#caches.set(path, { cache, mtimeNs });
    for (const oldest of this.#caches.keys()) {
      if (this.#caches.size <= cachesMax) break;
      this.#caches.delete(oldest);
    }
    return cache;
  }

  /** Notes when the file was written by ourselves. */
  written(path: string, mtimeNs: bigint): void {
    const held = this.#caches.get(path);
    if (held !== undefined) held.mtimeNs = mtimeNs;
  }
}

/** Undefined for what is no such file. */
function readHashes(path: string): Map<string, string> | undefined {
  const hashes = new Map<string, string>();
  const lines = readText(path).split("\n");
  if (lines[0] !== header) return undefined;
  for (const line of lines.slice(1)) {
    const space = line.indexOf(" ");
    // A line that was cut has no whole hash.
    if (space > 0 && line.length - space === 65)
      hashes.set(line.slice(0, space), line.slice(space + 1));
  }
  return hashes;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw error;
  }
}
