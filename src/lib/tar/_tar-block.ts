import type { TarEntryType } from "./tar-header.ts";

/** The fields of one 512-byte header, before extended headers are applied. */
export interface TarBlock {
  readonly name: string;
  readonly linkName: string;
  readonly typeFlag: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly userName: string;
  readonly groupName: string;
  readonly sizeBytes: number;
  readonly mtimeSeconds: number;
  readonly devMajor: number;
  readonly devMinor: number;
}

/** Where a number that does not parse is reported; throws. */
export type Refuse = (what: string) => never;

const space = 0x20;

/** Tells whether all of the 512 bytes at `at` are zero. */
export function isZeroBlock(bytes: Buffer, at: number): boolean {
  if (bytes[at] !== 0) return false;
  for (let index = at; index < at + 512; index += 1) if (bytes[index] !== 0) return false;
  return true;
}

/** Decodes the header at `at`: V7, ustar, GNU or star. */
export function decodeBlock(bytes: Buffer, at: number, refuse: Refuse): TarBlock {
  checkSum(bytes, at, refuse);
  const text = (offset: number, size: number): string => cString(bytes, at + offset, size);
  const number = (offset: number, size: number, what: string): number =>
    decodeNumber(bytes, { at: at + offset, size, what, refuse });
  const format = formatOf(bytes, at);
  const isExtended = format !== "v7";
  const prefix = format === "ustar" ? text(345, 155) : format === "star" ? text(345, 131) : "";
  const name = text(0, 100);
  const typeFlag = String.fromCharCode(bytes[at + 156] || 0x30);
  const isDevice = typeFlag === "3" || typeFlag === "4";
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkName: text(157, 100),
    typeFlag,
    mode: number(100, 8, "mode") & 0o7777,
    uid: number(108, 8, "uid"),
    gid: number(116, 8, "gid"),
    userName: isExtended ? text(265, 32) : "",
    groupName: isExtended ? text(297, 32) : "",
    sizeBytes: number(124, 12, "size"),
    mtimeSeconds: number(136, 12, "mtime"),
    devMajor: isExtended && isDevice ? number(329, 8, "device number") : 0,
    devMinor: isExtended && isDevice ? number(337, 8, "device number") : 0,
  };
}

/** What a type flag makes. V7 marks a directory by the end of its name alone. */
export function entryType(typeFlag: string, name: string): TarEntryType {
  switch (typeFlag) {
    case "0":
      return name.endsWith("/") ? "directory" : "file";
    case "7":
    case "S":
      return "file";
    case "1":
      return "hardlink";
    case "2":
      return "symlink";
    case "3":
      return "char";
    case "4":
      return "block";
    case "5":
      return "directory";
    case "6":
      return "fifo";
    default:
      return "other";
  }
}

/** A field of a header that holds a number. */
export interface NumberField {
  readonly at: number;
  readonly size: number;
  readonly what: string;
  readonly refuse: Refuse;
}

/** Decodes a number: octal digits, or GNU's base 256 when the highest bit is set. */
export function decodeNumber(bytes: Buffer, field: NumberField): number {
  const first = bytes[field.at] ?? 0;
  if ((first & 0x80) !== 0) return decodeBase256(bytes, field);
  let index = field.at;
  let end = field.at + field.size;
  while (index < end && (bytes[index] === space || bytes[index] === 0)) index += 1;
  while (end > index && (bytes[end - 1] === space || bytes[end - 1] === 0)) end -= 1;
  let value = 0;
  for (; index < end; index += 1) {
    const digit = (bytes[index] ?? 0) - 0x30;
    // Bytes behind a NUL or a space are another writer's rubbish.
    if (digit === -0x30 || digit === space - 0x30) break;
    if (digit < 0 || digit > 7) return field.refuse(`the ${field.what} is not octal`);
    value = value * 8 + digit;
  }
  return value;
}

function decodeBase256(bytes: Buffer, field: NumberField): number {
  const isNegative = ((bytes[field.at] ?? 0) & 0x40) !== 0;
  let value = isNegative ? -1n : 0n;
  for (let index = 0; index < field.size; index += 1) {
    const byte = bytes[field.at + index] ?? 0;
    if (index > 0) value = (value << 8n) | BigInt(byte);
    else value = (value << 6n) | BigInt(byte & 0x3f);
  }
  const number = Number(value);
  if (!Number.isSafeInteger(number)) return field.refuse(`the ${field.what} is out of range`);
  return number;
}

function cString(bytes: Buffer, at: number, size: number): string {
  let end = at;
  while (end < at + size && bytes[end] !== 0) end += 1;
  return bytes.toString("latin1", at, end);
}

function formatOf(bytes: Buffer, at: number): "v7" | "ustar" | "gnu" | "star" {
  const magic = bytes.toString("latin1", at + 257, at + 265);
  if (magic === "ustar  \0") return "gnu";
  if (!magic.startsWith("ustar\0")) return "v7";
  return bytes.toString("latin1", at + 508, at + 512) === "tar\0" ? "star" : "ustar";
}

function checkSum(bytes: Buffer, at: number, refuse: Refuse): void {
  // The checksum field itself counts as eight spaces.
  let sum = 8 * space;
  for (let index = at; index < at + 148; index += 1) sum += bytes[index] ?? 0;
  for (let index = at + 156; index < at + 512; index += 1) sum += bytes[index] ?? 0;
  const wanted = decodeNumber(bytes, { at: at + 148, size: 8, what: "checksum", refuse });
  if (sum === wanted) return;
  // Old writers summed signed bytes.
  let high = 0;
  for (let index = at; index < at + 512; index += 1) {
    const isSum = index >= at + 148 && index < at + 156;
    if (!isSum && (bytes[index] ?? 0) > 127) high += 256;
  }
  if (sum - high !== wanted) refuse("the header has a wrong checksum");
}
