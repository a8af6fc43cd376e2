import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { decodeByteString, encodeByteString, type TarHeader } from "./tar-header.ts";
import { type TarLimits, TarReader } from "./tar-reader.ts";
import { encodeTar, encodeTarHeader, type TarHeaderInput } from "./tar-writer.ts";

interface Read {
  readonly header: TarHeader;
  readonly content: Buffer;
}

const roomy: TarLimits = { sizeMaxBytes: 1e9 };

function read(bytes: Uint8Array, options: { limits?: TarLimits; step?: number } = {}): Read[] {
  const entries: Read[] = [];
  const handler = {
    entry(header: TarHeader) {
      const parts: Buffer[] = [];
      return {
        write: (part: Uint8Array) => void parts.push(Buffer.from(part)),
        end: () => void entries.push({ header, content: Buffer.concat(parts) }),
      };
    },
  };
  const reader = new TarReader(handler, options.limits ?? roomy);
  const step = options.step ?? Math.max(bytes.length, 1);
  for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
  reader.end();
  return entries;
}

/** An extended header with content as it is, for archives that no writer of ours makes. */
function meta(typeFlag: string, content: string): Uint8Array {
  const bytes = Buffer.from(content, "latin1");
  const whole = Buffer.from(
    encodeTar([{ header: { name: "meta" }, content: bytes }]).slice(0, -1024),
  );
  whole.write(typeFlag, 156, "latin1");
  return sum(whole);
}

function record(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  const length = [2, 3]
    .map((digits) => body.length + digits)
    .find((n) => `${n}`.length + body.length === n);
  return `${length}${body}`;
}

