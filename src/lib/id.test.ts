import { expect, test } from "bun:test";
import { createId, shortId } from "./id.ts";

test("createId() gives 64 digits, each time others, that no one takes for a number", () => {
  const ids = Array.from({ length: 500 }, createId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every((id) => /^[0-9a-f]{64}$/.test(id))).toBe(true);
  expect(ids.some((id) => /^\d+$/.test(shortId(id)))).toBe(false);
});

test("shortId() leaves the algorithm of a digest out", () => {
  expect(shortId("sha256:0123456789abcdef")).toBe("0123456789ab");
  expect(shortId("0123456789abcdef")).toBe("0123456789ab");
});
