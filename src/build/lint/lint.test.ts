import { describe, expect, test } from "bun:test";
import { createMatcher } from "../../lib/pattern/ignore-patterns.ts";
import checks from "../../../test/fixtures/dockerfile/checks.json" with { type: "json" };
import { checkDockerfile, type LintContext, lintDockerfile, lintViolation } from "./lint.ts";
import { lintRules } from "./lint-rules.ts";
import { parseDockerfile } from "../dockerfile/parse.ts";

interface Check {
  readonly name: string;
  readonly text: string;
  readonly warnings: readonly {
    readonly rule: string;
    readonly description: string;
    readonly url: string;
    readonly detail: string;
    readonly ranges: number[][];
  }[];
  readonly error?: { readonly message: string; readonly ranges?: number[][] };
}

const amd64 = { os: "linux", architecture: "amd64" };
/** busybox of the recorded engine. */
const busybox = { env: new Map<string, string>(), platform: amd64 };
const recordedContext: LintContext = { platform: amd64, baseImage: () => busybox };

function parse(text: string): ReturnType<typeof parseDockerfile> {
  return parseDockerfile(new TextEncoder().encode(text));
}

function rulesOf(text: string, context: LintContext = {}): readonly string[] {
  return lintDockerfile(parse(text), context).map(({ rule, startLine }) => `${rule}:${startLine}`);
}

/** Refused by the parser, or before any stage is looked at: BuildKit's warnings until then are not ours. */
const endsEarly =
  /parse error|can't find =|unterminated|JSON array|must have two|stage name|base name|platform|check options|directive|escape token|no (instructions|build stage)|empty|contains no|--from|line greater/;
/** Told by us alone. */
const ours = /^Tug/;

describe("lintDockerfile() warns as BuildKit does", () => {
  for (const check of checks as readonly Check[]) {
    if (endsEarly.test(check.error?.message ?? "")) continue;
    if (["copy parents", "security bad", "security variable", "security good"].includes(check.name))
      continue;
    test(check.name, () => {
      const line = (w: readonly [string, number, number, string]): string => w.join("|");
      const found = lintDockerfile(parse(check.text), recordedContext)
        .filter(({ rule, detail }) => !ours.test(rule) && !detail.includes("single quotes"))
        .map((w) => line([w.rule, w.startLine, w.endLine, w.detail]));
      const wanted = check.warnings.map((w) =>
        line([w.rule, w.ranges[0]?.[0] ?? 0, w.ranges.at(-1)?.[1] ?? 0, w.detail]),
      );
      expect(found.toSorted()).toEqual(wanted.toSorted());
    });
  }

  test("every rule has BuildKit's description and address", () => {
    const recorded = (checks as readonly Check[]).flatMap(({ warnings }) => warnings);
    for (const { rule, description, url } of recorded) {
      expect(lintRules.get(rule)).toEqual({ name: rule, description, url });
    }
    expect([...lintRules.keys()].filter((name) => !ours.test(name))).toHaveLength(22);
  });
});

describe("rules that need facts", () => {
  test("CopyIgnoredFile tells sources that the ignore file leaves out", () => {
    const ignore = createMatcher(["secret", "*.log"]);
    const text = "FROM scratch\nCOPY secret /a\nADD a.log b.txt /b/\nCOPY --from=x secret /c\n";
    const warnings = lintDockerfile(parse(text), { ignore });
    expect(warnings.map(({ detail, startLine }) => `${startLine} ${detail}`)).toEqual([
      '2 Attempting to Copy file "secret" that is excluded by .dockerignore',
      '3 Attempting to Add file "a.log" that is excluded by .dockerignore',
    ]);
  });

  test("CopyIgnoredFile tells a context of which nothing is left", () => {
    const text = "FROM scratch\nCOPY . /\n";
    expect(rulesOf(text, { ignore: createMatcher(["**"]) })).toEqual(["CopyIgnoredFile:2"]);
    expect(rulesOf(text, { ignore: createMatcher(["a"]) })).toEqual([]);
  });

  test("CopyIgnoredFile is silent when the ignore file has exceptions", () => {
    const ignore = createMatcher(["*", "!x"]);
    expect(rulesOf("FROM scratch\nCOPY y /\n", { ignore })).toEqual([]);
  });

  test("InvalidBaseImagePlatform tells an image of another platform", () => {
    const arm = {
      env: new Map<string, string>(),
      platform: { os: "linux", architecture: "arm64" },
    };
    const [warning] = lintDockerfile(parse("FROM busybox\n"), {
      platform: amd64,
      baseImage: () => arm,
    });
    expect(warning?.detail).toBe(
      'Base image busybox was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
    );
  });

  test("UndefinedVar is silent below an image that nobody has looked at", () => {
    expect(rulesOf("FROM busybox AS a\nFROM a\nLABEL a=$X\n")).toEqual([]);
    expect(rulesOf("FROM busybox\nLABEL a=$X\n", recordedContext)).toEqual(["UndefinedVar:2"]);
  });

  test("variables of the base image are defined", () => {
    const baseImage = () => ({ env: new Map([["X", "1"]]) });
    expect(rulesOf("FROM busybox\nLABEL a=$X\n", { baseImage })).toEqual([]);
  });

  test("a build argument settles what FROM uses", () => {
    const text = "ARG P\nFROM --platform=$P busybox AS x\n";
    const args = new Map([["P", "linux/arm64"]]);
    const baseImage = () => ({ env: new Map<string, string>(), platform: amd64 });
    expect(rulesOf(text, { args, baseImage, platform: amd64 })).toEqual([
      "InvalidBaseImagePlatform:2",
    ]);
  });
});

