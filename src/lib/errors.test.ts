import { expect, test } from "bun:test";
import { codeOf, EngineError, errorKinds, isKind, messageOf } from "./errors.ts";

test("isKind() knows any kind, or the ones named", () => {
  const error = new EngineError("not-found", "get image x: not there");
  expect(isKind(error)).toBe(true);
  expect(isKind(error, "conflict", "not-found")).toBe(true);
  expect(isKind(error, "conflict")).toBe(false);
  expect(isKind(new RangeError("x"))).toBe(false);
  expect(isKind(undefined, "not-found")).toBe(false);
});

test("an EngineError carries its cause and details, and has no cause of undefined", () => {
  const cause = new RangeError("x");
  const error = new EngineError("internal", "a", { cause, details: { code: "B" } });
  expect(error.cause).toBe(cause);
  expect(error.details).toEqual({ code: "B" });
  expect("cause" in new EngineError("internal", "a")).toBe(false);
});

test("messageOf() and codeOf() take anything thrown", () => {
  expect(messageOf("text")).toBe("text");
  expect(messageOf(new RangeError("x"))).toBe("x");
  expect(codeOf(Object.assign(new RangeError("x"), { code: "ENOENT" }))).toBe("ENOENT");
  expect(codeOf(Object.assign(new RangeError("x"), { code: 7 }))).toBeUndefined();
  expect(codeOf({ code: "ENOENT" })).toBeUndefined();
});

test("no kind is listed twice", () => {
  expect(new Set(errorKinds).size).toBe(errorKinds.length);
});
