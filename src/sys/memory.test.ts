import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { cleanFileMappings, programSection, releaseFilePages } from "./memory.ts";

const mapping = (head: string, counts: Readonly<Record<string, number>> = {}): string =>
  [
    head,
    "Size: 4 kB",
    ...Object.entries({ Private_Dirty: 0, Anonymous: 0, Swap: 0, ...counts }).map(
      ([name, value]) => `${name}:      ${value} kB`,
    ),
    "VmFlags: rd ex mr",
  ].join("\n");

const own = "/opt/a b";
const rows: readonly (readonly [string, string, number])[] = [
  ["text of the program", mapping(`1000-2000 r-xp 00000000 08:01 12   ${own}`), 1],
  ["another's text", mapping("1000-2000 r-xp 00000000 08:01 12   /opt/a bc"), 0],
  ["a program that was removed", mapping(`1000-2000 r-xp 00000000 08:01 12   ${own} (deleted)`), 0],
  ["a writable mapping", mapping(`1000-2000 rw-p 00000000 08:01 12   ${own}`), 0],
  ["relocated data", mapping(`1000-2000 r--p 00000000 08:01 12   ${own}`, { Anonymous: 4 }), 0],
  ["a dirty page", mapping(`1000-2000 r--p 00000000 08:01 12   ${own}`, { Private_Dirty: 4 }), 0],
  ["memory of nobody", mapping("1000-2000 r--p 00000000 00:00 0 "), 0],
  ["the kernel's own", mapping("7fff0000-7fff2000 r-xp 00000000 00:00 0    [vdso]"), 0],
];
for (const [what, text, count] of rows) {
  test(`cleanFileMappings() finds ${count} in ${what}`, () => {
    expect(cleanFileMappings(text, own)).toHaveLength(count);
  });
}

/** A program with these sections, and names of theirs; its head is changed by `change`. */
function program(
  sections: readonly { readonly name: string; readonly address: bigint; readonly size: bigint }[],
  change: (head: Buffer) => void = () => undefined,
): (offset: bigint, sizeBytes: number) => Buffer {
  const names = Buffer.from(`\0${[...sections.map(({ name }) => name), ".names"].join("\0")}\0`);
  const head = Buffer.alloc(64);
  head.writeUInt32BE(0x7f454c46, 0);
  head.set([2, 1], 4);
  head.writeUInt16LE(2, 16);
  const table = Buffer.alloc((sections.length + 1) * 64);
  for (const [index, { name, address, size }] of sections.entries()) {
    table.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, index * 64);
    table.writeBigUInt64LE(address, index * 64 + 16);
    table.writeBigUInt64LE(size, index * 64 + 32);
  }
  const last = sections.length * 64;
  table.writeBigUInt64LE(64n, last + 24);
  table.writeBigUInt64LE(BigInt(names.length), last + 32);
  head.writeBigUInt64LE(BigInt(64 + names.length), 40);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(sections.length + 1, 60);
  head.writeUInt16LE(sections.length, 62);
  change(head);
  const file = Buffer.concat([head, names, table]);
  return (offset, sizeBytes) => file.subarray(Number(offset), Number(offset) + sizeBytes);
}

const text = { name: ".text", address: 0x1000n, size: 0x800n };
const bundle = { name: ".bun", address: 0x20000n, size: 0x3fffn };

test("programSection() finds the whole pages of the section of the program", () => {
  const whole = { start: 0x20000n, end: 0x23000n };
  expect(programSection(program([text, bundle]))).toEqual(whole);
  expect(programSection(program([bundle, text]))).toEqual(whole);
  const odd = { ...bundle, address: 0x20010n };
  expect(programSection(program([odd]))).toEqual({ start: 0x21000n, end: 0x24000n });
});

const noPrograms: readonly (readonly [string, ReturnType<typeof program>])[] = [
  ["an empty file", () => Buffer.alloc(0)],
  ["a script", () => Buffer.from("#!/bin/sh\n".repeat(20))],
  ["a program without the section", program([text, { ...bundle, name: ".bunny" }])],
  ["one with less than a page of it", program([{ ...bundle, size: 0xfffn }])],
  ["one for 32 bits", program([bundle], (head) => head.writeUInt8(1, 4))],
  ["one of the other byte order", program([bundle], (head) => head.writeUInt8(2, 5))],
  ["one that is loaded anywhere", program([bundle], (head) => head.writeUInt16LE(3, 16))],
  ["headers of another size", program([bundle], (head) => head.writeUInt16LE(40, 58))],
  ["more headers than anybody has", program([bundle], (head) => head.writeUInt16LE(65_535, 60))],
  ["names that are not there", program([bundle], (head) => head.writeUInt16LE(77, 62))],
  ["headers behind its end", program([bundle], (head) => head.writeBigUInt64LE(2n ** 40n, 40))],
];
for (const [what, read] of noPrograms) {
  test(`programSection() finds nothing in ${what}`, () => {
    expect(programSection(read)).toBeUndefined();
  });
}

test("programSection() survives heads of noise", () => {
  let seed = 7;
  const next = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed >>> 16;
  };
  for (let round = 0; round < 500; round += 1) {
    const read = program([text, bundle], (head) => {
      for (let count = next() % 6; count >= 0; count -= 1) {
        head.writeUInt8(next() & 0xff, 16 + (next() % 48));
      }
    });
    expect(() => programSection(read)).not.toThrow();
  }
});

const residentKb = (): number =>
  Number(/RssFile:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

test("releaseFilePages() gives pages back, and the program goes on", () => {
  const before = residentKb();
  for (let round = 0; round < 3; round += 1) {
    releaseFilePages();
    expect(residentKb()).toBeLessThan(before);
  }
  expect(JSON.parse('{"still": ["here"]}')).toEqual({ still: ["here"] });
});
