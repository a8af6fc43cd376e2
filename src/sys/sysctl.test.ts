import { expect, test } from "bun:test";
import { readSysctl, setSysctl } from "./sysctl.ts";

const isRoot = process.getuid?.() === 0;

test("readSysctl() reads without the line end and says what is missing", () => {
  expect(readSysctl("kernel/ostype")).toBe("Linux");
  expect(() => readSysctl("kernel/none")).toThrow("No such file");
});

test.skipIf(!isRoot)("setSysctl() sets, and refuses what the kernel refuses", () => {
  const before = readSysctl("net/ipv4/conf/lo/log_martians");
  setSysctl("net/ipv4/conf/lo/log_martians", 1);
  expect(readSysctl("net/ipv4/conf/lo/log_martians")).toBe("1");
  setSysctl("net/ipv4/conf/lo/log_martians", before);
  expect(() => setSysctl("net/ipv4/ip_forward", "bogus")).toThrow("Invalid argument");
  expect(() => setSysctl("net/ipv4/none", "1")).toThrow("No such file");
});

test.each(["", "/etc/passwd", "../self", "net/../../self", "net//ipv4", "a b", "net/", "a\0b"])(
  "%j is no parameter path",
  (path) => {
    expect(() => setSysctl(path, "1")).toThrow("not a parameter path");
  },
);
