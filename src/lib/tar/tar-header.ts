/** What an entry makes. `other` is skipped by everyone who does not know its type flag. */
export type TarEntryType =
  | "file"
  | "hardlink"
  | "symlink"
  | "char"
  | "block"
  | "directory"
  | "fifo"
  | "other";

/**
 * A byte string: each character is one byte of the archive (latin1).
 *
 * Names in archives are bytes, not text; `decodeByteString` makes text of one for people.
 */
export type ByteString = string;

/** One entry of an archive, with everything that extended headers said about it applied. */
export interface TarHeader {
  /** As in the archive: may be absolute, hold "..", end in "/". Never hold NUL. Hostile. */
  readonly name: ByteString;
  /** The target of a link; "" for other types. Hostile. */
  readonly linkName: ByteString;
  readonly type: TarEntryType;
  /** The type flag as published ("0", "5", …); tells the `other` types apart. */
  readonly typeFlag: string;
  /** Permission, set-user-ID, set-group-ID and sticky bits alone. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly userName: ByteString;
  readonly groupName: ByteString;
  /** Size of the content, holes of a sparse file included; 0 for types without content. */
  readonly sizeBytes: number;
  /** Nanoseconds since 1970; negative before it. */
  readonly mtimeNs: bigint;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Extended attributes by full name ("security.capability"). */
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** All other PAX records that hold for the entry. */
  readonly paxRecords: ReadonlyMap<string, ByteString>;
}

/** Makes text of a byte string; bytes that are not UTF-8 become U+FFFD. Only for people. */
export function decodeByteString(bytes: ByteString): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** Makes a byte string of text, as UTF-8. */
export function encodeByteString(text: string): ByteString {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** Size of a header, and what content is padded to. */
export const tarBlockBytes = 512;

/** Bytes that follow content of the given size up to the next block. */
export function tarPaddingBytes(sizeBytes: number): number {
  return (tarBlockBytes - (sizeBytes % tarBlockBytes)) % tarBlockBytes;
}
