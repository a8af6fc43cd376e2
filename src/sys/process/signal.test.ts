import { expect, test } from "bun:test";
import { constants } from "node:os";
import { signalName, signalNumber } from "./signal.ts";

test.each([
  ["SIGKILL", 9],
  ["kill", 9],
  ["9", 9],
  ["sigterm", 15],
  ["CLD", 17],
  ["POLL", 29],
  ["64", 64],
  ["RTMIN", 34],
  ["SIGRTMIN+3", 37],
  ["RTMAX-14", 50],
  ["SIGRTMAX", 64],
])("signalNumber(%s) is %d", (text, number) => {
  expect(signalNumber(text)).toBe(number);
});

test.each(["", "0", "65", "-9", "SIG", "FOO", "9x", "RTMIN+31", "RTMAX+1", "RTMIN-1", "1e1", " 9"])(
  "signalNumber(%j) is refused in Docker's words",
  (text) => {
    expect(() => signalNumber(text)).toThrow(`invalid signal: ${text}`);
  },
);

test("the table agrees with the system's", () => {
  for (const [name, number] of Object.entries(constants.signals)) {
    expect(signalNumber(name)).toBe(number);
  }
});

test("signalName() and signalNumber() are inverse for all numbers but the library's own", () => {
  for (let number = 1; number <= 64; number += 1) {
    if (number === 32 || number === 33) continue;
    expect(signalNumber(signalName(number))).toBe(number);
  }
  expect(signalName(37)).toBe("SIGRTMIN+3");
  expect(signalName(32)).toBe("SIG32");
});
