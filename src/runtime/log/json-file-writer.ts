/**
 * Writes a container's log in Docker's json-file format.
 *
 * Output is taken at once and written soon after, many lines at a time. Full disks and other
 * failures cost lines, which are counted, never the container: `write` does not throw and does not
 * wait.
 */
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { codeOf } from "../../lib/errors.ts";
import { formatTimePadded, nowNs } from "../../lib/time.ts";
import { rotateLog } from "./_log-rotation.ts";
import {
  type LogStream,
  RecordBuffer,
  type RecordFrame,
  recordSizeMaxBytes,
} from "./json-records.ts";
import type { LogPlan } from "../shim-protocol.ts";

export type { LogStream } from "./json-records.ts";

/** How long output may wait to be written with what follows it. */
const flushDelayMs = 2;
/** Waiting output beyond which it is written at once. */
const waitingMaxBytes = 512 * 1024;
/** After a failure the disk is left alone for this long; what comes meanwhile is dropped. */
const failurePauseMs = 1000;
const newline = 0x0a;

/** Figures of a log. */
export interface LogState {
  readonly writtenBytes: number;
  readonly droppedBytes: number;
  readonly rotationCount: number;
}

/** What `openJsonFileWriter` needs besides the plan. */
export interface JsonFileWriterOptions {
  readonly plan: LogPlan & { readonly path: string };
  /** Told once for each stretch of trouble. */
  readonly onWarning: (message: string) => void;
  readonly now?: () => bigint;
}

/** Opens (or makes) the current file and appends to it. @throws what opening throws */
export function openJsonFileWriter(options: JsonFileWriterOptions): JsonFileWriter {
  return new JsonFileWriter(options);
}

