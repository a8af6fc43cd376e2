import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { isPredefinedArg, platformArgs, settleMetaArgs } from "./arguments.ts";
import { expandInstruction, expandWord, expandWords } from "./expand.ts";
import { parseDockerfile, parseInstruction } from "./parse.ts";

const env = new Map([
  ["X", "foo"],
  ["E", ""],
  ["P", "/usr/local/lib/a.tar.gz"],
  ["N", "one\ntwo\none"],
  ["U", "äöü"],
]);
const scope = { env, escape: "\\" } as const;

/** Word and what it becomes; forms that BuildKit was asked about are in the recorded table too. */
const accepted: readonly (readonly [string, string])[] = [
  ["", ""],
  ["$X", "foo"],
  ["${X}", "foo"],
  ["$X$X", "foofoo"],
  ["$Q", ""],
  ["${Q:-d}", "d"],
  ["${E:-d}", "d"],
  ["${E-d}", ""],
  ["${Q-d}", "d"],
  ["${X:+a}", "a"],
  ["${E:+a}", ""],
  ["${E+a}", "a"],
  ["${Q+a}", ""],
  ["${X:?e}", "foo"],
  ["${E?e}", ""],
  ["${P#*/}", "usr/local/lib/a.tar.gz"],
  ["${P##*/}", "a.tar.gz"],
  ["${P%.*}", "/usr/local/lib/a.tar"],
  ["${P%%.*}", "/usr/local/lib/a"],
  ["${P#x}", "/usr/local/lib/a.tar.gz"],
  ["${P%x}", "/usr/local/lib/a.tar.gz"],
  ["${P/lib/bin}", "/usr/local/bin/a.tar.gz"],
  ["${P//a/A}", "/usr/locAl/lib/A.tAr.gz"],
  ["${P//\\//:}", ":usr:local:lib:a.tar.gz"],
  ["${P/\\/usr/}", "/local/lib/a.tar.gz"],
  ["${X//o/}", "f"],
  ["${X/?/_}", "_oo"],
  ["${X//?/_}", "___"],
  ["${X/*/_}", "_"],
  ["${X//*/_}", "_"],
  ["${X#f*}", "oo"],
  ["${X##f*}", ""],
  ["${X%o*}", "fo"],
  ["${X%%o*}", "f"],
  ["${X%?}", "fo"],
  ["${U#?}", "öü"],
  ["${U%?}", "äö"],
  ["${N#*e}", "\ntwo\none"],
  ["${N##*e}", "\ntwo\none"],
  ["${N//one/1}", "1\ntwo\n1"],
  ["${Q:-${Z:-${Y:-deep}}}", "deep"],
  ["${Q:-'$X'}", "$X"],
  ['${Q:-"$X"}', "foo"],
  ["${Q:-a\\}b}", "a}b"],
  ["'$X'", "$X"],
  ['"$X"', "foo"],
  ['"a\\"b"', 'a"b'],
  ['"a\\nb"', "a\\nb"],
  ["'a\\'", "a\\"],
  ["a\\ b", "a b"],
  ["\\$X", "$X"],
  ["\\\\$X", "\\foo"],
  ["a\\", "a"],
  ["$", "$"],
  ["$ a", "$ a"],
  ["a$", "a$"],
  ["$X-y", "foo-y"],
  ["$X.y", "foo.y"],
  ["$Xy", ""],
  ["${X}y", "foo" + "y"],
  ["$1a", "a"],
  ["$12a", "a"],
  ["$$", ""],
  ["${@:-x}", "x"],
  ["\"\"''", ""],
  ["{a,b}", "{a,b}"],
  ["`x`", "`x`"],
];

describe("expandWord() expands", () => {
  for (const [word, text] of accepted) {
    test(JSON.stringify(word), () => {
      expect(expandWord(word, scope)).toBe(text);
    });
  }
});

const refused: readonly (readonly [string, string])[] = [
  ["${", "syntax error: missing '}'"],
  ["${}", "syntax error: bad substitution"],
  ["${{X}}", "syntax error: bad substitution"],
  ["${:-x}", "syntax error: bad substitution"],
  ["${X", "unsupported modifier (\ufffd) in substitution"],
  ["${X:", "syntax error: missing '}'"],
  ["${X:-", "syntax error: missing '}'"],
  ["${X:-'}", "syntax error: missing '}'"],
  ["${X!}", "unsupported modifier (!) in substitution"],
  ["${X:x}", "unsupported modifier (:x) in substitution"],
  ["${X/a}", "syntax error: missing '/' in ${}"],
  ["${X/a/b", "syntax error: missing '}'"],
  ["${Q:?why}", "Q: why"],
  ["${Q?}", "Q: is not allowed to be unset"],
  ["${E:?}", "E: is not allowed to be empty"],
  ["${X#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"],
  ["'a", "unexpected end of statement while looking for matching single-quote"],
  ['"a', "unexpected end of statement while looking for matching double-quote"],
];

