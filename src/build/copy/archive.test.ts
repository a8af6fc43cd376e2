import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TarItem, tarOf } from "./_tar-fixture.ts";
import { exists, makeTree, openTestFolder, showTree } from "./_copy-fixture.ts";
import { copySteps } from "./_copy-steps.ts";

const isRoot = process.getuid?.() === 0;

/** The archive of the rows below. */
const own: readonly TarItem[] = [
  { name: "dd/", type: "directory", mode: 0o700, uid: 5, gid: 5, mtimeS: 1_000_000 },
  { name: "dd/file", mode: 0o4755, uid: 6, gid: 6, mtimeS: 1_000_001, content: "x" },
  { name: "imp/li/cit", mode: 0o600, uid: 7, gid: 7, mtimeS: 1_000_002, content: "x" },
  { name: ".wh.foo", mode: 0o644, mtimeS: 1_000_003, content: "x" },
  { name: "tl/inside", mode: 0o644, mtimeS: 1_000_004, content: "x" },
  { name: "dd/hl", type: "hardlink", linkName: "dd/file", mode: 0o644, mtimeS: 0 },
  { name: "sl", type: "symlink", linkName: "dd/file", uid: 8, mtimeS: 1_000_005 },
];

interface Row {
  readonly base?: readonly string[];
  readonly chown?: string;
  readonly chmod?: string;
  readonly destination?: string;
  readonly items?: readonly TarItem[];
  readonly gives: readonly string[] | string;
}

const plain = [
  "o/.wh.foo 644 0:0 1000003 x",
  "o/dd/ 700 5:5 1000000",
  "o/dd/file 644 0:0 0 x x2",
  "o/dd/hl 644 0:0 0 x x2",
];

/** Rows with the archive above are what Docker 28.5 makes of it. */
const rows: readonly (readonly [string, Row])[] = [
  [
    "an archive",
    {
      gives: [
        "o/ 755 0:0 now",
        ...plain,
        "o/imp/ 755 0:0 now",
        "o/imp/li/ 755 0:0 now",
        "o/imp/li/cit 600 7:7 1000002 x",
        "o/sl -> dd/file link 8:0 1000005",
        "o/tl/ 755 0:0 now",
        "o/tl/inside 644 0:0 1000004 x",
      ],
    },
  ],
  [
    "an archive with --chown and --chmod, which is for files alone",
    {
      chown: "9:9",
      chmod: "640",
      gives: [
        "o/ 755 9:9 now",
        "o/.wh.foo 644 9:9 1000003 x",
        "o/dd/ 700 9:9 1000000",
        "o/dd/file 644 9:9 0 x x2",
        "o/dd/hl 644 9:9 0 x x2",
        "o/imp/ 755 0:0 now",
        "o/imp/li/ 755 0:0 now",
        "o/imp/li/cit 600 9:9 1000002 x",
        "o/sl -> dd/file link 9:9 1000005",
        "o/tl/ 755 0:0 now",
        "o/tl/inside 644 9:9 1000004 x",
      ],
    },
  ],
  [
    "an archive over folders and links",
    {
      base: ["o/dd/ 777", "o/w/", "o/sl/", "o/sl/old 644 0:0 1 y", "o/tl -> w", "o/imp -> w"],
      gives: [
        "o/ 755 0:0 now",
        ...plain,
        "o/imp -> w link 0:0 1000000000",
        "o/sl -> dd/file link 8:0 1000005",
        "o/tl -> w link 0:0 1000000000",
        "o/w/ 755 0:0 now",
        "o/w/inside 644 0:0 1000004 x",
        "o/w/li/ 755 0:0 now",
        "o/w/li/cit 600 7:7 1000002 x",
      ],
    },
  ],
  [
    "an archive over an absolute link, which starts at the folder",
    {
      base: ["o/w/", "o/w/o/", "o/w/o/w/", "o/tl -> /o/w", "o/imp/", "o/dd/"],
      items: [{ name: "tl/inside", mode: 0o644, mtimeS: 1_000_004, content: "x" }],
      gives: [
        "o/ 755 0:0 now",
        "o/dd/ 755 0:0 1000000000",
        "o/imp/ 755 0:0 1000000000",
        "o/o/ 755 0:0 now",
        "o/o/w/ 755 0:0 now",
        "o/o/w/inside 644 0:0 1000004 x",
        "o/tl -> /o/w link 0:0 1000000000",
        "o/w/ 755 0:0 1000000000",
        "o/w/o/ 755 0:0 1000000000",
        "o/w/o/w/ 755 0:0 1000000000",
      ],
    },
  ],
  ["an archive onto a file", { base: ["o 644 0:0 1 k"], gives: "mkdir /o: not a directory" }],
  [
    "a folder over a link that hides a folder below",
    {
      base: ["o/d/below 644 0:0 1 k"],
      items: [
        { name: "d", type: "symlink", linkName: "/etc" },
        { name: "d/", type: "directory", mode: 0o755, mtimeS: 5 },
        { name: "d/f", content: "x", mtimeS: 6, mode: 0o644 },
      ],
      gives: ["o/ 755 0:0 now", "o/d/ 755 0:0 5", "o/d/f 644 0:0 6 x"],
    },
  ],
  [
    "a link to a file of a layer below, which stays what it is",
    {
      base: ["o/f 600 3:3 1 below"],
      items: [{ name: "g", type: "hardlink", linkName: "f", mode: 0o640, mtimeS: 7 }],
      gives: ["o/ 755 0:0 now", "o/f 640 0:0 7 below x2", "o/g 640 0:0 7 below x2"],
    },
  ],
];

