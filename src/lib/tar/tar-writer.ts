import { EngineError } from "../errors.ts";
import {
  type ByteString,
  tarBlockBytes,
  type TarEntryType,
  type TarHeader,
  tarPaddingBytes,
} from "./tar-header.ts";

/** What an entry to be written says; the rest is 0, "" or empty. */
export type TarHeaderInput = Pick<TarHeader, "name"> &
  Partial<Omit<TarHeader, "typeFlag" | "paxRecords">> & {
    /** Further PAX records; keys that the header itself needs are overwritten. */
    readonly paxRecords?: ReadonlyMap<string, ByteString>;
  };

/** An entry with all of its content, for small archives. */
export interface SmallTarEntry {
  readonly header: TarHeaderInput;
  readonly content?: Uint8Array | string;
}

const typeFlags: Readonly<Record<Exclude<TarEntryType, "other">, string>> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};
const secondNs = 1_000_000_000n;
const octal8Max = 0o7777777;
const octal12Max = 0o77777777777;
const nameBytes = 100;
const prefixBytes = 155;

/**
 * Encodes the header of one entry: ustar, preceded by a PAX header for what ustar cannot hold.
 *
 * The same input gives the same bytes. `sizeBytes` bytes of content and `encodeTarPadding` follow.
 *
 * @throws invalid-argument for a type that cannot be written, or NUL in a name
 */
export function encodeTarHeader(header: TarHeaderInput): Uint8Array {
  const type = header.type ?? "file";
  if (type === "other") {
    throw new EngineError("invalid-argument", `encode tar entry ${header.name}: unknown type`);
  }
  if (`${header.name}${header.linkName ?? ""}`.includes("\0")) {
    throw new EngineError("invalid-argument", "encode tar entry: the name holds a NUL byte");
  }
  const records = new Map<string, Buffer>();
  for (const [key, value] of header.paxRecords ?? []) records.set(key, latin1(value));
  const block = encodeUstar(header, { typeFlag: typeFlags[type], records });
  if (records.size === 0) return block;
  const pax = encodePax(records);
  const paxHeader = encodeUstar(
    { name: paxName(header.name), mode: 0o644, sizeBytes: pax.length },
    { typeFlag: "x", records: new Map() },
  );
  return Buffer.concat([paxHeader, pax, Buffer.alloc(tarPaddingBytes(pax.length)), block]);
}

/** The zeros that follow content of the given size. */
export function encodeTarPadding(sizeBytes: number): Uint8Array {
  return new Uint8Array(tarPaddingBytes(sizeBytes));
}

/** The two zero blocks that end an archive. */
export function encodeTarEnd(): Uint8Array {
  return new Uint8Array(2 * tarBlockBytes);
}

/** Encodes a whole small archive; sizes are those of the contents. */
export function encodeTar(entries: Iterable<SmallTarEntry>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { header, content } of entries) {
    const bytes =
      typeof content === "string" ? Buffer.from(content) : (content ?? new Uint8Array());
    parts.push(encodeTarHeader({ ...header, sizeBytes: bytes.length }));
    parts.push(bytes, encodeTarPadding(bytes.length));
  }
  parts.push(encodeTarEnd());
  return Buffer.concat(parts);
}

interface UstarOptions {
  readonly typeFlag: string;
  /** Gets a record for each value that does not fit. */
  readonly records: Map<string, Buffer>;
}

