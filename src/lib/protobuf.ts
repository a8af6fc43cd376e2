/**
 * Protocol buffers: tables of fields that turn bytes into readonly records and back.
 *
 * A message is an interface and a table of its fields with their numbers; the compiler checks one
 * against the other. After decoding every field is there: what was not sent has the value that
 * proto3 gives it. Unknown fields are skipped. The bytes themselves are read and written by
 * `@bufbuild/protobuf`.
 *
 * @see protobuf.dev, Encoding
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { EngineError, messageOf } from "./errors.ts";

/** Messages within messages; a hostile sender nests without end. */
const depthMax = 64;

/** How one field is read and written. */
export interface Field<V> {
  readonly number: number;
  /** The value of a field that was not sent. */
  zero(): V;
  /** Takes one occurrence in; `value` is what earlier ones made. */
  read(reader: BinaryReader, value: V, wire: WireType): V;
  /** Writes tag and value; nothing where the value is the zero. */
  write(writer: BinaryWriter, value: V): void;
  /** Its value is written as it is, behind its length. */
  readonly isBytes?: boolean;
}

/** A message of the wire, as a record of type `T`. */
export interface MessageType<T> {
  readonly fields: readonly (readonly [keyof T & string, Field<unknown>])[];
  readonly byNumber: ReadonlyMap<number, readonly [keyof T & string, Field<unknown>]>;
}

/** The table of a message; its keys are those of the record. */
export function message<T>(fields: { readonly [K in keyof T]-?: Field<T[K]> }): MessageType<T> {
  const entries = Object.entries(fields) as [keyof T & string, Field<unknown>][];
  return { fields: entries, byNumber: new Map(entries.map((entry) => [entry[1].number, entry])) };
}

/**
 * Reads a message.
 *
 * Byte fields are views into `bytes`: copy what outlives them.
 *
 * @throws invalid-argument when the bytes are no such message
 */