describe("what # check= says is done", () => {
  test("the build argument wins over the file", () => {
    const text = "# check=skip=all\nFROM scratch\nCMD a\n";
    expect(rulesOf(text)).toEqual([]);
    expect(rulesOf(text, { check: { skip: [], isError: false } })).toEqual([
      "JSONArgsRecommended:3",
    ]);
  });

  test("error=true makes a failure of warnings", () => {
    const dockerfile = parse("# check=error=true\nFROM scratch\nCMD a\n");
    const warnings = lintDockerfile(dockerfile);
    expect(lintViolation(dockerfile, { warnings })?.message).toBe(
      "lint violation found for rules: JSONArgsRecommended",
    );
    expect(lintViolation(dockerfile, { warnings: [] })).toBeUndefined();
    const hint = parse("# check=error=true\nFROM scratch\nRUN mkdir {a,b}\n");
    expect(lintViolation(hint, { warnings: lintDockerfile(hint) })).toBeUndefined();
    expect(lintViolation(parse("FROM scratch\n"), { warnings })).toBeUndefined();
  });
});

describe("hints of our own", () => {
  test("braces for sh", () => {
    expect(rulesOf("FROM busybox\nRUN mkdir -p /zones/data/{internal,external}\n")).toEqual([
      "TugBraceExpansion:2",
    ]);
  });

  const silent = [
    'SHELL ["/bin/bash", "-c"]\nRUN mkdir {a,b}',
    "RUN awk '{print $1,$2}'",
    "RUN echo ${x:-a,b}",
    'RUN ["mkdir", "{a,b}"]',
    "RUN echo {a} b,c",
  ];
  for (const text of silent) {
    test(`no braces for sh in ${text}`, () => {
      expect(rulesOf(`FROM busybox\n${text}\n`)).toEqual([]);
    });
  }

  test("a comment behind ADD", () => {
    const [warning] = lintDockerfile(
      parse("FROM scratch\nADD named.conf /etc/n.conf ### DUMMY ###\n"),
    );
    expect(warning?.rule).toBe("TugCommentInsideInstruction");
    expect(warning?.detail).toBe(
      "'###' is taken for a path: '#' begins a comment only at the start of a line",
    );
  });

  test("VOLUME with single quotes", () => {
    expect(rulesOf("FROM scratch\nVOLUME ['/mnt']\n")).toEqual(["JSONArgsRecommended:2"]);
  });
});

test("a word that cannot be expanded ends the check and is told beside the warnings", () => {
  const { warnings, refusal } = checkDockerfile(
    parse("FROM scratch\nCMD a\nLABEL a=${X?}\nWORKDIR x\n"),
  );
  expect(warnings.map(({ rule }) => rule)).toEqual(["JSONArgsRecommended", "UndefinedVar"]);
  expect(refusal?.message).toBe('failed to process "${X?}": X: is not allowed to be unset');
  expect(refusal?.details["location"]).toEqual({ startLine: 3, endLine: 3 });
});

test("warnings are bounded", () => {
  const text = `FROM scratch\n${"LABEL a b\n".repeat(5_000)}`;
  expect(lintDockerfile(parse(text))).toHaveLength(1_000);
});
