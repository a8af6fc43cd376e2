import { assert } from "../../lib/assert.ts";

/** `struct nlmsghdr`. */
const headerSizeBytes = 16;
const nestedFlag = 0x8000;
const attributeTypeMask = 0x3fff;

/** A request under construction: header, fixed part, attributes, each on 4 bytes. */
export class RequestWriter {
  #bytes = Buffer.alloc(512);
  #length = headerSizeBytes;

  constructor(type: number, flags: number) {
    this.#bytes.writeUInt16LE(type, 4);
    this.#bytes.writeUInt16LE(flags, 6);
  }

  /** Appends a struct, or anything that goes without an attribute header. */
  raw(bytes: Uint8Array): this {
    const end = this.#length + Math.ceil(bytes.length / 4) * 4;
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(end * 2);
      this.#bytes.copy(larger);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = end;
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    const header = Buffer.alloc(4);
    header.writeUInt16LE(4 + value.length, 0);
    header.writeUInt16LE(type, 2);
    return this.raw(header).raw(value);
  }

  number(type: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    return this.attribute(type, bytes);
  }

  text(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }

  /** Attributes that `fill` appends, inside one. */
  nested(type: number, fill: (writer: this) => void): this {
    const start = this.#length;
    this.attribute(type | nestedFlag, new Uint8Array());
    fill(this);
    this.#bytes.writeUInt16LE(this.#length - start, start);
    return this;
  }

  finish(sequence: number): Buffer {
    this.#bytes.writeUInt32LE(this.#length, 0);
    this.#bytes.writeUInt32LE(sequence, 8);
    return this.#bytes.subarray(0, this.#length);
  }
}

/** A message of the kernel. */
export interface Reply {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

/** Takes a datagram apart. */
export function parseReplies(datagram: Buffer): Reply[] {
  const replies: Reply[] = [];
  let offset = 0;
  while (offset + headerSizeBytes <= datagram.length) {
    const length = datagram.readUInt32LE(offset);
    assert(length >= headerSizeBytes, "netlink message holds its header");
    replies.push({
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      payload: datagram.subarray(offset + headerSizeBytes, offset + length),
    });
    offset += Math.ceil(length / 4) * 4;
  }
  return replies;
}

/** The attributes of a message by type; of several of a type the last. */
export function parseAttributes(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  let offset = 0;
  while (offset + 4 <= bytes.length) {
    const length = bytes.readUInt16LE(offset);
    if (length < 4 || offset + length > bytes.length) break;
    const type = bytes.readUInt16LE(offset + 2) & attributeTypeMask;
    attributes.set(type, bytes.subarray(offset + 4, offset + length));
    offset += Math.ceil(length / 4) * 4;
  }
  return attributes;
}

/** The string of an attribute, without its end. */
export function attributeText(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString("utf8").replace(/\0.*$/s, "");
}
