/** Pseudo-terminals: from the runtime's console socket or our own, their size and mode. */
import { closeSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import {
  addressOf,
  check,
  cstring,
  errno,
  errnoName,
  keepAlive,
  lazyLibc,
  openFlags,
} from "./libc.ts";
import { listenUnixSocket } from "./net/socket.ts";

const libc = lazyLibc({
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: "i64" },
});
const terminalLibc = lazyLibc({
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  tcgetattr: { args: ["i32", "ptr"], returns: "i32" },
  tcsetattr: { args: ["i32", "i32", "ptr"], returns: "i32" },
  cfmakeraw: { args: ["ptr"], returns: "void" },
});
const openLibc = lazyLibc({
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "i64"], returns: "i32" },
});

// asm-generic/ioctls.h
const tiocGetWindowSize = 0x5413;
const tiocSetWindowSize = 0x5414;
const tiocSetPtyLock = 0x40045431;
const tiocGetPtyPeer = 0x5441;
const tcsaDrain = 1;
/** More than any `struct termios`. */
const termiosSizeBytes = 128;
const socketCloseOnExec = 0o2000000;
const messageCloseOnExec = 0x40000000;
const messageDontWait = 0x40;
const solSocket = 1;
const scmRights = 1;

/** Where the OCI runtime sends the master of a container's terminal. */
export interface ConsoleListener {
  /**
   * Takes the master, which the caller closes. To be called when the runtime has ended well: it
   * has sent the descriptor by then.
   *
   * @throws unavailable when nothing was sent
   */
  accept(): { readonly master: number };
  /** Closes the socket; its file stays. */
  close(): void;
}

/** Listens at `path` (108 bytes at most) for `--console-socket` of the runtime. */
export function listenConsole(path: string): ConsoleListener {
  const listener = listenUnixSocket(path, { mode: 0o600 });
  let isOpen = true;
  return {
    accept() {
      const fd = libc().accept4(listener, null, null, socketCloseOnExec);
      if (fd < 0 && errnoName(errno()) === "EAGAIN") throw nothingSent();
      const connection = check(fd, "accept console connection");
      try {
        return { master: receiveFd(connection) };
      } finally {
        closeSync(connection);
      }
    },
    close() {
      if (isOpen) closeSync(listener);
      isOpen = false;
    },
  };
}

function nothingSent(): EngineError {
  return new EngineError("unavailable", "accept console: the runtime sent no terminal");
}

/** One SCM_RIGHTS message; the structs are those of a 64-bit Linux. */
function receiveFd(connection: number): number {
  const data = Buffer.alloc(4096);
  const control = Buffer.alloc(64);
  const vector = Buffer.alloc(16);
  const header = Buffer.alloc(56);
  vector.writeBigUInt64LE(addressOf(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  header.writeBigUInt64LE(addressOf(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(addressOf(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  const result = libc().recvmsg(connection, header, messageCloseOnExec | messageDontWait);
  const code = Number(result) < 0 ? errnoName(errno()) : "";
  keepAlive(data, control, vector, header);
  if (code === "EAGAIN") throw nothingSent();
  check(result, "receive console");
  const length = Number(control.readBigUInt64LE(0));
  const isRights = control.readInt32LE(8) === solSocket && control.readInt32LE(12) === scmRights;
  if (length < 20 || !isRights) throw nothingSent();
  return control.readInt32LE(16);
}

/** Makes a pseudo-terminal; both ends are the caller's to close. */
export function openPty(): { readonly master: number; readonly slave: number } {
  const flags = openFlags.readWrite | openFlags.noControllingTty | openFlags.closeOnExec;
  const master = check(openLibc().open(cstring("/dev/ptmx"), flags, 0), "open terminal");
  try {
    check(terminalLibc().ioctl(master, tiocSetPtyLock, new Int32Array(1)), "unlock terminal");
    const slave = openLibc().ioctl(master, tiocGetPtyPeer, flags);
    return { master, slave: check(slave, "open terminal") };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** Characters of a terminal. */
export interface WindowSize {
  readonly rows: number;
  readonly cols: number;
}

/** Sets the size of a terminal; the processes in its foreground get SIGWINCH when it changed. */
export function setWindowSize(fd: number, size: WindowSize): void {
  const words = new Uint16Array([size.rows, size.cols, 0, 0]);
  check(terminalLibc().ioctl(fd, tiocSetWindowSize, words), "set terminal size");
}

/** The size of a terminal. */
export function getWindowSize(fd: number): WindowSize {
  const words = new Uint16Array(4);
  check(terminalLibc().ioctl(fd, tiocGetWindowSize, words), "read terminal size");
  return { rows: words[0] ?? 0, cols: words[1] ?? 0 };
}

/**
 * Has a terminal pass every byte as it is.
 *
 * @returns puts the former mode back; may be called more than once
 * @throws an error with code ENOTTY when it is no terminal
 */
export function makeRaw(fd: number): () => void {
  const before = new Uint8Array(termiosSizeBytes);
  check(terminalLibc().tcgetattr(fd, before), "read terminal mode");
  const raw = before.slice();
  terminalLibc().cfmakeraw(raw);
  check(terminalLibc().tcsetattr(fd, tcsaDrain, raw), "set terminal mode");
  return () => {
    check(terminalLibc().tcsetattr(fd, tcsaDrain, before), "restore terminal mode");
  };
}
