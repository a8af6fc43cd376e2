import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeNode, setXattr } from "../../sys/fs/fs.ts";
import { readImageFile } from "./_image-file.ts";
import { readUserFiles, resolveUser } from "./users.ts";

const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1001:app:/home/app:/bin/sh
broken line
huge:x:4294967296:0::/:
bare:x:7:7::
42:x:1042:1042::/home/42:
`;
const group = `root:x:0:
app:x:1001:
wheel:x:10:app,root
extra:x:2000:app
big:x:4294967296:
`;

function resolve(user: string, groupAdd: readonly string[] = []): string {
  const found = resolveUser({ user, groupAdd }, { passwd, group });
  return `${found.uid}:${found.gid} [${found.additionalGids}] ${found.home}`;
}

describe("resolveUser()", () => {
  const rows: readonly (readonly [string, readonly string[], string])[] = [
    ["", [], "0:0 [0,10] /root"],
    ["root", [], "0:0 [0,10] /root"],
    ["0", [], "0:0 [0,10] /root"],
    ["app", [], "1000:1001 [1001,10,2000] /home/app"],
    ["1000", [], "1000:1001 [1001,10,2000] /home/app"],
    ["app:extra", [], "1000:2000 [2000] /home/app"],
    ["app:0", [], "1000:0 [0] /home/app"],
    ["5:6", [], "5:6 [6] /"],
    ["5", [], "5:0 [0] /"],
    [":wheel", [], "0:10 [10] /root"],
    ["bare", [], "7:7 [7] /"],
    ["42", [], "1042:1042 [1042] /home/42"],
    ["2147483647:2147483647", [], "2147483647:2147483647 [2147483647] /"],
    ["app", ["wheel", "5"], "1000:1001 [1001,10,2000,5] /home/app"],
  ];
  for (const [user, groupAdd, expected] of rows) {
    test(`finds ${JSON.stringify(user)} with groups ${JSON.stringify(groupAdd)}`, () => {
      expect(resolve(user, groupAdd)).toBe(expected);
    });
  }

  const range = "uids and gids must be in range 0-2147483647";
  const refusals: readonly (readonly [string, readonly string[], string])[] = [
    ["nobody", [], "unable to find user nobody: no matching entries in passwd file"],
    ["root:nog", [], "unable to find group nog: no matching entries in group file"],
    ["app", ["nope"], "unable to find group nope: no matching entries in group file"],
    ["4294967296", [], range],
    ["2147483648", [], range],
    ["-1", [], range],
    ["1:4294967296", [], range],
    ["huge", [], range],
    ["root:big", [], range],
    ["app", ["99999999999"], range],
    ["0x10", [], "unable to find user 0x10: no matching entries in passwd file"],
    ["1e3", [], "unable to find user 1e3: no matching entries in passwd file"],
  ];
  for (const [user, groupAdd, message] of refusals) {
    test(`refuses ${JSON.stringify(user)} with groups ${JSON.stringify(groupAdd)}`, () => {
      expect(() => resolve(user, groupAdd)).toThrow(message);
    });
  }

  test("does without files", () => {
    const files = { passwd: undefined, group: undefined };
    expect(resolveUser({ user: "", groupAdd: [] }, files)).toEqual({
      uid: 0,
      gid: 0,
      additionalGids: [0],
      home: "/",
    });
  });

  test("survives any text in the files, seed 1", () => {
    let seed = 1;
    const alphabet = "abz:,\n\0-0129#\r\t é";
    for (let round = 0; round < 300; round += 1) {
      let text = "";
      for (let index = 0; index < 60; index += 1) {
        seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
        text += alphabet[seed % alphabet.length];
      }
      const found = resolveUser({ user: "7:8", groupAdd: [] }, { passwd: text, group: text });
      expect(found.uid).toBeLessThan(2 ** 31);
    }
  });
});

describe("readImageFile()", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "tug-image-file-"));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function layer(name: string, files: Readonly<Record<string, string>>): string {
    const folder = join(root, name);
    mkdirSync(folder);
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    return folder;
  }
  function read(layers: readonly string[], path = "/etc/passwd"): string | undefined {
    const bytes = readImageFile(layers, path);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString();
  }

  test("takes the uppermost file", () => {
    const upper = layer("upper", { "etc/passwd": "new" });
    const lower = layer("lower", { "etc/passwd": "old", "etc/group": "g" });
    expect(read([upper, lower])).toBe("new");
    expect(read([upper, lower], "/etc/group")).toBe("g");
    expect(read([upper, lower], "/etc/shadow")).toBeUndefined();
    expect(read([])).toBeUndefined();
  });

  test("follows links as the container would", () => {
    const upper = layer("upper", { "usr/lib/passwd": "far" });
    mkdirSync(join(upper, "etc"));
    symlinkSync("../../../../usr/lib/passwd", join(upper, "etc/passwd"));
    const lower = layer("lower", { "real/group": "linked folder" });
    expect(read([upper, lower])).toBe("far");
    const third = layer("third", {});
    symlinkSync("/real", join(third, "etc"));
    expect(read([third, lower], "/etc/group")).toBe("linked folder");
  });

  test("reads nothing of the host through a link", () => {
    const secret = join(root, "secret");
    writeFileSync(secret, "host");
    const upper = layer("upper", { "etc/x": "" });
    symlinkSync(secret, join(upper, "etc/passwd"));
    expect(read([upper])).toBeUndefined();
  });

  test("gives up on links that go round", () => {
    const upper = layer("upper", { "etc/x": "" });
    symlinkSync("passwd", join(upper, "etc/passwd"));
    expect(() => read([upper])).toThrow("too many symbolic links");
  });

  test("refuses a FIFO at once", () => {
    const upper = layer("upper", { "etc/x": "" });
    execFileSync("mkfifo", [join(upper, "etc/passwd")]);
    expect(() => read([upper])).toThrow("not a regular file");
  });

  test("refuses a file that is too large", () => {
    const upper = layer("upper", { "etc/passwd": "x".repeat(1024 * 1024 + 1) });
    expect(() => read([upper])).toThrow("larger than 1048576 bytes");
  });

  test("takes a folder in the place of a file for nothing", () => {
    const upper = layer("upper", { "etc/passwd/x": "" });
    expect(read([upper, layer("lower", { "etc/passwd": "old" })])).toBeUndefined();
  });

  test.skipIf(process.getuid?.() !== 0)("heeds whiteouts and opaque folders (root)", () => {
    const characterDevice = 0o020000;
    const lower = layer("lower", { "etc/passwd": "old", "etc/group": "old" });
    const whiteout = layer("whiteout", { "etc/x": "" });
    makeNode(join(whiteout, "etc/passwd"), characterDevice, 0);
    expect(read([whiteout, lower])).toBeUndefined();
    expect(read([whiteout, lower], "/etc/group")).toBe("old");
    const opaque = layer("opaque", { "etc/x": "" });
    setXattr(join(opaque, "etc"), "trusted.overlay.opaque", Buffer.from("y"));
    expect(read([opaque, lower], "/etc/group")).toBeUndefined();
  });

  test("readUserFiles() reads both files", () => {
    const upper = layer("upper", { "etc/passwd": "p", "etc/group": "g" });
    expect(readUserFiles([upper])).toEqual({ passwd: "p", group: "g" });
  });
});