/** What must neither be written nor read. */
const hostile: readonly (readonly [string, readonly TarItem[], string | undefined])[] = [
  ["a name that leads out", [{ name: "../../evil", content: "x" }], "leads out of the folder"],
  [
    "a link's name that leads out",
    [{ name: "a", type: "hardlink", linkName: "../../secret" }],
    "leads out",
  ],
  [
    "a file through a link that leads out",
    [
      { name: "l", type: "symlink", linkName: "../../../../../../../../tmp" },
      { name: "l/evil", content: "x" },
    ],
    undefined,
  ],
  [
    "a file through an absolute link",
    [
      { name: "l", type: "symlink", linkName: "/" },
      { name: "l/evil", content: "x" },
    ],
    undefined,
  ],
  [
    "a hard link to what a link leads to",
    [
      { name: "l", type: "symlink", linkName: "/../../secret" },
      { name: "h", type: "hardlink", linkName: "l" },
      { name: "h", content: "x" },
    ],
    undefined,
  ],
  [
    "links that lead to each other",
    [
      { name: "a", type: "symlink", linkName: "b" },
      { name: "b", type: "symlink", linkName: "a" },
      { name: "a/f", content: "x" },
    ],
    "too many links",
  ],
  ["a whiteout device", [{ name: "w", type: "char" }], "0:0 is not permitted"],
  [
    "a hard link to a folder",
    [
      { name: "d/", type: "directory" },
      { name: "h", type: "hardlink", linkName: "d" },
    ],
    "a hard link to a directory",
  ],
  ["a name too long for the disk", [{ name: "n".repeat(300), content: "x" }], "File name too long"],
  ["a hard link to nothing", [{ name: "h", type: "hardlink", linkName: "no" }], "does not exist"],
  [
    "a hard link to itself",
    [
      { name: "h", content: "x" },
      { name: "h", type: "hardlink", linkName: "h" },
    ],
    "a link to itself",
  ],
];

