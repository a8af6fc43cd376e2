import { describe, expect, test } from "bun:test";
import { parsePsOutput, splitPsArgs } from "./top.ts";

describe("parsePsOutput()", () => {
  const output =
    "UID   PID CMD\nroot    1 init of all\nroot   12 sleep 1 2\nroot    - thread\nbob   120 x\n";
  test("keeps the rows of the container, the rest of a line in the last column", () => {
    expect(parsePsOutput(output, [12, 120])).toEqual({
      Titles: ["UID", "PID", "CMD"],
      Processes: [
        ["root", "12", "sleep 1 2"],
        ["root", "-", "thread"],
        ["bob", "120", "x"],
      ],
    });
  });
  test("needs a PID column with numbers", () => {
    expect(() => parsePsOutput("CMD\nx\n", [1])).toThrow("Couldn't find PID field in ps output");
    expect(() => parsePsOutput("PID\nx1\n", [1])).toThrow("Unexpected pid 'x1'");
  });
});

describe("splitPsArgs()", () => {
  test("cuts at spaces; nothing is -ef", () => {
    expect(splitPsArgs("")).toEqual(["-ef"]);
    expect(splitPsArgs("  -o   pid,cmd ")).toEqual(["-o", "pid,cmd"]);
  });
  test("refuses to rename another column to PID", () => {
    expect(() => splitPsArgs("-o ppid=PID")).toThrow('specifying "ppid=PID" is not allowed');
    expect(splitPsArgs("-o pid=PID")).toEqual(["-o", "pid=PID"]);
  });
});
