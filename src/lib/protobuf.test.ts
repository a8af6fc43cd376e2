import { describe, expect, test } from "bun:test";
import { EngineError } from "./errors.ts";
import {
  bigintField,
  boolField,
  bytesField,
  bytesListField,
  decodeMessage,
  encodeMessage,
  encodeMessagePieces,
  fillMessage,
  intField,
  intListField,
  message,
  messageField,
  messageListField,
  messageMapField,
  type MessageType,
  stringField,
  stringListField,
  stringMapField,
} from "./protobuf.ts";

const room = { headBytes: 5 };

interface Leaf {
  readonly name: string;
  readonly child: Leaf | undefined;
}
const leafType: MessageType<Leaf> = message<Leaf>({
  name: stringField(1),
  child: messageField(2, () => leafType),
});

interface All {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly flag: boolean;
  readonly count: number;
  readonly wide: bigint;
  readonly texts: readonly string[];
  readonly blobs: readonly Uint8Array[];
  readonly counts: readonly number[];
  readonly labels: ReadonlyMap<string, string>;
  readonly leaf: Leaf | undefined;
  readonly leaves: readonly Leaf[];
  readonly leafOf: ReadonlyMap<string, Leaf>;
}
const allType: MessageType<All> = message<All>({
  text: stringField(1),
  bytes: bytesField(2),
  flag: boolField(3),
  count: intField(4),
  wide: bigintField(5),
  texts: stringListField(6),
  blobs: bytesListField(7),
  counts: intListField(8),
  labels: stringMapField(9),
  leaf: messageField(10, () => leafType),
  leaves: messageListField(11, () => leafType),
  leafOf: messageMapField(1000, () => leafType),
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (text: string): Uint8Array => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("messages", () => {
  test("every kind of field comes back as it was", () => {
    const value: All = {
      text: "grüß",
      bytes: Uint8Array.of(0, 255),
      flag: true,
      count: -5,
      wide: -(2n ** 63n),
      texts: ["", "b"],
      blobs: [Uint8Array.of(), Uint8Array.of(1)],
      counts: [0, 300, -1],
      labels: new Map([
        ["", "empty key"],
        ["k", ""],
        ["__proto__", "p"],
      ]),
      leaf: { name: "l", child: { name: "m", child: undefined } },
      leaves: [
        { name: "", child: undefined },
        { name: "x", child: undefined },
      ],
      leafOf: new Map([["a", { name: "n", child: undefined }]]),
    };
    const back = decodeMessage(allType, encodeMessage(allType, value));
    expect(hex(back.bytes)).toBe("00ff");
    expect(back.blobs.map(hex)).toEqual(["", "01"]);
    expect({ ...back, bytes: value.bytes, blobs: value.blobs }).toEqual(value);
  });

  test("what was not sent has the zero of its kind, and zeros are not sent", () => {
    const zero = decodeMessage(allType, new Uint8Array(0));
    expect(zero).toEqual(fillMessage(allType, {}));
    expect(zero.leaf).toBeUndefined();
    expect(encodeMessage(allType, zero).length).toBe(0);
    expect(encodeMessage(allType, { leaf: { name: "", child: undefined } }).length).toBe(2);
  });

  test("leaves room in front where it is asked to, whatever was written before", () => {
    const leaf: Leaf = { name: "x".repeat(3000), child: undefined };
    const plain = encodeMessage(leafType, leaf);
    const [roomy = new Uint8Array(), ...others] = encodeMessagePieces(leafType, leaf, room);
    expect(others).toEqual([]);
    expect(roomy.subarray(0, 5)).toEqual(new Uint8Array(5));
    expect(roomy.subarray(5)).toEqual(plain);
    expect(encodeMessagePieces(leafType, { name: "" }, room)).toEqual([new Uint8Array(5)]);
  });

  test.each([0, 1, 16_384, 16_385, 3_000_000])(
    "in pieces it is the same, and its %d bytes are not copied when they are many",
    (sizeBytes) => {
      const bytes = Buffer.alloc(sizeBytes, "data");
      const values = { text: "before", bytes, count: 7, blobs: [bytes] };
      const pieces = encodeMessagePieces(allType, values, room);
      expect(pieces.includes(bytes)).toBe(sizeBytes > 16_384);
      const whole = Buffer.concat(pieces);
      expect(whole.subarray(5).equals(encodeMessage(allType, values))).toBe(true);
      expect(pieces.every(({ length }) => length > 0)).toBe(true);
    },
  );

  test("a message that could not be written leaves nothing for the next", () => {
    const leaf: Leaf = { name: "half", child: undefined };
    const broken = { ...leaf, child: { name: 1n as unknown as string, child: 5 as never } };
    Object.defineProperty(broken.child, "child", {
      get: () => {
        throw new EngineError("internal", "no child");
      },
    });
    expect(() => encodeMessage(leafType, broken)).toThrow("no child");
    expect(decodeMessage(leafType, encodeMessage(leafType, leaf))).toEqual(leaf);
  });

  // As other programs write them: protobuf.dev, Encoding.
  test.each([
    ["a string", "0a03616263", { text: "abc" }],
    ["an integer of two bytes", "20ac02", { count: 300 }],
    ["a negative int32 as ten bytes", "20fbffffffffffffffff01", { count: -5 }],
    ["the last of two values", "0a0161 0a0162", { text: "b" }],
    ["packed integers", "42 03 01 ac02", { counts: [1, 300] }],
    ["integers one by one", "4001 40ac02", { counts: [1, 300] }],
    ["unknown fields of all kinds", "a00601 a10600000000000000ff a2060101 a50600000000", {}],
    ["a map entry without a key", "4a 03 120162", { labels: new Map([["", "b"]]) }],
    ["a map entry without a value", "4a 03 0a0161", { labels: new Map([["a", ""]]) }],
  ])("reads %s", (_name, bytes, wanted) => {
    expect(decodeMessage(allType, unhex(bytes))).toEqual(fillMessage(allType, wanted));
  });

  test.each([
    ["a length beyond the end", "0aff01 61"],
    ["a cut varint", "20ff"],
    ["field number zero", "0000"],
    ["a string sent as a varint", "0801"],
    ["an integer sent as bytes", "220161"],
    ["an unclosed group", "a306"],
    ["a varint of eleven bytes", "20ffffffffffffffffffffff01"],
  ])("refuses %s", (_name, bytes) => {
    expect(() => decodeMessage(allType, unhex(bytes))).toThrow(EngineError);
  });

  test("refuses endless nesting", () => {
    let bytes: Uint8Array = new Uint8Array(0);
    for (let depth = 0; depth < 40; depth += 1) bytes = nest(bytes);
    expect(decodeMessage(leafType, bytes).child).toBeDefined();
    for (let depth = 0; depth < 400; depth += 1) bytes = nest(bytes);
    expect(() => decodeMessage(leafType, bytes)).toThrow("deeper than");
    // The depth of one failed message must not count for the next.
    expect(decodeMessage(leafType, nest(new Uint8Array(0))).child?.name).toBe("");
  });

  test("random bytes decode or are refused, in no other way", () => {
    let seed = 42;
    const random = (): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed;
    };
    let refused = 0;
    for (let round = 0; round < 3000; round += 1) {
      const bytes = Uint8Array.from({ length: random() % 40 }, () => random() % 128);
      try {
        decodeMessage(allType, bytes);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(100);
    expect(refused).toBeLessThan(3000);
  });
});

function nest(inner: Uint8Array): Uint8Array {
  const size: number[] = [];
  for (let rest = inner.length; ; rest >>>= 7) {
    if (rest < 128) {
      size.push(rest);
      break;
    }
    size.push((rest & 127) | 128);
  }
  return Buffer.concat([Uint8Array.of(0x12, ...size), inner]);
}
