/**
 * Reads a container's log, across its rotated files, as bytes for the client.
 *
 * A follower keeps the file it reads open: a rotation moves the name and not the file, so it reads
 * to the end and goes on with the file that came after, by inode. Damaged records are left out.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { codeOf } from "../../lib/errors.ts";
import { formatTimePadded } from "../../lib/time.ts";
import { LogRenderer } from "./_log-records.ts";

const blockBytes = 1024 * 1024;
/** No record of ours is longer; what is, is damage. */
const recordMaxBytes = 4 * 1024 * 1024;
/** A follower looks at least this often, whatever the watch tells. */
const lookIntervalMs = 500;
const newline = 0x0a;

/** What to read, and how to tell it. */
export interface ReadJsonLogOptions {
  /** The current file; older ones are `path.1`, `path.2`, also with `.gz`. */
  readonly path: string;
  /** Files that may be there, the current one included. */
  readonly countMax: number;
  /** Go on when all is read, until `ended` fires. */
  readonly follow?: boolean;
  readonly sinceNs?: bigint;
  readonly untilNs?: bigint;
  /** Records from the end; all when absent. */
  readonly tail?: number | "all";
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly timestamps: boolean;
  readonly details: boolean;
  /** In frames of Docker's stdcopy; else bytes alone, as of a terminal. */
  readonly frame: boolean;
  /** Fires when the container has ended and its log is complete: the rest is read, then it ends. */
  readonly ended?: AbortSignal;
  /** The reader is wanted no more. */
  readonly signal: AbortSignal;
  /** Told how many records were damaged, at the end, when there were any. */
  readonly onSkipped?: (count: number) => void;
}

/** One file of the log. */
interface LogFile {
  readonly path: string;
  readonly isCompressed: boolean;
}

/** Reads the log in big blocks; a missing log is an empty one. */
export async function* readJsonLog(options: ReadJsonLogOptions): AsyncGenerator<Uint8Array, void> {
  const { sinceNs, untilNs } = options;
  const renderer = new LogRenderer({
    stdout: options.stdout,
    stderr: options.stderr,
    timestamps: options.timestamps,
    details: options.details,
    frame: options.frame,
    ...(sinceNs === undefined ? {} : { since: formatTimePadded(sinceNs) }),
    ...(untilNs === undefined ? {} : { until: formatTimePadded(untilNs) }),
  });
  const current = openLog(options.path);
  try {
    const older = olderFiles(options).reverse();
    const skip = tailStart(options, older, current);
    const rest = await skip;
    yield* readOlder(rest.older, renderer, options.signal);
    yield* readCurrent({ options, renderer, file: current, from: rest.from });
  } finally {
    if (current.fd >= 0) closeSync(current.fd);
    if (renderer.skippedCount > 0) options.onSkipped?.(renderer.skippedCount);
  }
}

interface OpenLog {
  fd: number;
}

function openLog(path: string): OpenLog {
  try {
    return { fd: openSync(path, "r") };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { fd: -1 };
    throw error;
  }
}

/** Rotated files, the newest first. */
function olderFiles(options: ReadJsonLogOptions): LogFile[] {
  const found: LogFile[] = [];
  for (let index = 1; index < options.countMax; index += 1) {
    const path = `${options.path}.${index}`;
    if (existsSync(path)) found.push({ path, isCompressed: false });
    else if (existsSync(`${path}.gz`)) found.push({ path: `${path}.gz`, isCompressed: true });
  }
  return found;
}

interface Piece {
  readonly file: LogFile;
  readonly from: number;
}

