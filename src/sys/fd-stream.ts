/**
 * Bytes through pipes, FIFOs and terminals without ever blocking the event loop or its pool.
 *
 * The runtime's own writers deadlock on terminals and its readers of `net` and `tty` lose data on
 * pipes; these two are what the engine uses instead. Both own their descriptor.
 */
import { closeSync } from "node:fs";
import { nextTurn } from "../lib/concurrency/turn.ts";
import { EngineError } from "../lib/errors.ts";
import { check, cstring, errno, errnoName, lazyLibc, nodeFailure, openFlags } from "./libc.ts";

const libc = lazyLibc({
  fcntl: { args: ["i32", "i32", "i64"], returns: "i32" },
  write: { args: ["i32", "ptr", "u64"], returns: "i64" },
});
const pipeLibc = lazyLibc({
  mkfifo: { args: ["ptr", "u32"], returns: "i32" },
  chmod: { args: ["ptr", "u32"], returns: "i32" },
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  pipe2: { args: ["ptr", "i32"], returns: "i32" },
});

// asm-generic/fcntl.h
const fcntlGetFdFlags = 1;
const fcntlSetFdFlags = 2;
const fcntlGetFlags = 3;
const fcntlSetFlags = 4;
const fcntlSetPipeSize = 1031;
const fdCloseOnExec = 1;
/** The most an unprivileged process may ask for, by default. */
const pipeSizeBytes = 1024 * 1024;
const highWaterDefaultBytes = 1024 * 1024;
const backoffMinMs = 1;
const backoffMaxMs = 8;

/** Whom a reader hands its bytes. Calls never overlap. */
export interface FdReaderHandlers {
  /** The chunk is the callee's: nothing else is ever written into it. */
  onData(chunk: Uint8Array): void;
  /** Once, after the last byte; not after `close`. A hung-up terminal is an end, no error. */
  onEnd(error?: EngineError): void;
}

/** A running reader. */
export interface FdReader {
  /** No `onData` until `resume`; the writer at the other end comes to wait. */
  pause(): void;
  resume(): void;
  /** Stops for good and closes the descriptor. */
  close(): void;
}

/** How long one descriptor is read without a turn for the others. */
const turnMaxMs = 5;

/** What the runtime reads of a full pipe at once. */
const readMaxBytes = 256 * 1024;
/**
 * Who has written so much goes on, as fast as it is read: a turn later there is more to be read at once,
 * which costs the reader a fifth less.
 */
const readMuchBytes = 64 * 1024;

/** Reads a pipe, FIFO, terminal master or eventfd to its end; takes the descriptor over. */
export function openFdReader(fd: number, handlers: FdReaderHandlers): FdReader {
  setNonblocking(fd);
  // Refused for what is no pipe, and beyond the user's quota: slower, not wrong.
  libc().fcntl(fd, fcntlSetPipeSize, pipeSizeBytes);
  const reader = Bun.file(fd).stream().getReader();
  let isClosed = false;
  let paused: PromiseWithResolvers<void> | undefined;
  const close = (): void => {
    if (isClosed) return;
    isClosed = true;
    paused?.resolve();
    // Both are needed: the stream reads from a duplicate.
    reader.cancel().catch(() => undefined);
    closeSync(fd);
  };
  const pump = async (): Promise<void> => {
    let turnEndMs = performance.now() + turnMaxMs;
    for (;;) {
      if (paused !== undefined) await paused.promise;
      if (isClosed) return;
      const { done, value } = await reader.read();
      // Of a pipe that is never empty each read is answered at once, and nothing else gets a turn.
      if (performance.now() > turnEndMs) {
        await nextTurn();
        turnEndMs = performance.now() + turnMaxMs;
      }
      // While a read was waiting, its reader may have been told to pause.
      while (paused !== undefined && !isClosed) await paused.promise;
      if (isClosed || done) return;
      const isMuch = value.length >= readMuchBytes && value.length < readMaxBytes;
      handlers.onData(value);
      if (isMuch) await nextTurn();
    }
  };
  const finish = (error?: EngineError): void => {
    if (isClosed) return;
    close();
    handlers.onEnd(error);
  };
  pump().then(
    () => finish(),
    (error: unknown) => finish(readFailure(error)),
  );
  return {
    pause: () => {
      if (!isClosed) paused ??= Promise.withResolvers<void>();
    },
    resume: () => {
      paused?.resolve();
      paused = undefined;
    },
    close,
  };
}

function readFailure(error: unknown): EngineError | undefined {
  const failure = nodeFailure(error, "read descriptor");
  if (!(failure instanceof EngineError)) {
    return new EngineError("internal", "read descriptor", { cause: error });
  }
  // A terminal whose last process is gone answers with an I/O error.
  return failure.details["code"] === "EIO" ? undefined : failure;
}

/** A running writer. When the other end is closed it drops what it is given. */
export interface FdWriter {
  /** Takes a copy of what does not fit at once. @returns false while over the high water mark */
  write(chunk: Uint8Array): boolean;
  /** Called each time the queue is empty again after `write` returned false. */
  onDrain(callback: () => void): void;
  /** Closes the descriptor when the queue is written. */
  end(): void;
  /** Drops the queue and closes the descriptor. */
  close(): void;
  /** True after `close`, after all of `end`, and once the other end has closed. */
  readonly isClosed: boolean;
}

