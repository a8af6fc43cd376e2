import { describe, expect, test } from "bun:test";
import { bytesField, message } from "../protobuf.ts";
import { encodeMessageFrame, FrameReader } from "./frames.ts";

const noteType = message<{ readonly data: Uint8Array }>({ data: bytesField(1) });

function frameOf(sizeBytes: number): Buffer {
  return Buffer.concat(encodeMessageFrame(noteType, { data: Buffer.alloc(sizeBytes, sizeBytes) }));
}

describe("frames", () => {
  const sizes = [0, 1, 200, 0, 0, 70_000, 3, 16_000, 0];
  const bytes = Buffer.concat(sizes.map(frameOf));
  const wanted = sizes.map((size) => frameOf(size).subarray(5).toString("hex"));

  test.each([1, 2, 4, 5, 6, 7, 64, 4096, 65_536, bytes.length])(
    "come out the same, with %i bytes at a time",
    (stepBytes) => {
      const reader = new FrameReader({ messageMaxBytes: 100_000 });
      const messages: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += stepBytes) {
        messages.push(...reader.push(bytes.subarray(at, at + stepBytes)));
      }
      expect(messages.map((each) => each.toString("hex"))).toEqual(wanted);
      expect(reader.isAtBoundary).toBe(true);
    },
  );

  test("a reader knows that it is within one", () => {
    const reader = new FrameReader({ messageMaxBytes: 100 });
    expect(reader.push(bytes.subarray(0, 3))).toEqual([]);
    expect(reader.isAtBoundary).toBe(false);
    expect(reader.push(bytes.subarray(3, 5))).toHaveLength(1);
    expect(reader.isAtBoundary).toBe(true);
  });

  test("longer than the bound are refused before they are here", () => {
    const reader = new FrameReader({ messageMaxBytes: 100 });
    expect(reader.push(Buffer.from([0, 0, 0, 0, 100]))).toEqual([]);
    const other = new FrameReader({ messageMaxBytes: 100 });
    const head = Buffer.from([0, 0, 0, 0, 101]);
    expect(() => other.push(head)).toThrow("101 bytes, of at most 100");
  });

  test("that are compressed are refused, also behind others", () => {
    const reader = new FrameReader({ messageMaxBytes: 100 });
    const packed = Buffer.from([1, 0, 0, 0, 0]);
    expect(() => reader.push(Buffer.concat([frameOf(1), packed]))).toThrow("compressed");
  });
});