export function decodeMessage<T>(type: MessageType<T>, bytes: Uint8Array): T {
  try {
    return readMessage(type, new BinaryReader(bytes), 0);
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError("invalid-argument", `decode protobuf message: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Its room is used again and again: a new one for each message is what most of them cost. */
let sharedWriter: BinaryWriter | undefined;
/** A writer that has written more is not kept, with all of its room. */
const keptBytesMax = 1024 * 1024;

/** Bytes that are longer are not copied into a piece with others. */
const ownPieceBytes = 16 * 1024;

/** Writes a message; fields that are absent have their zero. */
export function encodeMessage<T>(type: MessageType<T>, values: Partial<T>): Uint8Array {
  const writer = takeWriter();
  writeMessage(type, writer, values);
  const bytes = writer.finish();
  keepWriter(writer, bytes.length);
  return bytes;
}

/**
 * Writes a message in pieces, to be sent one behind the other.
 *
 * Its own long byte fields are pieces as they are, without a copy: they must not change any more.
 *
 * @param options.headBytes so many zeros begin the first piece, for the caller to fill
 */
export function encodeMessagePieces<T>(
  type: MessageType<T>,
  values: Partial<T>,
  options: { readonly headBytes: number },
): readonly Uint8Array[] {
  const writer = takeWriter();
  const pieces: Uint8Array[] = [];
  writer.raw(new Uint8Array(options.headBytes));
  let copiedBytes = 0;
  const cut = (): void => {
    const piece = writer.finish();
    copiedBytes += piece.length;
    if (piece.length > 0) pieces.push(piece);
  };
  for (const [key, field] of type.fields) {
    const value: unknown = values[key];
    if (value === undefined) continue;
    if (field.isBytes === true && value instanceof Uint8Array && value.length > ownPieceBytes) {
      writer.tag(field.number, WireType.LengthDelimited).uint32(value.length);
      cut();
      pieces.push(value);
    } else field.write(writer, value);
  }
  cut();
  keepWriter(writer, copiedBytes);
  return pieces;
}

/** Nobody else gets it until it is kept again, which it is not after a failure within a message. */
function takeWriter(): BinaryWriter {
  const writer = sharedWriter ?? new BinaryWriter();
  sharedWriter = undefined;
  return writer;
}

function keepWriter(writer: BinaryWriter, writtenBytes: number): void {
  if (writtenBytes <= keptBytesMax) sharedWriter = writer;
}

/** A whole record: the fields of `values`, and the zeros of all others. */
export function fillMessage<T>(type: MessageType<T>, values: Partial<T>): T {
  const record: Record<string, unknown> = {};
  for (const [key, field] of type.fields) record[key] = values[key] ?? field.zero();
  return record as T;
}

let currentDepth = 0;

function readMessage<T>(type: MessageType<T>, reader: BinaryReader, depth: number): T {
  if (depth > depthMax) {
    throw new EngineError("invalid-argument", `decode protobuf message: deeper than ${depthMax}`);
  }
  const record: Record<string, unknown> = {};
  for (const [key, field] of type.fields) record[key] = field.zero();
  const outer = currentDepth;
  currentDepth = depth;
  try {
    while (reader.pos < reader.len) {
      const [number, wire] = reader.tag();
      const entry = type.byNumber.get(number);
      if (entry === undefined) reader.skip(wire, number);
      else record[entry[0]] = entry[1].read(reader, record[entry[0]], wire);
    }
  } finally {
    currentDepth = outer;
  }
  return record as T;
}

function writeMessage<T>(type: MessageType<T>, writer: BinaryWriter, values: Partial<T>): void {
  for (const [key, field] of type.fields) {
    const value = values[key];
    if (value !== undefined) field.write(writer, value);
  }
}

interface Scalar<V> {
  readonly wire: WireType;
  readonly zero: V;
  read(reader: BinaryReader): V;
  write(writer: BinaryWriter, value: V): void;
  isZero(value: V): boolean;
}

const noBytes = new Uint8Array(0);

const text: Scalar<string> = {
  wire: WireType.LengthDelimited,
  zero: "",
  read: (reader) => reader.string(),
  write: (writer, value) => writer.string(value),
  isZero: (value) => value === "",
};

const blob: Scalar<Uint8Array> = {
  wire: WireType.LengthDelimited,
  zero: noBytes,
  read: (reader) => reader.bytes(),
  write: (writer, value) => writer.bytes(value),
  isZero: (value) => value.length === 0,
};

const flag: Scalar<boolean> = {
  wire: WireType.Varint,
  zero: false,
  read: (reader) => reader.bool(),
  write: (writer, value) => writer.bool(value),
  isZero: (value) => !value,
};

const integer: Scalar<number> = {
  wire: WireType.Varint,
  zero: 0,
  read: (reader) => Number(reader.int64()),
  write: (writer, value) => writer.int64(Math.trunc(value)),
  isZero: (value) => value === 0,
};

const wide: Scalar<bigint> = {
  wire: WireType.Varint,
  zero: 0n,
  read: (reader) => BigInt(reader.int64()),
  write: (writer, value) => writer.int64(value),
  isZero: (value) => value === 0n,
};

/** A `string`: text in UTF-8. What is not valid is replaced. */
export const stringField = (number: number): Field<string> => single(number, text);
/** A `bytes`, or a `string` whose bytes may be no UTF-8. */
export const bytesField = (number: number): Field<Uint8Array> => ({
  ...single(number, blob),
  isBytes: true,
});
/** A `bool`. */
export const boolField = (number: number): Field<boolean> => single(number, flag);
/** An integer or an enum; beyond 2^53 digits are lost. */
export const intField = (number: number): Field<number> => single(number, integer);
/** An `int64` of which every digit counts. */
export const bigintField = (number: number): Field<bigint> => single(number, wide);
/** A `repeated string`. */
export const stringListField = (number: number): Field<readonly string[]> => list(number, text);
/** A `repeated bytes`. */
export const bytesListField = (number: number): Field<readonly Uint8Array[]> => list(number, blob);
/** A `repeated` integer, packed or not. */
export const intListField = (number: number): Field<readonly number[]> => list(number, integer);
/** A `map<string, string>`. */
export const stringMapField = (number: number): Field<ReadonlyMap<string, string>> =>
  map(number, text);
/** A `map<string, bytes>`. */
export const bytesMapField = (number: number): Field<ReadonlyMap<string, Uint8Array>> =>
  map(number, blob);

/** A message in a message; undefined when it was not sent. The type is asked for at first use. */
export function messageField<T>(number: number, type: () => MessageType<T>): Field<T | undefined> {
  const one = embedded(type);
  return {
    number,
    zero: () => undefined,
    read: (reader, _value, wire) => readScalar(one, reader, wire),
    write: (writer, value) => {
      if (value !== undefined) writeTagged(writer, { number, scalar: one, value });
    },
  };
}

/** A `repeated` message. */
export function messageListField<T>(
  number: number,
  type: () => MessageType<T>,
): Field<readonly T[]> {
  return list(number, embedded(type));
}

/** A `map<string, Message>`. */
export function messageMapField<T>(
  number: number,
  type: () => MessageType<T>,
): Field<ReadonlyMap<string, T>> {
  return map(number, embedded(type));
}

function embedded<T>(type: () => MessageType<T>): Scalar<T> {
  return {
    wire: WireType.LengthDelimited,
    get zero(): T {
      return fillMessage(type(), {});
    },
    read: (reader) => readMessage(type(), new BinaryReader(reader.bytes()), currentDepth + 1),
    write: (writer, value) => {
      writer.fork();
      writeMessage(type(), writer, value as Partial<T>);
      writer.join();
    },
    isZero: () => false,
  };
}

function single<V>(number: number, scalar: Scalar<V>): Field<V> {
  return {
    number,
    zero: () => scalar.zero,
    read: (reader, _value, wire) => readScalar(scalar, reader, wire),
    write: (writer, value) => {
      if (!scalar.isZero(value)) writeTagged(writer, { number, scalar, value });
    },
  };
}

function list<V>(number: number, scalar: Scalar<V>): Field<readonly V[]> {
  return {
    number,
    zero: () => [],
    read: (reader, value, wire) => {
      const values = value as V[];
      if (wire === WireType.LengthDelimited && scalar.wire === WireType.Varint) {
        const packed = new BinaryReader(reader.bytes());
        while (packed.pos < packed.len) values.push(scalar.read(packed));
      } else values.push(readScalar(scalar, reader, wire));
      return values;
    },
    write: (writer, values) => {
      for (const value of values) writeTagged(writer, { number, scalar, value });
    },
  };
}

function map<V>(number: number, scalar: Scalar<V>): Field<ReadonlyMap<string, V>> {
  return {
    number,
    zero: () => new Map(),
    read: (reader, value, wire) => {
      expectWire(wire, WireType.LengthDelimited);
      const entry = new BinaryReader(reader.bytes());
      let key = "";
      let item: V | undefined;
      while (entry.pos < entry.len) {
        const [part, partWire] = entry.tag();
        if (part === 1) key = readScalar(text, entry, partWire);
        else if (part === 2) item = readScalar(scalar, entry, partWire);
        else entry.skip(partWire, part);
      }
      (value as Map<string, V>).set(key, item ?? scalar.zero);
      return value;
    },
    write: (writer, values) => {
      for (const [key, value] of values) {
        writer.tag(number, WireType.LengthDelimited).fork();
        writer.tag(1, WireType.LengthDelimited).string(key);
        writeTagged(writer, { number: 2, scalar, value });
        writer.join();
      }
    },
  };
}

function readScalar<V>(scalar: Scalar<V>, reader: BinaryReader, wire: WireType): V {
  expectWire(wire, scalar.wire);
  return scalar.read(reader);
}

function expectWire(wire: WireType, wanted: WireType): void {
  if (wire === wanted) return;
  throw new EngineError(
    "invalid-argument",
    `decode protobuf message: a field has wire type ${wire} instead of ${wanted}`,
  );
}

function writeTagged<V>(
  writer: BinaryWriter,
  field: { readonly number: number; readonly scalar: Scalar<V>; readonly value: V },
): void {
  writer.tag(field.number, field.scalar.wire);
  field.scalar.write(writer, field.value);
}