/** The writer of one log. */
export class JsonFileWriter {
  readonly #options: JsonFileWriterOptions;
  readonly #attributes: string;
  readonly #records = new RecordBuffer();
  readonly #partial: Record<LogStream, Buffer> = {
    stdout: Buffer.alloc(0),
    stderr: Buffer.alloc(0),
  };
  #waiting: { readonly stream: LogStream; readonly timeNs: bigint; readonly chunks: Buffer[] }[] =
    [];
  #waitingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #fd: number;
  #fileBytes: number;
  #quietUntilMs = 0;
  #isFailing = false;
  #isTorn = false;
  #state = { writtenBytes: 0, droppedBytes: 0, rotationCount: 0 };

  constructor(options: JsonFileWriterOptions) {
    this.#options = options;
    const attributes = options.plan.attributes ?? {};
    this.#attributes =
      Object.keys(attributes).length === 0 ? "" : `"attrs":${JSON.stringify(attributes)},`;
    this.#fd = openLog(options.plan.path);
    this.#fileBytes = fstatSync(this.#fd).size;
    // A writer that was killed may have left half a line.
    this.#isTorn = this.#fileBytes > 0;
  }

  /** Takes output; the bytes are the writer's from now on. */
  write(stream: LogStream, chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const last = this.#waiting.at(-1);
    if (last?.stream === stream) last.chunks.push(bytes);
    else this.#waiting.push({ stream, timeNs: (this.#options.now ?? nowNs)(), chunks: [bytes] });
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= waitingMaxBytes) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), flushDelayMs);
  }

  /** Writes everything but unfinished lines. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    const isBurst = this.#waitingBytes >= waitingMaxBytes;
    this.#waitingBytes = 0;
    for (const run of waiting) {
      const frame = {
        stream: run.stream,
        time: formatTimePadded(run.timeNs),
        attributes: this.#attributes,
      };
      this.#encode(run.chunks, frame);
    }
    this.#commit();
    if (!isBurst) this.#records.shrink();
  }

  /** The figures up to now. */
  state(): LogState {
    return { ...this.#state };
  }

  /** Writes the rest, unfinished lines included, and closes the file. */
  close(): void {
    this.flush();
    const time = formatTimePadded((this.#options.now ?? nowNs)());
    for (const stream of ["stdout", "stderr"] as const) {
      const rest = this.#partial[stream];
      if (rest.length === 0) continue;
      this.#records.appendPartial(rest, { stream, time, attributes: this.#attributes });
      this.#partial[stream] = Buffer.alloc(0);
    }
    this.#commit();
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #encode(chunks: readonly Buffer[], frame: RecordFrame): void {
    const before = this.#partial[frame.stream];
    const parts = before.length === 0 ? chunks : [before, ...chunks];
    const [first = before] = parts;
    const block = parts.length === 1 ? first : Buffer.concat(parts);
    let start = 0;
    const end = block.lastIndexOf(newline) + 1;
    while (start < end) {
      const stop = endOfShortLines(block, start, end);
      if (stop > start) this.#records.appendLines(block.subarray(start, stop), frame);
      else this.#records.appendPartial(partOf(block, start), frame);
      start = stop > start ? stop : start + partOf(block, start).length;
    }
    while (block.length - start >= recordSizeMaxBytes) {
      const part = partOf(block, start);
      this.#records.appendPartial(part, frame);
      start += part.length;
    }
    // A copy: a rest of a few bytes must not keep the whole chunk.
    this.#partial[frame.stream] = Buffer.from(block.subarray(start));
  }

  #commit(): void {
    if (this.#records.length === 0) return;
    let bytes = this.#records.take();
    const sizeMaxBytes = this.#options.plan.sizeMaxBytes;
    while (bytes.length > 0) {
      const room = sizeMaxBytes === 0 ? bytes.length : sizeMaxBytes - this.#fileBytes;
      if (room <= 0) {
        this.#rotate();
        if (sizeMaxBytes - this.#fileBytes <= 0) this.#fileBytes = 0;
        continue;
      }
      // Docker: the record that crosses the limit is the last of its file, seen in 28.5.
      const cut = room >= bytes.length ? bytes.length : bytes.indexOf(newline, room - 1) + 1;
      this.#append(bytes.subarray(0, cut));
      bytes = bytes.subarray(cut);
    }
  }

  #append(bytes: Buffer): void {
    if (this.#isFailing && performance.now() < this.#quietUntilMs) {
      this.#state.droppedBytes += bytes.length;
      return;
    }
    let offset = 0;
    try {
      if (this.#fd < 0) this.#fd = openLog(this.#options.plan.path);
      // Half a record that a failure or a kill left is ended, so that only it is lost.
      if (this.#isTorn && !endsWithNewline(this.#fd, this.#fileBytes)) {
        this.#fileBytes += writeSync(this.#fd, "\n");
      }
      this.#isTorn = false;
      while (offset < bytes.length) {
        offset += writeSync(this.#fd, bytes, offset, bytes.length - offset);
      }
      this.#isFailing = false;
    } catch (error) {
      this.#isTorn = true;
      this.#fail(error, bytes.length - offset);
    }
    this.#fileBytes += offset;
    this.#state.writtenBytes += offset;
  }

  #rotate(): void {
    const { path, countMax, isCompressed } = this.#options.plan;
    try {
      if (this.#fd >= 0) closeSync(this.#fd);
      this.#fd = -1;
      rotateLog({ path, countMax, isCompressed, onWarning: this.#options.onWarning });
      this.#state.rotationCount += 1;
      this.#fd = openLog(path);
      this.#fileBytes = fstatSync(this.#fd).size;
      this.#isTorn = this.#fileBytes > 0;
    } catch (error) {
      this.#fail(error, 0);
    }
  }

  #fail(error: unknown, droppedBytes: number): void {
    this.#state.droppedBytes += droppedBytes;
    this.#quietUntilMs = performance.now() + failurePauseMs;
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#options.onWarning(`write log: ${codeOf(error) ?? String(error)}; output is dropped`);
  }
}

/** Where the lines from `start` on that fit a record each end; `start` when the first does not. */
function endOfShortLines(block: Buffer, start: number, end: number): number {
  let stop = start;
  while (stop < end) {
    if (end - stop <= recordSizeMaxBytes) return end;
    const last = block.lastIndexOf(newline, stop + recordSizeMaxBytes - 1);
    if (last < stop) return stop;
    stop = last + 1;
  }
  return stop;
}

/** One record's worth of a long line; a character of several bytes stays whole. */
function partOf(block: Buffer, start: number): Buffer {
  let end = Math.min(start + recordSizeMaxBytes, block.length);
  for (let back = 0; back < 3 && isContinuation(block[end]); back += 1) end -= 1;
  if (isContinuation(block[end])) end = Math.min(start + recordSizeMaxBytes, block.length);
  return block.subarray(start, end);
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

function openLog(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o640);
}

function endsWithNewline(fd: number, sizeBytes: number): boolean {
  if (sizeBytes === 0) return true;
  const last = Buffer.alloc(1);
  return readSync(fd, last, 0, 1, fstatSync(fd).size - 1) === 0 || last[0] === newline;
}