/** Where the last `tail` records begin. */
async function tailStart(
  options: ReadJsonLogOptions,
  older: readonly LogFile[],
  current: OpenLog,
): Promise<{ readonly older: readonly Piece[]; readonly from: number }> {
  const { tail = "all" } = options;
  if (tail === "all") return { older: older.map((file) => ({ file, from: 0 })), from: 0 };
  let wanted = tail;
  const inCurrent = current.fd < 0 ? { from: 0, count: 0 } : lastRecords(current.fd, wanted);
  wanted -= inCurrent.count;
  const pieces: Piece[] = [];
  for (const file of [...older].reverse()) {
    if (wanted <= 0) break;
    const bytes = await readWhole(file);
    const { from, count } = lastRecordsOf(bytes, wanted);
    wanted -= count;
    pieces.unshift({ file, from });
  }
  return { older: pieces, from: inCurrent.from };
}

/** Looks from the end backwards for the begin of the last `wanted` records. */
function lastRecords(fd: number, wanted: number): { from: number; count: number } {
  const sizeBytes = fstatSync(fd).size;
  const block = Buffer.allocUnsafe(Math.min(blockBytes, Math.max(1, sizeBytes)));
  let end = sizeBytes;
  let count = 0;
  while (end > 0) {
    const start = Math.max(0, end - block.length);
    const length = readSync(fd, block, 0, end - start, start);
    for (let at = length - 1; at >= 0; at -= 1) {
      at = block.lastIndexOf(newline, at);
      if (at < 0) break;
      // The line end of the last record begins nothing.
      if (start + at + 1 === sizeBytes) continue;
      count += 1;
      if (count === wanted) return { from: start + at + 1, count };
      if (wanted === 0) return { from: sizeBytes, count: 0 };
    }
    end = start;
  }
  if (wanted === 0) return { from: sizeBytes, count: 0 };
  return { from: 0, count: sizeBytes === 0 ? 0 : count + 1 };
}

function lastRecordsOf(bytes: Buffer, wanted: number): { from: number; count: number } {
  let count = 0;
  let at = bytes.length - 1;
  while (at > 0) {
    at = bytes.lastIndexOf(newline, at - 1);
    if (at < 0) break;
    count += 1;
    if (count === wanted) return { from: at + 1, count };
  }
  return { from: 0, count: bytes.length === 0 ? 0 : count + 1 };
}

async function readWhole(file: LogFile): Promise<Buffer> {
  try {
    const bytes = await readFile(file.path);
    if (!file.isCompressed) return bytes;
    const { gunzip } = await import("node:zlib");
    return await promisify(gunzip)(bytes);
  } catch (error) {
    // Rotated away, or damaged: the other files are still worth reading.
    if (codeOf(error) !== undefined) return Buffer.alloc(0);
    throw error;
  }
}

async function* readOlder(
  pieces: readonly Piece[],
  renderer: LogRenderer,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  for (const { file, from } of pieces) {
    const bytes = await readWhole(file);
    for (let start = from; start < bytes.length; ) {
      if (signal.aborted || renderer.hasPassedUntil) return;
      const limit = Math.min(start + blockBytes, bytes.length);
      const last = limit === bytes.length ? limit : bytes.lastIndexOf(newline, limit - 1) + 1;
      const end = last > start ? last : limit;
      const rendered = renderer.render(bytes.subarray(start, end));
      if (rendered.length > 0) yield rendered;
      start = end;
    }
  }
}

interface CurrentRead {
  readonly options: ReadJsonLogOptions;
  readonly renderer: LogRenderer;
  readonly file: OpenLog;
  readonly from: number;
}

async function* readCurrent(read: CurrentRead): AsyncGenerator<Uint8Array, void> {
  const { options, renderer, file } = read;
  const { signal, ended } = options;
  let state: BlockState = { position: read.from, rest: Buffer.alloc(0) };
  const waiter = options.follow === true ? new ChangeWaiter(options) : undefined;
  try {
    for (;;) {
      // Asked before reading: what was written until then is read below.
      const isLast = options.follow !== true || ended?.aborted === true;
      if (file.fd < 0) file.fd = openLog(options.path).fd;
      if (file.fd >= 0) {
        // Asked before reading as well: to a file that was moved nothing is added.
        const wasMoved = isMoved(options.path, file.fd);
        for (;;) {
          const block = readBlock(file.fd, state);
          if (block === undefined) break;
          state = block.next;
          const rendered = renderer.render(block.records);
          if (rendered.length > 0) yield rendered;
          if (signal.aborted || renderer.hasPassedUntil) return;
        }
        if (wasMoved && moveOn(options, file)) {
          state = { position: 0, rest: Buffer.alloc(0) };
          continue;
        }
        if (!wasMoved && isMoved(options.path, file.fd)) continue;
      }
      if (isLast || signal.aborted) return;
      await waiter?.wait();
    }
  } finally {
    waiter?.close();
  }
}

