import { expect, test } from "bun:test";
import { EngineError } from "../lib/errors.ts";
import { constants } from "node:os";
import { check, cstring, errno, errnoName, lazyLibc, nodeFailure, systemFailure } from "./libc.ts";

const libc = lazyLibc({ close: { args: ["i32"], returns: "i32" } });

test("errno() tells why the last call failed", () => {
  expect(libc().close(-1)).toBe(-1);
  expect(errnoName(errno())).toBe("EBADF");
});

test("errnoName() knows all errors that the runtime has a name for", () => {
  const known = Object.entries(constants.errno).filter(
    ([name]) => name !== "EWOULDBLOCK" && name !== "ENOTSUP",
  );
  expect(known.length).toBeGreaterThan(70);
  expect(known.map(([, number]) => errnoName(number))).toEqual(known.map(([name]) => name));
});

test("errnoName() knows numbers of both ends of the table and names the rest by number", () => {
  expect([1, 2, 11, 16, 28, 40, 95, 110, 117, 122].map(errnoName)).toEqual([
    "EPERM",
    "ENOENT",
    "EAGAIN",
    "EBUSY",
    "ENOSPC",
    "ELOOP",
    "EOPNOTSUPP",
    "ETIMEDOUT",
    "EUCLEAN",
    "EDQUOT",
  ]);
  expect(errnoName(999)).toBe("E999");
});

test("check() passes numbers on and throws the kind of the error number", () => {
  expect(check(7n, "work")).toBe(7);
  let thrown: unknown;
  try {
    check(libc().close(-1), "close it");
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(EngineError);
  expect(thrown).toMatchObject({
    kind: "internal",
    message: "close it: Bad file descriptor",
    details: { code: "EBADF", errno: 9 },
    cause: { code: "EBADF" },
  });
});

test.each([
  [2, "not-found"],
  [17, "already-exists"],
  [13, "permission-denied"],
  [1, "permission-denied"],
  [28, "unavailable"],
  [122, "unavailable"],
  [98, "conflict"],
  [22, "internal"],
])("error number %d is of kind %s", (number, kind) => {
  expect(systemFailure(number, "work").kind).toBe(kind as EngineError["kind"]);
});

test("nodeFailure() leaves foreign errors as they are", () => {
  const foreign = new TypeError("no code");
  expect(nodeFailure(foreign, "work")).toBe(foreign);
});

test("cstring() ends with NUL and refuses one inside", () => {
  expect([...cstring("aé")]).toEqual([97, 0xc3, 0xa9, 0]);
  expect(() => cstring("a\0b")).toThrow("NUL byte");
});