/**
 * Writes to a pipe, FIFO or terminal master; takes the descriptor over.
 *
 * @param options.countMaxBytes high water mark of the queue; 1 MiB when absent
 */
export function openFdWriter(
  fd: number,
  options: { readonly countMaxBytes?: number } = {},
): FdWriter {
  setNonblocking(fd);
  libc().fcntl(fd, fcntlSetPipeSize, pipeSizeBytes);
  return new QueueWriter(fd, options.countMaxBytes ?? highWaterDefaultBytes);
}

class QueueWriter implements FdWriter {
  readonly #fd: number;
  readonly #highWaterBytes: number;
  readonly #queue: Uint8Array[] = [];
  #sizeBytes = 0;
  #isClosed = false;
  #isEnding = false;
  #wantsDrain = false;
  #backoffMs = backoffMinMs;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #onDrain: () => void = () => undefined;

  constructor(fd: number, highWaterBytes: number) {
    this.#fd = fd;
    this.#highWaterBytes = highWaterBytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  write(chunk: Uint8Array): boolean {
    if (this.#isClosed || this.#isEnding) return true;
    const written = this.#queue.length === 0 ? this.#writeNow(chunk) : 0;
    if (!this.#isClosed && written < chunk.length) {
      this.#queue.push(chunk.slice(written));
      this.#sizeBytes += chunk.length - written;
      this.#wait();
    }
    const isOver = this.#sizeBytes > this.#highWaterBytes;
    this.#wantsDrain ||= isOver;
    return !isOver;
  }

  onDrain(callback: () => void): void {
    this.#onDrain = callback;
  }

  end(): void {
    this.#isEnding = true;
    if (this.#queue.length === 0) this.close();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.#sizeBytes = 0;
    closeSync(this.#fd);
    // Whoever waits for room must not wait for ever.
    if (this.#wantsDrain) queueMicrotask(this.#onDrain);
    this.#wantsDrain = false;
  }

  /** Writes until the kernel takes no more; closes itself when nobody reads. */
  #writeNow(chunk: Uint8Array): number {
    let offset = 0;
    while (offset < chunk.length) {
      const rest = chunk.subarray(offset);
      const count = Number(libc().write(this.#fd, rest, rest.length));
      if (count >= 0) {
        offset += count;
        continue;
      }
      const code = errnoName(errno());
      if (code === "EAGAIN") return offset;
      // EPIPE, or EIO of a terminal without a process: there is nobody to write for.
      if (code !== "EINTR") this.close();
      if (this.#isClosed) return offset;
    }
    return offset;
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, this.#backoffMs);
  }

  #flush(): void {
    let isStuck = true;
    for (let chunk = this.#queue[0]; chunk !== undefined; chunk = this.#queue[0]) {
      const written = this.#writeNow(chunk);
      if (this.#isClosed) return;
      isStuck &&= written === 0;
      this.#sizeBytes -= written;
      if (written < chunk.length) {
        this.#queue[0] = chunk.subarray(written);
        this.#backoffMs = isStuck ? Math.min(this.#backoffMs * 2, backoffMaxMs) : backoffMinMs;
        this.#wait();
        return;
      }
      this.#queue.shift();
    }
    this.#backoffMs = backoffMinMs;
    if (this.#isEnding) this.close();
    else if (this.#wantsDrain) {
      this.#wantsDrain = false;
      this.#onDrain();
    }
  }
}

/** Has reads and writes of a descriptor return at once; for every duplicate of it as well. */
export function setNonblocking(fd: number): void {
  const flags = check(libc().fcntl(fd, fcntlGetFlags, 0), "read descriptor flags");
  if ((flags & openFlags.nonblock) !== 0) return;
  check(libc().fcntl(fd, fcntlSetFlags, flags | openFlags.nonblock), "set descriptor flags");
}

/** Keeps a descriptor from programs that this process executes. */
export function setCloseOnExec(fd: number): void {
  const flags = check(libc().fcntl(fd, fcntlGetFdFlags, 0), "read descriptor flags");
  check(libc().fcntl(fd, fcntlSetFdFlags, flags | fdCloseOnExec), "set descriptor flags");
}

/** Makes a FIFO; the umask does not change its mode. @throws already-exists */
export function makeFifo(path: string, mode: number): void {
  const name = cstring(path);
  check(pipeLibc().mkfifo(name, mode), `make FIFO ${JSON.stringify(path)}`);
  check(pipeLibc().chmod(name, mode), `make FIFO ${JSON.stringify(path)}`);
}

/** Opens a FIFO for both ways: never waits for the other side, never sees its end. */
export function openFifoReadWrite(path: string): number {
  const { readWrite, nonblock, closeOnExec, noFollow } = openFlags;
  const flags = readWrite | nonblock | closeOnExec | noFollow;
  return check(pipeLibc().open(cstring(path), flags, 0), `open FIFO ${JSON.stringify(path)}`);
}

/** Makes a pipe; both ends block and are closed on exec. */
export function makePipe(): { readonly read: number; readonly write: number } {
  const ends = new Int32Array(2);
  check(pipeLibc().pipe2(ends, openFlags.closeOnExec), "make pipe");
  const [read = -1, write = -1] = ends;
  return { read, write };
}

// asm-generic/fcntl.h
const fcntlDuplicate = 1030;

/** A second descriptor of the same open file, closed on exec; the caller closes it. */
export function duplicateFd(fd: number): number {
  return check(libc().fcntl(fd, fcntlDuplicate, 0), "duplicate descriptor");
}
