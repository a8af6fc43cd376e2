import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { makeTree, openTestFolder, showTree } from "./_copy-fixture.ts";
import { copySteps } from "./_copy-steps.ts";
import type { CopyStep } from "./copy.ts";

const isRoot = process.getuid?.() === 0;

/** The context of all rows below. */
const context = [
  "a/ 755 0:0 978307200",
  "a/b/ 700 0:0 978307201",
  "a/b/c/ 755 0:0 978307202",
  "a/b/c/f.txt 644 0:0 978307203 1",
  "a/g.txt 644 0:0 978307204 2",
  "x/ 755 0:0 978307205",
  "x/h.txt 644 0:0 978307206 3",
  "top.txt 644 0:0 978307207 4",
  "la -> a/b - 0:0 978307208",
  "xdir/ 755 0:0 978307209",
  "xdir/l -> ../top.txt - 0:0 978307210",
];
/** A stage, whose owners are kept. */
const stage = [
  "s/ 755 0:0 978307300",
  "s/d/ 2770 11:12 978307301",
  "s/d/e/ 755 11:12 978307302",
  "s/d/e/x 644 0:0 978307303 2",
  "s/f 4750 11:12 978307304 1",
  "s/f2 = s/f",
  "s/ld -> d - 13:14 978307305",
  "s/lf -> /s/f - 0:0 978307306",
  "s/esc -> ../../../../../../etc/passwd - 0:0 978307307",
  "s/fifo | 644 0:0 978307308",
  "s/loop -> loop - 0:0 978307309",
  "etc/passwd 644 0:0 978307310 root:x:0:0",
];
const passwd = "etc/passwd 644 0:0 978307200 nobody:x:65534:65533::/:";

interface Row {
  readonly base?: readonly string[];
  readonly copy: string;
  readonly from?: "stage";
  /** Lines of /o and below; or the sentence of a failure. */
  readonly gives: readonly string[] | string;
}