interface BlockState {
  readonly position: number;
  /** An unfinished record. */
  readonly rest: Buffer;
}

/** Reads on to the end of the last whole record; undefined when there is none. */
function readBlock(
  fd: number,
  state: BlockState,
): { readonly records: Buffer; readonly next: BlockState } | undefined {
  const fresh = Buffer.allocUnsafe(blockBytes);
  const length = readSync(fd, fresh, 0, blockBytes, state.position);
  if (length === 0) return undefined;
  const read = fresh.subarray(0, length);
  const bytes = state.rest.length === 0 ? read : Buffer.concat([state.rest, read]);
  const end = bytes.lastIndexOf(newline) + 1;
  const isDamage = bytes.length - end > recordMaxBytes;
  const rest = isDamage ? Buffer.alloc(0) : Buffer.from(bytes.subarray(end));
  return {
    records: bytes.subarray(0, end),
    next: { position: state.position + length, rest },
  };
}

/** Whether the name of the current file is another's, or nobody's for a moment. */
function isMoved(path: string, fd: number): boolean {
  return inodeOf(path) !== fstatSync(fd).ino;
}

/** After a rotation: opens the file that came after the one that is read. @returns whether it did */
function moveOn(options: ReadJsonLogOptions, file: OpenLog): boolean {
  const newer = successorOf(options, fstatSync(file.fd).ino);
  if (newer === undefined) return false;
  const next = openLog(newer);
  if (next.fd < 0) return false;
  closeSync(file.fd);
  file.fd = next.fd;
  return true;
}

/** The file written after the one of that inode; the oldest when that is gone. */
function successorOf(options: ReadJsonLogOptions, own: number): string | undefined {
  const paths = [options.path];
  for (let index = 1; index < options.countMax; index += 1) paths.push(`${options.path}.${index}`);
  const inodes = paths.map(inodeOf);
  const index = inodes.indexOf(own);
  if (index > 0) return paths[index - 1];
  const oldest = inodes.findLastIndex((inode) => inode !== undefined);
  return paths[oldest];
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Waits for the log to change, for the container's end, for the reader's end. */
class ChangeWaiter {
  readonly #options: ReadJsonLogOptions;
  readonly #watcher: { close(): void } | undefined;
  #wake: () => void = () => undefined;
  #hasChanged = false;
  readonly #onChange = (): void => {
    this.#hasChanged = true;
    this.#wake();
  };

  constructor(options: ReadJsonLogOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", this.#onChange);
    options.ended?.addEventListener("abort", this.#onChange);
    this.#watcher = watchFolder(dirname(options.path), this.#onChange);
  }

  async wait(): Promise<void> {
    if (!this.#hasChanged) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, lookIntervalMs);
      await promise;
      clearTimeout(timer);
    }
    this.#hasChanged = false;
  }

  close(): void {
    this.#watcher?.close();
    this.#options.signal.removeEventListener("abort", this.#onChange);
    this.#options.ended?.removeEventListener("abort", this.#onChange);
  }
}

/** undefined when the system has no watch left: the look now and then has to do. */
function watchFolder(path: string, onChange: () => void): { close(): void } | undefined {
  try {
    const watcher = watch(path, onChange);
    watcher.on("error", () => watcher.close());
    return watcher;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}