function encodeUstar(header: Partial<TarHeaderInput>, options: UstarOptions): Buffer {
  const { records } = options;
  const block = Buffer.alloc(tarBlockBytes);
  const number = (at: number, value: number, field: { key: string; size: 8 | 12 }): void => {
    const isFitting = value >= 0 && value <= (field.size === 8 ? octal8Max : octal12Max);
    if (!isFitting) records.set(field.key, latin1(String(value)));
    const text = (isFitting ? value : 0).toString(8).padStart(field.size - 1, "0");
    block.write(text, at, "latin1");
  };
  const text = (at: number, value: string, field: { key: string; size: number }): void => {
    if (value.length > field.size || !isAscii(value)) records.set(field.key, latin1(value));
    block.write(value.replace(/[^\x20-\x7e]/g, "_").slice(0, field.size), at, "latin1");
  };
  writeName(block, header.name ?? "", records);
  number(100, (header.mode ?? 0o644) & 0o7777, { key: "mode", size: 8 });
  number(108, header.uid ?? 0, { key: "uid", size: 8 });
  number(116, header.gid ?? 0, { key: "gid", size: 8 });
  number(124, header.sizeBytes ?? 0, { key: "size", size: 12 });
  const { seconds, record } = splitTime(header.mtimeNs ?? 0n);
  if (record !== undefined) records.set("mtime", latin1(record));
  number(136, seconds, { key: "mtime", size: 12 });
  block.write(options.typeFlag, 156, "latin1");
  text(157, header.linkName ?? "", { key: "linkpath", size: nameBytes });
  block.write("ustar\x0000", 257, "latin1");
  text(265, header.userName ?? "", { key: "uname", size: 32 });
  text(297, header.groupName ?? "", { key: "gname", size: 32 });
  number(329, header.devMajor ?? 0, { key: "SCHILY.devmajor", size: 8 });
  number(337, header.devMinor ?? 0, { key: "SCHILY.devminor", size: 8 });
  for (const [name, value] of header.xattrs ?? []) {
    records.set(`SCHILY.xattr.${name}`, Buffer.from(value));
  }
  block.fill(0x20, 148, 156);
  let sum = 0;
  // By index, which is many times faster than an iterator: the cost of a header is this sum.
  for (let at = 0; at < tarBlockBytes; at += 1) sum += block[at] ?? 0;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function writeName(block: Buffer, name: string, records: Map<string, Buffer>): void {
  if (isAscii(name) && name.length <= nameBytes) {
    block.write(name, 0, "latin1");
    return;
  }
  const cut = isAscii(name) ? splitPoint(name) : undefined;
  if (cut !== undefined) {
    block.write(name.slice(cut + 1), 0, "latin1");
    block.write(name.slice(0, cut), 345, "latin1");
    return;
  }
  records.set("path", latin1(name));
  block.write(name.replace(/[^\x20-\x7e]/g, "_").slice(0, nameBytes), 0, "latin1");
}

/** Where a long name parts into prefix and name; undefined when it does not. */
function splitPoint(name: string): number | undefined {
  const end = name.endsWith("/") ? name.length - 1 : name.length;
  const cut = name.lastIndexOf("/", Math.min(prefixBytes, end - 1));
  return cut > 0 && name.length - cut - 1 <= nameBytes ? cut : undefined;
}

function splitTime(ns: bigint): { seconds: number; record: string | undefined } {
  const magnitude = ns < 0n ? -ns : ns;
  const fraction = magnitude % secondNs;
  const seconds = Number(magnitude / secondNs);
  if (fraction === 0n && ns >= 0n) return { seconds, record: undefined };
  const digits = fraction.toString().padStart(9, "0").replace(/0+$/, "");
  const text = digits === "" ? `${seconds}` : `${seconds}.${digits}`;
  return ns < 0n ? { seconds: 0, record: `-${text}` } : { seconds, record: text };
}

function encodePax(records: ReadonlyMap<string, Buffer>): Buffer {
  const keys = [...records.keys()].sort((a, b) => (a < b ? -1 : 1));
  return Buffer.concat(
    keys.map((key) => {
      const value = records.get(key) ?? Buffer.alloc(0);
      const body = Buffer.concat([latin1(` ${key}=`), value, latin1("\n")]);
      // The length counts its own digits.
      let length = body.length + String(body.length).length;
      if (String(length).length + body.length !== length) length += 1;
      return Buffer.concat([latin1(String(length)), body]);
    }),
  );
}

function paxName(name: string): string {
  const base = name.replace(/\/+$/, "").split("/").at(-1) ?? "";
  return `PaxHeaders.0/${base.replace(/[^\x20-\x7e]/g, "_").slice(0, nameBytes - 13)}`;
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
