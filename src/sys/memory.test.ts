import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { cleanFileMappings, releaseFilePages } from "./memory.ts";

const mapping = (head: string, counts: Readonly<Record<string, number>> = {}): string =>
  [
    head,
    "Size: 4 kB",
    ...Object.entries({ Private_Dirty: 0, Anonymous: 0, Swap: 0, ...counts }).map(
      ([name, value]) => `${name}:      ${value} kB`,
    ),
    "VmFlags: rd ex mr",
  ].join("\n");

const rows: readonly (readonly [string, string, number])[] = [
  ["text of a program", mapping("1000-2000 r-xp 00000000 08:01 12   /usr/bin/x"), 1],
  ["a file with a blank in its name", mapping("1000-2000 r--p 00000000 08:01 12   /opt/a b"), 1],
  ["a writable mapping", mapping("1000-2000 rw-p 00000000 08:01 12   /usr/bin/x"), 0],
  ["relocated data", mapping("1000-2000 r--p 00000000 08:01 12   /usr/bin/x", { Anonymous: 4 }), 0],
  ["a dirty page", mapping("1000-2000 r--p 00000000 08:01 12   /x", { Private_Dirty: 4 }), 0],
  ["memory of nobody", mapping("1000-2000 r--p 00000000 00:00 0 "), 0],
  ["the kernel's own", mapping("7fff0000-7fff2000 r-xp 00000000 00:00 0    [vdso]"), 0],
];
for (const [what, text, count] of rows) {
  test(`cleanFileMappings() finds ${count} in ${what}`, () => {
    expect(cleanFileMappings(text)).toHaveLength(count);
  });
}

const residentKb = (): number =>
  Number(/RssFile:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

test("releaseFilePages() gives pages back, and the program goes on", () => {
  const before = residentKb();
  releaseFilePages();
  expect(residentKb()).toBeLessThan(before);
  expect(JSON.parse('{"still": ["here"]}')).toEqual({ still: ["here"] });
});
