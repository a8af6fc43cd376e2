import { check, cstring, currentFolderFd, lazyLibc } from "../libc.ts";

const libc = lazyLibc({
  mknod: { args: ["ptr", "u32", "u64"], returns: "i32" },
  lchown: { args: ["ptr", "u32", "u32"], returns: "i32" },
  utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
});

const atSymlinkNoFollow = 0x100;
const nanosecondsPerSecond = 1_000_000_000n;

/**
 * Makes a device, FIFO or socket node.
 *
 * @param node.mode type and permission bits (`S_IFCHR | 0o666`); the umask applies
 * @param node.device `makedev(major, minor)`; 0 is overlay's whiteout
 */
export function makeNode(path: string | Uint8Array, mode: number, device: number | bigint): void {
  check(libc().mknod(cstring(path), mode, device), `make node ${quoted(path)}`);
}

/** The device number of a major and a minor, as glibc's `makedev`. */
export function deviceNumber(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xfffff000n) << 32n) |
    ((high & 0xfffn) << 8n) |
    ((low & 0xffffff00n) << 12n) |
    (low & 0xffn)
  );
}

/** Gives a file to a user and a group; a symbolic link itself, not its target. */
export function changeOwner(path: string | Uint8Array, uid: number, gid: number): void {
  check(libc().lchown(cstring(path), uid, gid), `change owner of ${quoted(path)}`);
}

/** Nanoseconds since 1970, before it when negative. */
export interface FileTimes {
  readonly atime: bigint;
  readonly mtime: bigint;
}

/** Sets both times to the nanosecond; with `noFollow` those of a symbolic link itself. */
export function setTimes(path: string | Uint8Array, times: FileTimes, noFollow = true): void {
  const spec = new BigInt64Array(4);
  [times.atime, times.mtime].forEach((time, index) => {
    // Nanoseconds are counted forward from the second below, also before 1970.
    const nanoseconds =
      ((time % nanosecondsPerSecond) + nanosecondsPerSecond) % nanosecondsPerSecond;
    spec[index * 2] = (time - nanoseconds) / nanosecondsPerSecond;
    spec[index * 2 + 1] = nanoseconds;
  });
  const flags = noFollow ? atSymlinkNoFollow : 0;
  check(
    libc().utimensat(currentFolderFd, cstring(path), spec, flags),
    `set times of ${quoted(path)}`,
  );
}

/** A path for an error sentence. */
export function quoted(path: string | Uint8Array): string {
  return JSON.stringify(typeof path === "string" ? path : Buffer.from(path).toString());
}
