import type { Refuse } from "./_tar-block.ts";

/** One PAX record; its value stays bytes, since extended attributes are binary. */
export interface PaxRecord {
  readonly key: string;
  readonly value: Buffer;
}

const schilyXattr = "SCHILY.xattr.";
const libarchiveXattr = "LIBARCHIVE.xattr.";
const nanoDigits = 9;

/**
 * Decodes the content of a PAX header: records of "length key=value\n".
 *
 * @see POSIX.1-2017, pax, "pax Extended Header"
 */
export function decodePax(content: Buffer, refuse: Refuse): PaxRecord[] {
  const records: PaxRecord[] = [];
  let at = 0;
  while (at < content.length) {
    // Some writers pad the last record with NULs.
    if (content[at] === 0) break;
    const space = content.indexOf(0x20, at);
    const digits = space < 0 || space - at > 8 ? "" : content.toString("latin1", at, space);
    const end = at + Number(digits);
    const isSound =
      /^\d+$/.test(digits) && end > space + 1 && end <= content.length && content[end - 1] === 0x0a;
    const equals = content.indexOf(0x3d, space);
    if (!isSound || equals < 0 || equals === space + 1 || equals >= end) {
      return refuse("a PAX record is malformed");
    }
    const record = {
      key: content.toString("latin1", space + 1, equals),
      value: Buffer.from(content.subarray(equals + 1, end - 1)),
    };
    records.push(record);
    at = end;
  }
  return records;
}

/** The extended attributes among records, by full name. */
export function xattrsOf(records: ReadonlyMap<string, Buffer>): Map<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of records) {
    if (!key.startsWith(libarchiveXattr)) continue;
    const name = decodeUriBytes(key.slice(libarchiveXattr.length));
    xattrs.set(name, Buffer.from(value.toString("latin1"), "base64"));
  }
  // Where both are there, the binary form is the exact one.
  for (const [key, value] of records) {
    if (key.startsWith(schilyXattr)) xattrs.set(key.slice(schilyXattr.length), value);
  }
  return xattrs;
}

/** Tells whether a record is an extended attribute. */
export function isXattrKey(key: string): boolean {
  return key.startsWith(schilyXattr) || key.startsWith(libarchiveXattr);
}

/** The text of a record as a byte string; NUL in it is refused. */
export function paxText(value: Buffer, refuse: Refuse): string {
  if (value.includes(0)) refuse("a PAX record holds a NUL byte");
  return value.toString("latin1");
}

/** A record that counts something. */
export function paxInteger(value: Buffer, what: string, refuse: Refuse): number {
  const text = value.toString("latin1");
  const number = Number(text);
  if (!/^-?\d{1,19}$/.test(text) || !Number.isSafeInteger(number)) {
    return refuse(`the ${what} in the PAX header is not a number in range`);
  }
  return number;
}

/** A record that holds a moment: seconds with any number of decimals, in nanoseconds. */
export function paxTimeNs(value: Buffer, refuse: Refuse): bigint {
  const match = /^(-?)(\d{1,16})(?:\.(\d*))?$/.exec(value.toString("latin1"));
  if (match === null) return refuse("the mtime in the PAX header is not a time");
  const fraction = (match[3] ?? "").slice(0, nanoDigits).padEnd(nanoDigits, "0");
  const ns = BigInt(match[2] ?? "0") * 1_000_000_000n + BigInt(fraction);
  return match[1] === "-" ? -ns : ns;
}

function decodeUriBytes(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_match, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}
