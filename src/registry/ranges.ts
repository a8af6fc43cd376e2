/** Ranges of bytes as the distribution API writes them. */
import { refusal } from "./errors.ts";

/** A part of a blob. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Digits of a position; keeps a hostile number within what a double holds exactly. */
const position = "\\d{1,15}";
const rangeForm = new RegExp(`^bytes=(${position})?-(${position})?$`);
const contentRangeForm = new RegExp(
  `^(?:bytes[ =])?(${position})-(${position})(?:/(?:\\*|${position}))?$`,
);

/**
 * Reads a `Range` header.
 *
 * @returns undefined when the whole is to be sent: no header, one in a unit other than bytes, which is
 * to be passed over, or several ranges, which need not be served
 * @throws RANGE_INVALID for what is no range of bytes, or lies behind the end
 * @see RFC 9110, section 14
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^(?!bytes=)[\w-]+=/.test(text)) return undefined;
  if (/^bytes=[\d\s,-]*,/.test(text)) return undefined;
  const match = rangeForm.exec(text);
  const first = match?.[1];
  const last = match?.[2];
  if (match === null || (first === undefined && last === undefined)) throw unsatisfied(sizeBytes);
  if (first === undefined) {
    const length = Math.min(Number(last), sizeBytes);
    if (length === 0) throw unsatisfied(sizeBytes);
    return { offset: sizeBytes - length, length };
  }
  const offset = Number(first);
  const end = last === undefined ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (offset >= sizeBytes || (last !== undefined && Number(last) < offset)) {
    throw unsatisfied(sizeBytes);
  }
  return { offset, length: end - offset + 1 };
}

/** The `Content-Range` of a part. */
export function formatContentRange(range: ByteRange, sizeBytes: number): string {
  return `bytes ${range.offset}-${range.offset + range.length - 1}/${sizeBytes}`;
}

/** A chunk of an upload: its first and its last byte. */
export interface ChunkRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Reads the `Content-Range` of a chunk: `0-99`, and `bytes 0-99/*` as RFC 9110 has it.
 *
 * @throws BLOB_UPLOAD_INVALID for what is no range
 */
export function parseChunkRange(header: string | undefined): ChunkRange | undefined {
  if (header === undefined) return undefined;
  const match = contentRangeForm.exec(header.trim());
  if (match === null) {
    throw refusal("BLOB_UPLOAD_INVALID", { message: "Content-Range is not <first>-<last>" });
  }
  return { first: Number(match[1]), last: Number(match[2]) };
}

/** What an upload has, as its `Range` header tells: the empty one has `0-0`, as docker-registry says. */
export function formatUploadRange(sizeBytes: number): string {
  return `0-${Math.max(0, sizeBytes - 1)}`;
}

function unsatisfied(sizeBytes: number): Error {
  return refusal("RANGE_INVALID", {
    message: `no such range: the blob has ${sizeBytes} bytes`,
    headers: { "Content-Range": `bytes */${sizeBytes}` },
  });
}
