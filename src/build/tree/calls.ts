/** What builds ask of the kernel beside `snapshot/tree/tree-syscalls.ts`, and what its refusals mean. */
import { EngineError } from "../../lib/errors.ts";
import { type CallResult, result, resultCode } from "../../snapshot/tree/tree-syscalls.ts";
import { lazyLibc, systemFailure } from "../../sys/libc.ts";

const libc = lazyLibc({
  ioctl: { args: ["i32", "u64", "i64"], returns: "i32" },
  copy_file_range: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: "i64" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
});

/** `FICLONE`, linux/fs.h */
const ioctlClone = 0x40049409;
const seekData = 3;
const seekHole = 4;

const offsets = [new BigInt64Array(1), new BigInt64Array(1)] as const;

/** Errors that names, links and kinds of files bring about: those of whoever made the files. */
const nameErrors: ReadonlySet<string> = new Set([
  "EISDIR",
  "ELOOP",
  "EMLINK",
  "ENAMETOOLONG",
  "ENOTDIR",
  "ENOTEMPTY",
  "EXDEV",
]);

/** Passes a result on. @throws the failure of the call when it is negative */
export function must(value: CallResult, what: string): number {
  if (value >= 0) return value;
  const failure = systemFailure(-value, what);
  if (!nameErrors.has(resultCode(value))) throw failure;
  const { message, details } = failure;
  throw new EngineError("invalid-argument", message, { cause: failure, details });
}

/** Has two files share their blocks; false where the file system cannot. */
export function cloneFile(from: number, to: number): boolean {
  return libc().ioctl(to, ioctlClone, from) === 0;
}

/** Copies bytes inside the kernel; both offsets are `offset`. */
export function copyRange(
  files: { readonly from: number; readonly to: number },
  range: { readonly offset: number; readonly sizeBytes: number },
): CallResult {
  const [from, to] = offsets;
  from[0] = BigInt(range.offset);
  to[0] = BigInt(range.offset);
  return result(libc().copy_file_range(files.from, from, files.to, to, range.sizeBytes, 0));
}

/** Where the next data begins, or the next hole; -ENXIO behind the last. */
export function seek(fd: number, offset: number, to: "data" | "hole"): CallResult {
  return result(libc().lseek(fd, offset, to === "data" ? seekData : seekHole));
}
