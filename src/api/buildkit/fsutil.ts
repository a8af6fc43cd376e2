/**
 * How a folder travels: first a stat of every file, in order, then the content of what was asked for.
 *
 * 1. The sender sends `stat` packets, a folder before what is in it, names of a folder in the order of
 *    their bytes; one without a stat ends them. The number of a file is its place among them.
 * 2. The receiver sends `request` with the number of a regular file whose content it lacks; the sender
 *    answers with `data` packets of that number, an empty one ends the file.
 * 3. The receiver sends `finish` when it has all; the sender answers with `finish`.
 *
 * Names and link targets are bytes: here they are text with one character a byte (latin1).
 *
 * @see github.com/tonistiigi/fsutil, types/stat.proto and types/wire.proto
 */
import {
  bigintField,
  bytesField,
  bytesMapField,
  type Field,
  intField,
  message,
  messageField,
  type MessageType,
} from "../../lib/protobuf.ts";

/** One file. */
export interface FileStat {
  /** Without a slash at either end; one character a byte. */
  readonly path: string;
  /** In the bits of Go's os.FileMode: see `goMode`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly modTime: bigint;
  /** Target of a symbolic link; of a regular file: the path that it is another name of. */
  readonly linkname: string;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** Table of `FileStat`. */
export const fileStatType: MessageType<FileStat> = message<FileStat>({
  path: byteTextField(1),
  mode: intField(2),
  uid: intField(3),
  gid: intField(4),
  size: intField(5),
  modTime: bigintField(6),
  linkname: byteTextField(7),
  devMajor: intField(8),
  devMinor: intField(9),
  xattrs: bytesMapField(10),
});

/** What a packet is. */
export const packetType = {
  stat: 0,
  request: 1,
  data: 2,
  finish: 3,
  error: 4,
} as const;

/** One packet, either way. */
export interface Packet {
  readonly type: number;
  readonly stat: FileStat | undefined;
  readonly id: number;
  readonly data: Uint8Array;
}

/** Table of `Packet`. */
export const packetMessage: MessageType<Packet> = message<Packet>({
  type: intField(1),
  stat: messageField(2, () => fileStatType),
  id: intField(3),
  data: bytesField(4),
});

/** Bits of Go's os.FileMode; the nine lowest are the permissions. */
export const goMode = {
  directory: 0x8000_0000,
  symbolicLink: 0x0800_0000,
  device: 0x0400_0000,
  namedPipe: 0x0200_0000,
  socket: 0x0100_0000,
  setUid: 0x0080_0000,
  setGid: 0x0040_0000,
  charDevice: 0x0020_0000,
  sticky: 0x0010_0000,
  irregular: 0x0008_0000,
} as const;

const goTypeBits =
  goMode.directory |
  goMode.symbolicLink |
  goMode.device |
  goMode.namedPipe |
  goMode.socket |
  goMode.charDevice |
  goMode.irregular;

/** What sort of file a mode tells. */
export type FileKind = "file" | "directory" | "symlink" | "fifo" | "char" | "block" | "other";

/** The sort of file in a mode of Go's. */
export function kindOfGoMode(mode: number): FileKind {
  const has = (bit: number): boolean => (mode & bit) !== 0;
  if ((mode & goTypeBits) === 0) return "file";
  if (has(goMode.directory)) return "directory";
  if (has(goMode.symbolicLink)) return "symlink";
  if (has(goMode.namedPipe)) return "fifo";
  if (has(goMode.device)) return has(goMode.charDevice) ? "char" : "block";
  return "other";
}

/** Permission bits with set-user, set-group and sticky, as the kernel has them. */
export function permissionsOfGoMode(mode: number): number {
  return (
    (mode & 0o777) |
    ((mode & goMode.setUid) === 0 ? 0 : 0o4000) |
    ((mode & goMode.setGid) === 0 ? 0 : 0o2000) |
    ((mode & goMode.sticky) === 0 ? 0 : 0o1000)
  );
}

const kernelTypes: ReadonlyMap<number, number> = new Map([
  [0o040000, goMode.directory],
  [0o120000, goMode.symbolicLink],
  [0o010000, goMode.namedPipe],
  [0o140000, goMode.socket],
  [0o020000, goMode.device | goMode.charDevice],
  [0o060000, goMode.device],
]);

/** A mode of the kernel's (`st_mode`) in Go's bits. */
export function goModeOf(mode: number): number {
  const type = kernelTypes.get(mode & 0o170000) ?? 0;
  const special =
    ((mode & 0o4000) === 0 ? 0 : goMode.setUid) |
    ((mode & 0o2000) === 0 ? 0 : goMode.setGid) |
    ((mode & 0o1000) === 0 ? 0 : goMode.sticky);
  return ((mode & 0o777) | special | type) >>> 0;
}

/**
 * Compares two paths in the order in which a folder travels: by their parts, each by its bytes.
 *
 * @returns negative when `left` comes first, 0 when they are the same
 */
export function comparePaths(left: string, right: string): number {
  const shared = Math.min(left.length, right.length);
  for (let at = 0; at < shared; at += 1) {
    const [one, other] = [left.charCodeAt(at), right.charCodeAt(at)];
    if (one === other) continue;
    // The end of a part comes before every character that could go on.
    if (one === slash) return -1;
    return other === slash ? 1 : one - other;
  }
  return left.length - right.length;
}

const slash = 0x2f;

/** A `string` whose bytes may be no UTF-8, as text with one character a byte. */
function byteTextField(number: number): Field<string> {
  const bytes = bytesField(number);
  return {
    number,
    zero: () => "",
    read: (reader, _value, wire) =>
      Buffer.from(bytes.read(reader, bytes.zero(), wire)).toString("latin1"),
    write: (writer, value) => bytes.write(writer, Buffer.from(value, "latin1")),
  };
}