function sum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  let total = 0;
  for (const byte of block.subarray(0, 512)) total += byte;
  block.write(`${total.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

const end = new Uint8Array(1024);
const file = (name = "f", content = "hello"): Uint8Array =>
  encodeTar([{ header: { name }, content }]).slice(0, -1024);
const archive = (...parts: Uint8Array[]): Buffer => Buffer.concat([...parts, end]);

describe("round trip", () => {
  const inputs: [string, TarHeaderInput][] = [
    ["a plain file", { name: "etc/passwd", mode: 0o4755, uid: 1, gid: 2, userName: "bin" }],
    ["a directory", { name: "etc/", type: "directory", mode: 0o1777 }],
    ["a symlink", { name: "l", type: "symlink", linkName: "../x" }],
    ["a hard link", { name: "h", type: "hardlink", linkName: "etc/passwd" }],
    ["a device", { name: "null", type: "char", devMajor: 1, devMinor: 3 }],
    ["a fifo", { name: "p", type: "fifo" }],
    ["a name for the prefix", { name: `${"d/".repeat(60)}file` }],
    ["a name too long for ustar", { name: "n".repeat(300) }],
    ["a name that is UTF-8", { name: encodeByteString("ünï/容器") }],
    ["a name that is no UTF-8", { name: "caf\xe9\xff" }],
    ["a long link target", { name: "l", type: "symlink", linkName: "t/".repeat(200) }],
    ["a big owner", { name: "f", uid: 4_000_000_000, gid: 3_000_000 }],
    ["a time with a fraction", { name: "f", mtimeNs: 1_600_000_000_123_456_789n }],
    ["a time before 1970", { name: "f", mtimeNs: -1_500_000_000n }],
    ["a time after 2242", { name: "f", mtimeNs: 9_000_000_000n * 1_000_000_000n }],
    [
      "binary attributes",
      { name: "f", xattrs: new Map([["user.b", Buffer.from([0, 10, 61, 255])]]) },
    ],
    ["other PAX records", { name: "f", paxRecords: new Map([["VENDOR.key", "v"]]) }],
  ];
  test.each(inputs)("keeps %s", (_title, input) => {
    const [entry] = read(encodeTar([{ header: input, content: "" }]), { step: 77 });
    const { xattrs: _xattrs, paxRecords: _records, ...plain } = input;
    expect(entry?.header).toMatchObject(plain);
    for (const [name, value] of input.xattrs ?? []) {
      expect(entry?.header.xattrs.get(name)).toEqual(Buffer.from(value));
    }
    for (const [key, value] of input.paxRecords ?? []) {
      expect(entry?.header.paxRecords.get(key)).toBe(value);
    }
  });

  test("does not depend on how the archive is cut", () => {
    const bytes = encodeTar(
      inputs.map(([title, header]) => ({ header, content: header.type ? "" : title.repeat(99) })),
    );
    const whole = read(bytes);
    for (const step of [1, 13, 511, 512, 513, 4_096]) expect(read(bytes, { step })).toEqual(whole);
  });

  test("holds for any name and content", () => {
    const name = fc
      .uint8Array({ minLength: 1, maxLength: 300 })
      .map((bytes) => Buffer.from(bytes).toString("latin1").replaceAll("\0", "x"))
      .filter((text) => !text.endsWith("/"));
    const check = fc.property(name, fc.uint8Array({ maxLength: 1_500 }), (text, content) => {
      const [entry] = read(encodeTar([{ header: { name: text }, content }]), { step: 100 });
      return entry?.header.name === text && entry.content.equals(Buffer.from(content));
    });
    fc.assert(check, { seed: 31, numRuns: 150 });
  });

  test("the same input gives the same bytes", () => {
    const xattrs = new Map([
      ["b", Buffer.from("1")],
      ["a", Buffer.from("2")],
    ]);
    const reversed = new Map([...xattrs].reverse());
    expect(encodeTarHeader({ name: "f", xattrs })).toEqual(
      encodeTarHeader({ name: "f", xattrs: reversed }),
    );
  });
});

describe("accepts", () => {
  test("GNU long names and links", () => {
    const bytes = archive(
      meta("L", `${"n".repeat(200)}\0`),
      meta("K", `${"t".repeat(200)}\0`),
      file(),
    );
    expect(read(bytes)[0]?.header.name).toBe("n".repeat(200));
  });
  test("numbers in base 256, negative ones too", () => {
    const block = Buffer.from(encodeTarHeader({ name: "f" }));
    block.fill(0xff, 136, 148);
    block.fill(0, 108, 116).writeUInt32BE(3_000_000_000, 112);
    block[108] = 0x80;
    const [entry] = read(archive(sum(block)));
    expect(entry?.header.mtimeNs).toBe(-1_000_000_000n);
    expect(entry?.header.uid).toBe(3_000_000_000);
  });
  test("attributes in base 64 under a quoted name", () => {
    const bytes = archive(meta("x", record("LIBARCHIVE.xattr.user.a%20b", "AAH/")), file());
    expect(read(bytes)[0]?.header.xattrs.get("user.a b")).toEqual(Buffer.from([0, 1, 255]));
  });
  test("global headers, without effect", () => {
    const bytes = archive(meta("g", record("path", "evil")), file());
    expect(read(bytes)[0]?.header.name).toBe("f");
  });
  test("an archive that just stops, and an empty one", () => {
    expect(read(file()).length).toBe(1);
    expect(read(new Uint8Array()).length).toBe(0);
  });
  test("rubbish behind the end, and ignores it", () => {
    expect(
      read(Buffer.concat([archive(file()), Buffer.from("rubbish"), file("late")])).length,
    ).toBe(1);
  });
  test("V7's directory: a file whose name ends in a slash", () => {
    expect(read(archive(file("d/", "")))[0]?.header.type).toBe("directory");
  });
  test("unknown types, and skips their content", () => {
    const block = Buffer.from(file("v", "x".repeat(600)));
    block.write("V", 156, "latin1");
    const entries = read(archive(sum(block), file()));
    expect(entries.map(({ header }) => header.type)).toEqual(["other", "file"]);
  });
  test("a link with a size, which has no content all the same", () => {
    const block = Buffer.from(
      encodeTarHeader({ name: "h", type: "hardlink", linkName: "f", sizeBytes: 99 }),
    );
    expect(read(archive(block, file())).map(({ header }) => header.sizeBytes)).toEqual([0, 5]);
  });
});

describe("refuses", () => {
  const negative = Buffer.from(encodeTarHeader({ name: "f" }));
  negative.fill(0xff, 124, 136);
  const huge = Buffer.from(encodeTarHeader({ name: "f" }));
  huge.fill(0x7f, 124, 136)[124] = 0x80;
  const letters = Buffer.from(encodeTarHeader({ name: "f" }));
  letters.write("12x", 100, "latin1");
  const rows: [string, Uint8Array, string][] = [
    ["a wrong checksum", archive(Buffer.alloc(512, 0x61)), "tar entry 1: "],
    ["a header cut", file().subarray(0, 300), "unexpected end of the archive"],
    ["content cut", file().subarray(0, 514), 'tar entry 1 "f": unexpected end of the archive'],
    ["an extended header cut", meta("L", "abc").subarray(0, 513), "unexpected end of the archive"],
    ["an extended header alone", meta("L", "abc"), "unexpected end of the archive"],
    ["an extended header before the end", archive(meta("L", "abc")), "has no entry"],
    ["a lone zero block", archive(file(), new Uint8Array(512), file()), "a lone zero block"],
    ["a negative size", archive(sum(negative)), "the size is negative"],
    ["a size beyond all", archive(sum(huge)), "out of range"],
    ["a mode that is no number", archive(sum(letters)), "the mode is not octal"],
    ["an empty name", archive(encodeTarHeader({ name: "" })), "the name is empty"],
    ["a name too long", archive(meta("L", "n".repeat(5_000)), file()), "longer than 4096 bytes"],
    ["NUL in a name", archive(meta("x", record("path", "a\0b")), file()), "NUL"],
    ["a PAX record without end", archive(meta("x", "99 path=a\n"), file()), "malformed"],
    ["a PAX record without key", archive(meta("x", "5 =a\n"), file()), "malformed"],
    ["a PAX record without length", archive(meta("x", "path=a\n"), file()), "malformed"],
    ["a PAX size that is none", archive(meta("x", record("size", "-1")), file()), "negative"],
    ["a PAX owner that is none", archive(meta("x", record("uid", "0x10")), file()), "not a number"],
    [
      "a PAX owner beyond all",
      archive(meta("x", record("uid", "4294967295")), file()),
      "out of range",
    ],
    ["a PAX time that is none", archive(meta("x", record("mtime", "now")), file()), "not a time"],
    ["a directory with content", archive(file("d/", "x")), "a directory has content"],
    [
      "a sparse map without size",
      archive(meta("x", record("GNU.sparse.map", "0,5")), file()),
      "no size",
    ],
    [
      "a sparse map out of order",
      archive(
        meta("x", record("GNU.sparse.map", "9,2,0,3") + record("GNU.sparse.size", "99")),
        file(),
      ),
      "out of order",
    ],
    [
      "a sparse map larger than the content",
      archive(meta("x", record("GNU.sparse.map", "0,9") + record("GNU.sparse.size", "99")), file()),
      "does not fit",
    ],
  ];
  test.each(rows)("%s", (_title, bytes, sentence) => {
    expect(() => read(bytes)).toThrow(sentence);
    expect(() => read(bytes, { step: 100 })).toThrow(sentence);
  });

  test("more than its limits", () => {
    const two = archive(file("a"), file("b"));
    expect(() => read(two, { limits: { ...roomy, entriesMax: 1 } })).toThrow("more than 1 entries");
    expect(() => read(two, { limits: { sizeMaxBytes: 100 } })).toThrow("more than 100 bytes");
    expect(() => read(two, { limits: { ...roomy, nameMaxBytes: 0 } })).toThrow(
      "longer than 0 bytes",
    );
    const long = archive(meta("L", "x".repeat(50)), file());
    expect(() => read(long, { limits: { ...roomy, paxMaxBytes: 10 } })).toThrow(
      "more than 10 bytes",
    );
  });

  test("a sparse file whose holes pass the limit", () => {
    const map = record("GNU.sparse.map", "0,5") + record("GNU.sparse.size", "9000000000");
    expect(() => read(archive(meta("x", map), file()))).toThrow("the files have more than");
  });

  test("with names made safe to print", () => {
    const bytes = archive(file("\u001b[31m", "x")).subarray(0, 1_536);
    expect(() => read(bytes)).toThrow('tar entry 1 "\\u001b[31m": unexpected end');
  });

  test("any damage with a sentence, never with another failure", () => {
    const sound = encodeTar([
      {
        header: { name: "n".repeat(300), xattrs: new Map([["a", Buffer.from("b")]]) },
        content: "x",
      },
      { header: { name: "l", type: "symlink", linkName: "t" } },
    ]);
    const flips = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 6,
    });
    const check = fc.property(flips, (changes) => {
      const bytes = Buffer.from(sound);
      for (const [at, value] of changes) bytes[at] = value;
      for (const at of [0, 1024, 1536, 2048]) sum(bytes.subarray(at, at + 512) as Buffer);
      try {
        read(bytes, { step: 700 });
      } catch (error) {
        return error instanceof Error && error.message.startsWith("tar entry ");
      }
      return true;
    });
    fc.assert(check, { seed: 32, numRuns: 500 });
  });
});

describe("GNU tar's archives", () => {
  const root = (): string => mkdtempSync(join(tmpdir(), "tug-tar-"));
  const formats = ["gnu", "pax", "ustar", "v7"];
  test.each(formats)("of format %s read the same", (format) => {
    const folder = root();
    try {
      writeFileSync(join(folder, "file"), "content");
      const made = spawnSync("tar", ["--format", format, "-C", folder, "-cf", "-", "./file"]);
      expect(made.status).toBe(0);
      const [entry] = read(made.stdout, { step: 1_000 });
      expect(entry?.header.name).toBe("./file");
      expect(entry?.content.toString()).toBe("content");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const sparse = [
    ["gnu", ""],
    ["pax", "0.0"],
    ["pax", "0.1"],
    ["pax", "1.0"],
  ] as const;
  test.each(sparse)("keep sparse files: %s %s", (format, version) => {
    const folder = root();
    try {
      const path = join(folder, "sparse");
      writeFileSync(path, "");
      truncateSync(path, 3_000_000);
      for (let index = 0; index < 12; index += 1) {
        spawnSync("dd", [
          "if=/etc/passwd",
          `of=${path}`,
          "bs=512",
          "count=1",
          "conv=notrunc",
          `seek=${index * 400}`,
        ]);
      }
      const versions = version === "" ? [] : [`--sparse-version=${version}`];
      const args = ["--format", format, ...versions, "-S", "-C", folder, "-cf", "-", "sparse"];
      const made = spawnSync("tar", args, { maxBuffer: 1e8 });
      expect(made.stdout.length).toBeLessThan(1_000_000);
      const [entry] = read(made.stdout, { step: 999 });
      expect(entry?.header).toMatchObject({ name: "sparse", type: "file", sizeBytes: 3_000_000 });
      expect(entry?.content.equals(readFileSync(path))).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("and GNU tar reads ours", () => {
    const name = `${encodeByteString("ü")}/${"n".repeat(200)}`;
    const bytes = encodeTar([
      { header: { name, uid: 9_999_999, mtimeNs: 1_500_000_001n }, content: "x" },
    ]);
    const listed = spawnSync("tar", ["--quoting-style=literal", "-tvf", "-"], { input: bytes });
    expect(listed.stderr.toString()).toBe("");
    expect(listed.stdout.toString()).toContain(decodeByteString(name));
    expect(listed.stdout.toString()).toContain("9999999");
  });
});
