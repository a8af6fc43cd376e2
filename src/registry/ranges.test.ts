import { describe, expect, test } from "bun:test";
import { formatContentRange, formatUploadRange, parseChunkRange, parseRange } from "./ranges.ts";

describe("Range of a blob of ten bytes", () => {
  test.each([
    [undefined, undefined],
    ["bytes=0-0", { offset: 0, length: 1 }],
    ["bytes=0-9", { offset: 0, length: 10 }],
    ["bytes=3-", { offset: 3, length: 7 }],
    ["bytes=9-", { offset: 9, length: 1 }],
    ["bytes=5-100", { offset: 5, length: 5 }],
    ["bytes=-1", { offset: 9, length: 1 }],
    ["bytes=-100", { offset: 0, length: 10 }],
    ["bytes=0-1,3-4", undefined],
    ["lines=0-1", undefined],
    ["bytes=0-999999999999999", { offset: 0, length: 10 }],
  ])("%p is read", (header, expected) => {
    expect(parseRange(header, 10)).toEqual(expected);
  });

  test.each([
    ...["", "bytes", "bytes=", "bytes=-", "bytes=10-", "bytes=11-12", "bytes=4-3", "bytes=-0"],
    ...["bytes=a-b", "bytes=1", "bytes=--1", "bytes=0-9999999999999999", "bytes=0x1-2"],
  ])("%p is refused, with the size", (header) => {
    expect(() => parseRange(header, 10)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({
          distributionCode: "RANGE_INVALID",
          headers: { "Content-Range": "bytes */10" },
        }),
      }),
    );
  });

  test("nothing of an empty blob can be asked for", () => {
    expect(() => parseRange("bytes=0-", 0)).toThrow("0 bytes");
    expect(() => parseRange("bytes=-5", 0)).toThrow("0 bytes");
  });

  test("a part is told with the size of the whole", () => {
    expect(formatContentRange({ offset: 2, length: 3 }, 10)).toBe("bytes 2-4/10");
  });
});

describe("Content-Range of a chunk", () => {
  test.each([
    [undefined, undefined],
    ["0-9", { first: 0, last: 9 }],
    [" 10-19 ", { first: 10, last: 19 }],
    ["bytes 0-9/*", { first: 0, last: 9 }],
    ["bytes 0-9/10", { first: 0, last: 9 }],
    ["bytes=0-9", { first: 0, last: 9 }],
  ])("%p is read", (header, expected) => {
    expect(parseChunkRange(header)).toEqual(expected);
  });

  test.each(["", "-", "0-", "-9", "a-b", "0-9-10", "0 - 9", "0-9999999999999999", "*/10"])(
    "%p is refused",
    (header) => {
      expect(() => parseChunkRange(header)).toThrow("Content-Range");
    },
  );

  test("what an upload has is told as a range", () => {
    expect([0, 1, 10].map(formatUploadRange)).toEqual(["0-0", "0-0", "0-9"]);
  });
});