describe.skipIf(!isRoot)("ADD of archives (needs root)", () => {
  test.each(rows)("unpacks %s", async (_name, row) => {
    using folder = openTestFolder();
    const adding = add(folder.path, tarOf(row.items ?? own), row);
    if (typeof row.gives === "string") {
      await expect(adding).rejects.toThrow(row.gives);
      return;
    }
    expect(await adding).toEqual([...row.gives]);
  });

  test.each(hostile)("%s stays inside", async (_name, items, sentence) => {
    using folder = openTestFolder();
    const secret = join(folder.path, "secret");
    writeFileSync(secret, "secret");
    const adding = add(folder.path, tarOf(items), {});
    if (sentence === undefined) await adding;
    else await expect(adding).rejects.toThrow(sentence);
    expect(readFileSync(secret, "utf8")).toBe("secret");
    expect([exists("/tmp/evil"), exists("/evil"), exists(join(folder.path, "evil"))]).toEqual([
      false,
      false,
      false,
    ]);
  });

  test.each(["gzip", "bzip2", "xz", "zstd", "none"])("unpacks %s", async (kind) => {
    using folder = openTestFolder();
    const tar = tarOf([{ name: "f", content: "x".repeat(100_000), mode: 0o644, mtimeS: 5 }]);
    const packed = kind === "none" ? tar : pack(kind, tar);
    expect(await add(folder.path, packed, {})).toEqual([
      "o/ 755 0:0 now",
      "o/f 644 0:0 5 100000 bytes",
    ]);
  });

  test.each(["gzip", "bzip2", "xz", "zstd"])("copies %s of what is no archive", async (kind) => {
    using folder = openTestFolder();
    const packed = pack(kind, Buffer.from("no archive ".repeat(100)));
    const shown = await add(folder.path, packed, {});
    expect(shown).toHaveLength(2);
    expect(shown[1]).toStartWith("o/a.tar 644 0:0 978307200");
  });

  test.each(["gzip", "bzip2", "xz", "zstd"])("refuses %s that is cut", async (kind) => {
    using folder = openTestFolder();
    // Random, so that it is long when packed as well.
    const content = randomBytes(600_000).toString("hex");
    const packed = pack(
      kind,
      tarOf([
        { name: "f", content },
        { name: "g", content },
      ]),
    );
    await expect(add(folder.path, packed.subarray(0, packed.length - 5000), {})).rejects.toThrow(
      /unpack "\/a.tar"|unexpected/,
    );
  });

  test("copies a packed file that is damaged from its beginning on as it is", async () => {
    using folder = openTestFolder();
    const packed = pack("zstd", tarOf([{ name: "f", content: "x" }]));
    expect(await add(folder.path, packed.subarray(0, packed.length - 8), {})).toHaveLength(2);
  });

  test("copies empty files, short ones and damaged headers as they are", async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from("abc"), Buffer.alloc(1024), damaged()]) {
      using folder = openTestFolder();
      expect(await add(folder.path, bytes, {})).toHaveLength(2);
    }
  });
});

function damaged(): Buffer {
  const tar = Buffer.from(tarOf([{ name: "f", content: "x" }]));
  tar[0] = 0x67;
  return tar;
}

function pack(kind: string, bytes: Uint8Array): Buffer {
  const done = spawnSync(kind, ["-1", "-c"], { input: bytes, maxBuffer: 1024 ** 3 });
  if (done.status !== 0) throw new Error(`${kind}: ${done.stderr}`);
  return done.stdout;
}

async function add(path: string, archive: Uint8Array, row: Partial<Row>): Promise<string[]> {
  const base = makeTree(join(path, "l/base"), row.base ?? []);
  const upper = makeTree(join(path, "u/fs"), []);
  const source = makeTree(join(path, "source"), ["a.tar 644 0:0 978307200"]);
  writeFileSync(join(source, "a.tar"), archive);
  spawnSync("touch", ["-d", "@978307200", join(source, "a.tar")]);
  const tree = { kind: "folder", path: source } as const;
  await copySteps({
    target: { type: "overlay", lowerDirs: [base], upperDir: upper, isReadOnly: false },
    steps: [
      {
        kind: "copy",
        sources: [
          {
            kind: "files",
            selection: { tree, paths: ["a.tar"], excludes: [], hasParents: false },
            unpack: "archives",
          },
        ],
        destination: "/o/",
        resetsOwners: true,
        ...(row.chown === undefined ? {} : { chown: row.chown }),
        ...(row.chmod === undefined ? {} : { chmod: row.chmod }),
      },
    ],
  });
  return showTree([upper, base]);
}