/** What Docker 28.5 (BuildKit) makes of the same, recorded by listing /o in a RUN behind it. */
const rows: readonly Row[] = [
  { copy: "nofile /o/", gives: '"/nofile": not found' },
  { copy: "*.none /o/", gives: [] },
  { copy: "top.txt nofile /o/", gives: '"/nofile": not found' },
  { copy: "../../top.txt /o/", gives: ["o/ 755 0:0 now", "o/top.txt 644 0:0 978307207 4"] },
  { copy: "a\\*b /o/", gives: '"/a\\\\*b": not found' },
  {
    copy: "la /o/",
    gives: ["o/ 755 0:0 978307201", "o/c/ 755 0:0 978307202", "o/c/f.txt 644 0:0 978307203 1"],
  },
  { copy: "la/c/f.txt /o/", gives: ["o/ 755 0:0 now", "o/f.txt 644 0:0 978307203 1"] },
  {
    copy: "l* /o/",
    gives: ["o/ 755 0:0 978307201", "o/c/ 755 0:0 978307202", "o/c/f.txt 644 0:0 978307203 1"],
  },
  {
    copy: "a x /o/",
    gives: [
      "o/ 755 0:0 978307205",
      "o/b/ 700 0:0 978307201",
      "o/b/c/ 755 0:0 978307202",
      "o/b/c/f.txt 644 0:0 978307203 1",
      "o/g.txt 644 0:0 978307204 2",
      "o/h.txt 644 0:0 978307206 3",
    ],
  },
  { copy: "a/*/c /o/", gives: ["o/ 755 0:0 978307202", "o/f.txt 644 0:0 978307203 1"] },
  { copy: "top.txt x /o", gives: "cannot copy to non-directory: /o" },
  { copy: "xdir/l /o/", gives: ["o/ 755 0:0 now", "o/l 644 0:0 978307207 4"] },
  { copy: "xdir /o/", gives: ["o/ 755 0:0 978307209", "o/l -> ../top.txt link 0:0 978307210"] },
  {
    base: ["o/ 755 0:0 915148800", "o/real/ 700 0:0 915148800", "o/s -> real"],
    copy: "x /o/s",
    gives: [
      "o/ 755 0:0 915148800",
      "o/real/ 700 0:0 978307205",
      "o/real/h.txt 644 0:0 978307206 3",
      "o/s -> real link 0:0 1000000000",
    ],
  },
  {
    base: ["o/ 755 0:0 915148800", "o/real/ 700 0:0 915148800", "o/s -> real"],
    copy: "x /o/s/",
    gives: [
      "o/ 755 0:0 915148800",
      "o/real/ 700 0:0 978307205",
      "o/real/h.txt 644 0:0 978307206 3",
      "o/s -> real link 0:0 1000000000",
    ],
  },
  {
    base: ["o/tgt 600 3:3 1 zz", "o/s -> tgt"],
    copy: "top.txt /o/s",
    gives: ["o/ 755 0:0 now", "o/s -> tgt link 0:0 1000000000", "o/tgt 644 0:0 978307207 4"],
  },
  {
    base: ["o/s -> nowhere/far"],
    copy: "top.txt /o/s",
    gives: [
      "o/ 755 0:0 now",
      "o/nowhere/ 755 0:0 now",
      "o/nowhere/far 644 0:0 978307207 4",
      "o/s -> nowhere/far link 0:0 1000000000",
    ],
  },
  {
    base: ["o/s -> nowhere/far"],
    copy: "top.txt /o/s/",
    gives: [
      "o/ 755 0:0 now",
      "o/nowhere/ 755 0:0 now",
      "o/nowhere/far/ 755 0:0 now",
      "o/nowhere/far/top.txt 644 0:0 978307207 4",
      "o/s -> nowhere/far link 0:0 1000000000",
    ],
  },
  {
    base: ["o/s -> nowhere/far"],
    copy: "x /o/s",
    gives: [
      "o/ 755 0:0 now",
      "o/nowhere/ 755 0:0 now",
      "o/nowhere/far/ 755 0:0 978307205",
      "o/nowhere/far/h.txt 644 0:0 978307206 3",
      "o/s -> nowhere/far link 0:0 1000000000",
    ],
  },
  {
    base: ["o/w/", "o/s -> ../../../../o/w"],
    copy: "x /o/s",
    gives: [
      "o/ 755 0:0 now",
      "o/s -> ../../../../o/w link 0:0 1000000000",
      "o/w/ 755 0:0 978307205",
      "o/w/h.txt 644 0:0 978307206 3",
    ],
  },
  {
    base: ["o/top.txt/"],
    copy: "top.txt /o/",
    gives: "cannot replace to directory /o/top.txt with file",
  },
  { base: ["o/h.txt/"], copy: "x /o/", gives: "cannot replace to directory /o/h.txt with file" },
  { base: ["o/b 644 0:0 1 k"], copy: "a /o/", gives: "cannot copy to non-directory: /o/b" },
  { base: ["o/b 644 0:0 1 k"], copy: "top.txt /o/b/", gives: "mkdir /o/b: not a directory" },
  {
    base: ["o/w/ 777 3:4", "o/b -> w"],
    copy: "a /o/",
    gives: "cannot copy to non-directory: /o/b",
  },
  {
    base: ["o/ 755 3:4", "o/b/ 777 3:4", "o/b/k 644 0:0 1 k"],
    copy: "a /o/",
    gives: [
      "o/ 755 3:4 978307200",
      "o/b/ 700 0:0 978307201",
      "o/b/c/ 755 0:0 978307202",
      "o/b/c/f.txt 644 0:0 978307203 1",
      "o/b/k 644 0:0 1 k",
      "o/g.txt 644 0:0 978307204 2",
    ],
  },
  {
    base: ["o/ 777 3:4", "o/b/ 777 3:4", "o/b/k 644 0:0 1 k"],
    copy: "--chown=5:6 --chmod=750 a /o/",
    gives: [
      "o/ 777 3:4 978307200",
      "o/b/ 750 5:6 978307201",
      "o/b/c/ 750 5:6 978307202",
      "o/b/c/f.txt 750 5:6 978307203 1",
      "o/b/k 644 0:0 1 k",
      "o/g.txt 750 5:6 978307204 2",
    ],
  },
  {
    base: ["o/g.txt -> /w"],
    copy: "a/g.txt /o/",
    gives: ["o/ 755 0:0 now", "o/g.txt 644 0:0 978307204 2"]
      .slice(0, 0)
      .concat(["o/ 755 0:0 now", "o/g.txt 644 0:0 978307204 2"]),
  },
  {
    copy: "--chown=5:6 --chmod=750 top.txt /o/n/m/",
    gives: [
      "o/ 750 5:6 now",
      "o/n/ 750 5:6 now",
      "o/n/m/ 750 5:6 now",
      "o/n/m/top.txt 750 5:6 978307207 4",
    ],
  },
  {
    copy: "--chown=5:6 --chmod=750 top.txt /o/n/m/f",
    gives: [
      "o/ 750 5:6 now",
      "o/n/ 750 5:6 now",
      "o/n/m/ 750 5:6 now",
      "o/n/m/f 750 5:6 978307207 4",
    ],
  },
  {
    copy: "--chmod=u=rwx,go= x /o/p/q/",
    gives: [
      "o/ 755 0:0 now",
      "o/p/ 755 0:0 now",
      "o/p/q/ 755 0:0 978307205",
      "o/p/q/h.txt 700 0:0 978307206 3",
    ],
  },
  {
    copy: "--chown=nobody --chmod=u+x,o-r top.txt /o/f",
    gives: ["o/ 755 65534:65533 now", "o/f 740 65534:65533 978307207 4"],
  },
  { copy: "--chown=nope top.txt /o/f", gives: ["o/ 755 0:0 now", "o/f 644 0:0 978307207 4"] },
  {
    copy: "--chown=nobody:nope top.txt /o/f",
    gives: ["o/ 755 65534:65533 now", "o/f 644 65534:65533 978307207 4"],
  },
  { copy: "--chown=:5 top.txt /o/f", gives: ["o/ 755 0:5 now", "o/f 644 0:5 978307207 4"] },
  { copy: "--chown=7 top.txt /o/f", gives: ["o/ 755 7:7 now", "o/f 644 7:7 978307207 4"] },
  { copy: "--chown=7:nope top.txt /o/f", gives: ["o/ 755 7:7 now", "o/f 644 7:7 978307207 4"] },
  {
    copy: "--chmod=99 top.txt /o/f",
    gives: "invalid chmod parameter: '99'. it should be octal string and between 0 and 07777",
  },
  { copy: "--chmod=u=zz top.txt /o/f", gives: "invalid syntax" },
  { copy: "--exclude=b a /o/", gives: ["o/ 755 0:0 978307200", "o/g.txt 644 0:0 978307204 2"] },
  {
    copy: "--exclude=**/*.txt a /o/",
    gives: ["o/ 755 0:0 978307200", "o/b/ 700 0:0 978307201", "o/b/c/ 755 0:0 978307202"],
  },
  {
    copy: "--exclude=* --exclude=!b/c/f.txt a /o/",
    gives: [
      "o/ 755 0:0 978307200",
      "o/b/ 700 0:0 now",
      "o/b/c/ 755 0:0 now",
      "o/b/c/f.txt 644 0:0 978307203 1",
    ],
  },
  {
    copy: "--exclude=top.txt *.txt /o/",
    gives: ["o/ 755 0:0 now", "o/top.txt 644 0:0 978307207 4"],
  },
  {
    from: "stage",
    copy: "/s /o",
    gives: [
      "o/ 755 0:0 978307300",
      "o/d/ 2770 11:12 978307301",
      "o/d/e/ 755 11:12 978307302",
      "o/d/e/x 644 0:0 978307303 2",
      "o/esc -> ../../../../../../etc/passwd link 0:0 978307307",
      "o/f 4750 11:12 978307304 1 x2",
      "o/f2 4750 11:12 978307304 1 x2",
      "o/fifo | 644 0:0 978307308",
      "o/ld -> d link 13:14 978307305",
      "o/lf -> /s/f link 0:0 978307306",
      "o/loop -> loop link 0:0 978307309",
    ],
  },
  {
    from: "stage",
    copy: "/s/f /s/ld /s/lf /o/",
    gives: [
      "o/ 755 0:0 now",
      "o/e/ 755 11:12 978307302",
      "o/e/x 644 0:0 978307303 2",
      "o/f 4750 11:12 978307304 1",
      "o/lf 4750 11:12 978307304 1",
    ],
  },
  {
    from: "stage",
    copy: "s/esc /o/",
    gives: ["o/ 755 0:0 now", "o/esc 644 0:0 978307310 root:x:0:0"],
  },
  { from: "stage", copy: "s/loop /o/", gives: "too many links" },
  {
    from: "stage",
    copy: "--chown=1:1 /s/d /o",
    gives: ["o/ 755 1:1 978307301", "o/e/ 755 1:1 978307302", "o/e/x 644 1:1 978307303 2"],
  },
  { from: "stage", copy: "/s/ld/e/x /o", gives: ["o 644 0:0 978307303 2"] },
  {
    from: "stage",
    copy: "/s/f /s/f2 /o/",
    gives: ["o/ 755 0:0 now", "o/f 4750 11:12 978307304 1", "o/f2 4750 11:12 978307304 1"],
  },
  {
    from: "stage",
    copy: "/s/*/e /o/",
    gives: ["o/ 755 0:0 978307302", "o/x 644 0:0 978307303 2"],
  },
  {
    from: "stage",
    copy: "/s/ld/* /o/",
    gives: ["o/ 755 0:0 978307302", "o/x 644 0:0 978307303 2"],
  },
  // From here on by fsutil's text: the peer's frontend has no --parents.
  {
    copy: "--parents a/b/c/f.txt top.txt /o/",
    gives: [
      "o/ 755 0:0 now",
      "o/a/ 755 0:0 978307200",
      "o/a/b/ 700 0:0 978307201",
      "o/a/b/c/ 755 0:0 978307202",
      "o/a/b/c/f.txt 644 0:0 978307203 1",
      "o/top.txt 644 0:0 978307207 4",
    ],
  },
  {
    copy: "--parents a/./b/c/*.txt /o/",
    gives: [
      "o/ 755 0:0 978307200",
      "o/b/ 700 0:0 978307201",
      "o/b/c/ 755 0:0 978307202",
      "o/b/c/f.txt 644 0:0 978307203 1",
    ],
  },
  {
    copy: "--parents **/h.txt /o/",
    gives: ["o/ 755 0:0 now", "o/x/ 755 0:0 978307205", "o/x/h.txt 644 0:0 978307206 3"],
  },
  { copy: "--parents a/nofile /o/", gives: '"/a/nofile": not found' },
  { copy: "--parents a/nofile* /o/", gives: ["o/ 755 0:0 now"] },
];