describe("expandWord() refuses, naming the word", () => {
  for (const [word, sentence] of refused) {
    test(JSON.stringify(word), () => {
      expect(() => expandWord(word, scope)).toThrow(
        `failed to process ${JSON.stringify(word)}: ${sentence}`,
      );
    });
  }

  test("forms nested a thousand deep", () => {
    const word = `${"${Q:-".repeat(1_000)}x${"}".repeat(1_000)}`;
    expect(() => expandWord(word, scope)).toThrow("substitutions are nested too deep");
  });

  test("text that grows without end", () => {
    const values = new Map([["A", "a".repeat(100_000)]]);
    const word = "$A".repeat(1_000);
    expect(() => expandWord(word, { env: values, escape: "\\" })).toThrow(
      "expands to too much text",
    );
    expect(() => expandWord(`"${word}"`, { env: values, escape: "\\" })).toThrow("too much text");
  });

  test("patterns made to be slow, at once", () => {
    const values = new Map([["A", "a".repeat(100_000)]]);
    const slow = { env: values, escape: "\\" } as const;
    const start = performance.now();
    expect(() => expandWord(`\${A//${"*a".repeat(1_000)}b/x}`, slow)).toThrow(
      "too long to be matched",
    );
    expect(expandWord(`\${A##${"*a".repeat(20)}b}`, slow)).toHaveLength(100_000);
    expect(performance.now() - start).toBeLessThan(10_000);
  }, 20_000);
});

test("expandWord() tells names, once for each word", () => {
  const found: string[] = [];
  const listening = {
    ...scope,
    onUndefined: (name: string) => found.push(`-${name}`),
    onDefined: (name: string) => found.push(`+${name}`),
  };
  expandWord("$X ${Q:-$Z} $X $Q", listening);
  expect(found).toEqual(["+X", "-Z", "-Q"]);
});

test("expandWords() cuts values at spaces, and quotes hold together", () => {
  const values = new Map([["A", " 1  2 "]]);
  const words = (word: string) => expandWords(word, { env: values, escape: "\\" });
  expect(words("$A")).toEqual(["1", "2"]);
  expect(words('"$A"')).toEqual([" 1  2 "]);
  expect(words("x${A}y")).toEqual(["x", "1", "2", "y"]);
  expect(words("a\\ b c")).toEqual(["a b", "c"]);
  expect(words("$Q")).toEqual([]);
});

describe("expandInstruction() leaves alone what Docker leaves alone", () => {
  const texts = [
    "RUN echo $X",
    "CMD echo $X",
    'ENTRYPOINT ["$X"]',
    "HEALTHCHECK --interval=5s CMD $X",
    "ONBUILD ENV A=$X",
    'SHELL ["$X"]',
    "MAINTAINER $X",
  ];
  for (const text of texts) {
    test(text, () => {
      const written = parseInstruction(text);
      expect(JSON.stringify(expandInstruction(written, scope))).toContain("$X");
    });
  }
});

describe("expandInstruction() expands what Docker expands", () => {
  const texts = [
    "FROM --platform=$X $X",
    "COPY --chown=$X --chmod=$X $X /$X",
    "ADD --checksum=$X $X /",
    "ENV $X=$X",
    "LABEL $X=$X",
    "ARG A=$X B=$A",
    "EXPOSE $X",
    "VOLUME $X",
    "USER $X",
    "WORKDIR $X",
    "RUN --mount=target=$X true",
    "COPY <<EOF /a\n$X\nEOF",
  ];
  for (const text of texts) {
    test(text, () => {
      const {
        original: _,
        mountTexts: _texts,
        ...expanded
      } = expandInstruction(parseInstruction(text), scope) as never as Record<string, unknown>;
      expect(JSON.stringify(expanded)).toContain("foo");
      expect(JSON.stringify(expanded)).not.toContain("$X");
    });
  }

  test("a failure has the place", () => {
    const { stages } = parseDockerfile(new TextEncoder().encode("FROM x\n\nUSER ${Q:?no user}\n"));
    const [user] = stages[0]?.instructions ?? [];
    if (user === undefined) throw new EngineError("internal", "no instruction");
    try {
      expandInstruction({ ...user, value: "${Q?}" } as never, scope);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(EngineError);
      expect((error as EngineError).details["location"]).toEqual({ startLine: 3, endLine: 3 });
    }
  });
});

describe("build arguments", () => {
  const facts = {
    platform: { os: "linux", architecture: "arm", variant: "v7" },
    buildPlatform: { os: "linux", architecture: "amd64" },
  };

  test("platforms, and what was given instead", () => {
    const args = platformArgs(
      facts,
      new Map([
        ["TARGETARCH", "mine"],
        ["OTHER", "x"],
      ]),
    );
    expect(Object.fromEntries(args)).toEqual({
      BUILDPLATFORM: "linux/amd64",
      BUILDOS: "linux",
      BUILDOSVERSION: "",
      BUILDARCH: "amd64",
      BUILDVARIANT: "",
      TARGETPLATFORM: "linux/arm/v7",
      TARGETOS: "linux",
      TARGETOSVERSION: "",
      TARGETARCH: "mine",
      TARGETVARIANT: "v7",
      TARGETSTAGE: "default",
    });
  });

  test("meta arguments see those before them and the platform", () => {
    const text = "ARG A=1\nARG B=$A-$TARGETARCH C\nARG D=$B\nFROM x\n";
    const dockerfile = parseDockerfile(new TextEncoder().encode(text));
    const options = { given: new Map([["A", "2"]]), platform: platformArgs(facts) };
    const meta = settleMetaArgs(dockerfile, options);
    expect([meta.get("A"), meta.get("B"), meta.has("C"), meta.get("D")]).toEqual([
      "2",
      "2-arm",
      false,
      "2-arm",
    ]);
  });

  test("names that need no ARG", () => {
    const names = ["HTTP_PROXY", "no_proxy", "BUILDKIT_INLINE_CACHE", "SOURCE_DATE_EPOCH", "FOO"];
    expect(names.map(isPredefinedArg)).toEqual([true, true, true, true, false]);
  });
});
