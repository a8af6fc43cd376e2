import { describe, expect, test } from "bun:test";
import { isKind } from "../../lib/errors.ts";
import { parseContextUrl } from "./context-url.ts";
import type { ContextUrl } from "./source.ts";

type Git = Omit<Extract<ContextUrl, { kind: "git" }>, "kind">;

const repositories: readonly (readonly [string, Git])[] = [
  ["https://host/a.git", { remote: "https://host/a.git" }],
  ["https://host/a.git#main", { remote: "https://host/a.git", ref: "main" }],
  ["https://host/a.git#:docs", { remote: "https://host/a.git", subdir: "docs" }],
  ["https://host/a.git#v1:/docs/x/", { remote: "https://host/a.git", ref: "v1", subdir: "docs/x" }],
  ["https://host/a.git#v1:.", { remote: "https://host/a.git", ref: "v1" }],
  ["http://host:8080/x/a.git/", { remote: "http://host:8080/x/a.git/" }],
  ["git://host/a", { remote: "git://host/a" }],
  ["ssh://git@host:22/a", { remote: "ssh://git@host:22/a" }],
  ["git@github.com:user/a.git#b", { remote: "git@github.com:user/a.git", ref: "b" }],
  ["git@host:a", { remote: "git@host:a" }],
  ["github.com/user/a", { remote: "https://github.com/user/a" }],
  ["github.com/user/a.git#b:c", { remote: "https://github.com/user/a.git", ref: "b", subdir: "c" }],
  ["file:///tmp/a.git#main", { remote: "file:///tmp/a.git", ref: "main" }],
  ["https://host/a.git?branch=x", { remote: "https://host/a.git", ref: "refs/heads/x" }],
  [
    "https://host/a.git?tag=v1&subdir=d&keep-git-dir=true&submodules=false",
    {
      remote: "https://host/a.git",
      ref: "refs/tags/v1",
      subdir: "d",
      keepsGitDir: true,
      hasSubmodules: false,
    },
  ],
  [
    "https://host/a.git?checksum=ABCDEF01#v",
    { remote: "https://host/a.git", ref: "v", checksum: "abcdef01" },
  ],
];

const refused = [
  "https://host/a.git#--upload-pack=touch",
  "https://host/a.git#a..b",
  "https://host/a.git#a b",
  "https://host/a.git#main:../x",
  "https://host/a.git?evil=1",
  "https://host/a.git?branch=a&tag=b",
  "https://host/a.git?checksum=xyz",
  "ssh://-oProxyCommand=x/a",
  "git@-oProxyCommand:x",
  "file://host/a.git",
  "git://",
  `https://host/${"a".repeat(9000)}.git`,
];

describe("parseContextUrl()", () => {
  test.each(repositories)("%s is a repository", (text, wanted) => {
    expect(parseContextUrl(text, { allowsFiles: true })).toEqual({ kind: "git", ...wanted });
  });

  test.each(["http://host/a.tar.gz", "https://host/Dockerfile?x=1", "https://host/a.git2"])(
    "%s is a file",
    (url) => {
      expect(parseContextUrl(url)).toEqual({ kind: "http", url });
    },
  );

  test.each([".", "./a.git", "dir", "/tmp/a", "host:path", "-", "a b", "ftp://host/a", "c:/x"])(
    "%s is a path",
    (text) => {
      expect(parseContextUrl(text)).toBeUndefined();
    },
  );

  test.each(refused)("refuses %s", (text) => {
    try {
      expect(parseContextUrl(text, { allowsFiles: true })).toBe("refused" as never);
    } catch (error) {
      expect(isKind(error, "invalid-argument")).toBe(true);
    }
  });

  test("takes no repository of this machine, which the daemon alone may read", () => {
    for (const text of ["file:///root/a.git", "FILE:///root/a.git#main", "file://host/a.git"]) {
      expect(parseContextUrl(text)).toBeUndefined();
    }
  });

  test("takes github.com/… for a folder when it is told to", () => {
    expect(parseContextUrl("github.com/user/a", { allowsShortForm: false })).toBeUndefined();
  });

  test("keeps a password out of its sentence", () => {
    expect(() => parseContextUrl("https://me:secret@host/a.git#a..b")).toThrow("//xxxxx@host");
    expect(() => parseContextUrl("https://me:secret@host/a.git#a..b")).not.toThrow("secret");
  });
});
