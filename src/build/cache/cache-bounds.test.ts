import { describe, expect, test } from "bun:test";
import { keepBytesOf, readBounds } from "./cache-bounds.ts";

describe("keepBytesOf()", () => {
  const disk = { usedBytes: 1000, freeBytes: 500 };
  test.each([
    [{ maxUsedBytes: 300 }, 300],
    [{ reservedBytes: 300 }, 300],
    [{ maxUsedBytes: 300, reservedBytes: 400 }, 400],
    [{ minFreeBytes: 400 }, undefined],
    [{ minFreeBytes: 700 }, 800],
    [{ minFreeBytes: 7000 }, 0],
    [{ minFreeBytes: 7000, reservedBytes: 200 }, 200],
    [{ minFreeBytes: 700, maxUsedBytes: 900 }, 800],
    [{ minFreeBytes: 700, maxUsedBytes: 100 }, 100],
    [{ minFreeBytes: 400, maxUsedBytes: 100 }, 100],
  ])("%p: %p", (bounds, keepBytes) => {
    expect(keepBytesOf(bounds, disk)).toBe(keepBytes as never);
  });
});

test("bounds of 0 are none", () => {
  expect(readBounds({ maxUsedBytes: 0, reservedBytes: 0 })).toBeUndefined();
  expect(readBounds({ maxUsedBytes: 0, minFreeBytes: 5 })).toEqual({ minFreeBytes: 5 });
});