describe.skipIf(!isRoot)("copySteps() does what Docker 28.5 does (needs root)", () => {
  test.each(rows.map((row) => [`${row.base?.join(", ") ?? ""} COPY ${row.copy}`, row] as const))(
    "%s",
    async (_name, row) => {
      using folder = openTestFolder();
      const base = makeTree(join(folder.path, "base"), [passwd, ...(row.base ?? [])]);
      const upper = makeTree(join(folder.path, "upper"), []);
      const source = makeTree(join(folder.path, "source"), row.from === "stage" ? stage : context);
      makeTree(join(folder.path, "work"), []);
      const step = parseCopy(row, source);
      const copying = copySteps({
        target: { type: "overlay", lowerDirs: [base], upperDir: upper, isReadOnly: false },
        steps: [step],
      });
      if (typeof row.gives === "string") {
        await expect(copying).rejects.toThrow(row.gives);
        return;
      }
      await copying;
      const shown = showTree([upper, base]).filter((line) => /^o[ /]/.test(line));
      // Docker: the time of a context's own folder is that of its making.
      expect(shown).toEqual([...row.gives]);
    },
  );
});

function parseCopy(row: Row, source: string): CopyStep {
  const words = row.copy.split(" ");
  const flag = (name: string): string[] =>
    words.flatMap((word) => (word.startsWith(`--${name}=`) ? [word.slice(name.length + 3)] : []));
  const paths = words.filter((word) => !word.startsWith("--"));
  const [chown] = flag("chown");
  const [chmod] = flag("chmod");
  return {
    kind: "copy",
    sources: [
      {
        kind: "files",
        selection: {
          tree: { kind: "folder", path: source },
          paths: paths.slice(0, -1),
          excludes: flag("exclude"),
          hasParents: words.includes("--parents"),
        },
      },
    ],
    destination: paths.at(-1) ?? "",
    resetsOwners: row.from !== "stage",
    ...(chown === undefined ? {} : { chown }),
    ...(chmod === undefined ? {} : { chmod }),
  };
}
