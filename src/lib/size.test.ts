import { expect, test } from "bun:test";
import { formatBytesBinary, formatSize, parseSize } from "./size.ts";

test.each([
  ["512", 512],
  ["0", 0],
  ["64m", 64 * 1024 ** 2],
  ["64M", 64 * 1024 ** 2],
  ["1g", 1024 ** 3],
  ["1GB", 1024 ** 3],
  ["1.5GiB", 1.5 * 1024 ** 3],
  ["10 kB", 10_240],
  ["32b", 32],
  ["1.2k", 1_228],
  ["1t", 1024 ** 4],
  [".5k", 512],
])("parseSize() reads %p", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each([
  ["", "invalid size: ''"],
  ["m", "invalid size: 'm'"],
  ["-1", "invalid size: '-1'"],
  ["-64m", "invalid size: '-64m'"],
  ["10x", "invalid suffix: 'x'"],
  ["10bb", "invalid suffix: 'bb'"],
  ["10kbb", "invalid suffix: 'kbb'"],
  ["10mix", "invalid suffix: 'mix'"],
  ["1.2.3m", "invalid syntax"],
  ["ten 10m", "invalid syntax"],
  ["9999999p", "invalid size: '9999999p'"],
  ["1__proto__", "invalid suffix"],
])("parseSize() refuses %p", (text, sentence) => {
  expect(() => parseSize(text)).toThrow(sentence);
});

test.each([
  [0, "0B", "0B"],
  [999, "999B", "999B"],
  [1_000, "1kB", "1000B"],
  [1_024, "1.024kB", "1KiB"],
  [1_840_000, "1.84MB", "1.755MiB"],
  [1_610_612_736, "1.611GB", "1.5GiB"],
  [999_999, "1000kB", "976.6KiB"],
  [2 ** 50, "1.126PB", "1PiB"],
])("formats %p bytes with four digits", (bytes, decimal, binary) => {
  expect(formatSize(bytes)).toBe(decimal);
  expect(formatBytesBinary(bytes)).toBe(binary);
});
