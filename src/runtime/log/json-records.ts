/**
 * Turns output into records of Docker's json-file format, many lines at a time.
 *
 * `{"log":"…\n","stream":"stdout","time":"…"}` and a line end; a line that is not UTF-8 has also
 * `"raw":"<base64>"`, with its exact bytes.
 */
import { isAscii, isUtf8 } from "node:buffer";

/** Which output a record is of. */
export type LogStream = "stdout" | "stderr";

/** A longer line is told in several records, of which only the last ends with the line's end. */
export const recordSizeMaxBytes: number = 16 * 1024;

/** Bytes a record may take beyond six for each of its line's. */
const overheadMaxBytes = 256;
const newline = 0x0a;
const recordHead = Buffer.from('{"log":"');

/** What all records of one batch have in common. */
export interface RecordFrame {
  readonly stream: LogStream;
  /** RFC 3339 with nine digits. */
  readonly time: string;
  /** `"attrs":{…},` or nothing. */
  readonly attributes: string;
}

/** Collects encoded records; `take` gives what has come together. */
export class RecordBuffer {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The records since the last `take`; valid until the next `append`. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return taken;
  }

  /** Gives memory back after a burst. */
  shrink(): void {
    if (this.#length === 0 && this.#bytes.length > 64 * 1024)
      this.#bytes = Buffer.allocUnsafe(64 * 1024);
  }

  /** Appends one record a line; `block` ends with a line end, and no line is over the limit. */
  appendLines(block: Buffer, frame: RecordFrame): void {
    const tail = Buffer.from(`\\n",${tailOf(frame)}`);
    if (isPlain(block)) this.#appendPlain(block, tail);
    else this.#appendMixed(block, tail, frame);
  }

  /** Appends one record without a line end. */
  appendPartial(part: Buffer, frame: RecordFrame): void {
    this.#appendEscaped(part, Buffer.from(`",${tailOf(frame)}`), frame);
  }

  #appendPlain(block: Buffer, tail: Buffer): void {
    let start = 0;
    while (start < block.length) {
      const end = block.indexOf(newline, start);
      this.#reserve(end - start + tail.length + recordHead.length);
      const bytes = this.#bytes;
      let at = this.#length;
      bytes.set(recordHead, at);
      at += recordHead.length;
      block.copy(bytes, at, start, end);
      at += end - start;
      bytes.set(tail, at);
      this.#length = at + tail.length;
      start = end + 1;
    }
  }

  #appendMixed(block: Buffer, tail: Buffer, frame: RecordFrame): void {
    let start = 0;
    while (start < block.length) {
      const end = block.indexOf(newline, start);
      this.#appendEscaped(block.subarray(start, end), tail, frame);
      start = end + 1;
    }
  }

  #appendEscaped(line: Buffer, tail: Buffer, frame: RecordFrame): void {
    this.#reserve(line.length * 6 + tail.length + overheadMaxBytes);
    if (!isUtf8(line)) {
      const end = tail[0] === 0x5c ? "\n" : "";
      this.#appendRaw(line, end, frame);
      return;
    }
    const json = JSON.stringify(line.toString("utf8"));
    this.#bytes.set(recordHead, this.#length);
    // The opening quote is the head's last byte, the closing one the tail's.
    const at = this.#length + recordHead.length - 1;
    const written = this.#bytes.write(json, at, "utf8");
    this.#bytes.set(tail, at + written - 1);
    this.#length = at + written - 1 + tail.length;
  }

  #appendRaw(line: Buffer, end: string, frame: RecordFrame): void {
    const exact = end === "" ? line : Buffer.concat([line, Buffer.from(end)]);
    const record = `{"log":${JSON.stringify(line.toString("utf8") + end)},"raw":"${exact.toString("base64")}",${tailOf(frame)}`;
    this.#reserve(Buffer.byteLength(record));
    this.#length += this.#bytes.write(record, this.#length, "utf8");
  }

  #reserve(sizeBytes: number): void {
    const needed = this.#length + sizeBytes;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

function tailOf(frame: RecordFrame): string {
  return `"stream":"${frame.stream}",${frame.attributes}"time":"${frame.time}"}\n`;
}

/** Tells whether JSON needs no escape for these bytes, line ends apart. */
export function isPlain(block: Buffer): boolean {
  if (block.includes(0x22) || block.includes(0x5c)) return false;
  if (hasControl(block)) return false;
  return isAscii(block) || isUtf8(block);
}

/** Looks for bytes below the space other than line ends, four at a time. */
function hasControl(block: Buffer): boolean {
  const misaligned = (4 - (block.byteOffset & 3)) & 3;
  const head = Math.min(misaligned, block.length);
  if (hasControlByte(block, 0, head)) return true;
  const wordCount = (block.length - head) >> 2;
  const words = new Int32Array(block.buffer, block.byteOffset + head, wordCount);
  for (let index = 0; index < wordCount; index += 1) {
    const word = words[index] ?? 0;
    // The high bit of each byte that is below 0x20; may be set for its neighbour as well.
    if (((word - 0x20202020) & ~word & 0x80808080) === 0) continue;
    if (hasControlByte(block, head + index * 4, head + index * 4 + 4)) return true;
  }
  return hasControlByte(block, head + wordCount * 4, block.length);
}

function hasControlByte(block: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    const byte = block[index] ?? newline;
    if (byte < 0x20 && byte !== newline) return true;
  }
  return false;
}
