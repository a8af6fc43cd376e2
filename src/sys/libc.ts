/**
 * The C library through bun:ffi: the one way from the engine to system calls that Bun lacks.
 *
 * Each file of this folder declares the functions it needs with `lazyLibc`; nothing is loaded
 * before the first call, so importing a file costs nothing. Struct layouts and numbers written
 * here hold on amd64 and arm64 alike; where the two differ the constant says so.
 */
import { dlopen, type FFIFunction, type Library, ptr, read } from "bun:ffi";
import { EngineError, type ErrorKind } from "../lib/errors.ts";

const library = "libc.so.6";

/** `AT_FDCWD`: paths are taken from the current folder. */
export const currentFolderFd = -100;

/** Open flags; some have other numbers on arm64 (asm/fcntl.h). */
export const openFlags: Readonly<
  Record<
    | "readOnly"
    | "writeOnly"
    | "readWrite"
    | "create"
    | "exclusive"
    | "noControllingTty"
    | "truncate"
    | "append"
    | "nonblock"
    | "directory"
    | "noFollow"
    | "closeOnExec"
    | "path",
    number
  >
> = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  create: 0o100,
  exclusive: 0o200,
  noControllingTty: 0o400,
  truncate: 0o1000,
  append: 0o2000,
  nonblock: 0o4000,
  directory: process.arch === "arm64" ? 0o40000 : 0o200000,
  noFollow: process.arch === "arm64" ? 0o100000 : 0o400000,
  closeOnExec: 0o2000000,
  path: 0o10000000,
};

/** System call numbers the C library of older systems has no function for; equal on both machines. */
export const systemCall = {
  pidfdSendSignal: 424,
  openTree: 428,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfdOpen: 434,
  openat2: 437,
  pidfdGetfd: 438,
  mountSetattr: 442,
} as const;

/** Declares C functions that are bound at the first call of the result. */
export function lazyLibc<const T extends Record<string, FFIFunction>>(
  symbols: T,
): () => Library<T>["symbols"] {
  let bound: Library<T>["symbols"] | undefined;
  return () => {
    bound ??= dlopen(library, symbols).symbols;
    return bound;
  };
}

const errorFunctions = lazyLibc({
  __errno_location: { args: [], returns: "ptr" },
  strerror: { args: ["i32"], returns: "cstring" },
});

let errnoAddress: ReturnType<ReturnType<typeof errorFunctions>["__errno_location"]> | undefined;

/** The error number of the last C call of this thread; ask at once, before any other call. */
export function errno(): number {
  errnoAddress ??= errorFunctions().__errno_location();
  return errnoAddress === null ? 0 : read.i32(errnoAddress, 0);
}

/**
 * Names of error numbers, from 1 on (asm-generic/errno.h, also where other numbers name the same);
 * `-` is none. Not from node:os: every process would load that module for its first failure.
 */
const errnoTable =
  "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT " +
  "ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG " +
  "ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY " +
  "ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE " +
  "EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG " +
  "EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ " +
  "EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS " +
  "ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT " +
  "EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH " +
  "ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS " +
  "ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM " +
  "ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED " +
  "EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL -";
let errnoNames: readonly string[] | undefined;

/** The name of an error number (`2` → `ENOENT`); `E<number>` for one without. */
export function errnoName(number: number): string {
  errnoNames ??= errnoTable.split(" ");
  const name = errnoNames[number - 1] ?? "-";
  return name === "-" ? `E${number}` : name;
}

/** A failed system call; the cause of the EngineErrors of this folder. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly code: string;
  readonly errno: number;

  constructor(number: number) {
    super(String(errorFunctions().strerror(number)));
    this.errno = number;
    this.code = errnoName(number);
  }
}

/**
 * Turns an error number into the failure to throw: kind by number, `details: {code, errno}`.
 *
 * @param what what was attempted, without the reason
 */
export function systemFailure(number: number, what: string): EngineError {
  const cause = new SystemError(number);
  return new EngineError(kindOfCode(cause.code), `${what}: ${cause.message}`, {
    cause,
    details: { code: cause.code, errno: number },
  });
}

/**
 * Passes the result of a C call on as a number.
 *
 * @throws the failure of `errno` (see `systemFailure`) when the result is negative
 */
export function check(result: number | bigint, what: string): number {
  const value = Number(result);
  if (value >= 0) return value;
  throw systemFailure(errno(), what);
}

/** Runs file work of node:fs; its errors leave as EngineErrors with `details.code`. */
export function translated<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw nodeFailure(error, what);
  }
}

/** The EngineError for an error of node:fs or Bun; other things thrown come back as they are. */
export function nodeFailure(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") {
    return error;
  }
  const number =
    "errno" in error && typeof error.errno === "number" ? Math.abs(error.errno) : undefined;
  const reason = number === undefined ? error.message : new SystemError(number).message;
  return new EngineError(kindOfCode(error.code), `${what}: ${reason}`, {
    cause: error,
    details: { code: error.code, errno: number },
  });
}

/** The `details.code` of an EngineError of this folder (`ENOENT`, …). */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof EngineError)) return undefined;
  const code = error.details["code"];
  return typeof code === "string" ? code : undefined;
}

/**
 * The path or name as a C string.
 *
 * @throws invalid-argument when it has a NUL byte inside
 */
export function cstring(text: string | Uint8Array): Uint8Array {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  if (bytes.includes(0)) {
    throw new EngineError("invalid-argument", `path ${JSON.stringify(String(text))}: NUL byte`);
  }
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  return terminated;
}

/** The address of a buffer, to put into a struct. The caller keeps the buffer with `keepAlive`. */
export function addressOf(bytes: Uint8Array): bigint {
  return BigInt(ptr(bytes));
}

let kept: readonly unknown[] = [];

/** Holds buffers whose address the kernel was given; called after the call that used them. */
export function keepAlive(...buffers: readonly unknown[]): void {
  kept = buffers;
  if (kept.length > 0) kept = [];
}

function kindOfCode(code: string): ErrorKind {
  switch (code) {
    case "ENOENT":
      return "not-found";
    case "EEXIST":
      return "already-exists";
    case "EACCES":
    case "EPERM":
      return "permission-denied";
    case "ENOSPC":
    case "EDQUOT":
      return "unavailable";
    case "EADDRINUSE":
      return "conflict";
    default:
      return "internal";
  }
}
