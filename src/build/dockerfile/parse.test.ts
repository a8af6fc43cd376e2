import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import files from "../../../test/fixtures/dockerfile/files.json" with { type: "json" };
import { settleArg } from "./arguments.ts";
import { parseCheck, parseDirectives } from "./directives.ts";
import { expandInstruction } from "./expand.ts";
import { explainComment } from "./hints.ts";
import type { Dockerfile, Instruction } from "./instruction.ts";
import { instructionsMax, lineBytesMax, linesMax } from "./limits.ts";
import { parseDockerfile, parseInstruction } from "./parse.ts";
import { pictureOf } from "../../lib/source-picture.ts";

function parse(text: string): Dockerfile {
  return parseDockerfile(new TextEncoder().encode(text));
}

type Of<Kind, Each = Instruction> = Each extends { kind: infer Own }
  ? Kind extends Own
    ? Each
    : never
  : never;

function only<Kind extends Instruction["kind"]>(kind: Kind, text: string): Of<Kind> {
  const instruction = parseInstruction(text);
  if (instruction.kind !== kind) throw new EngineError("internal", `it is ${instruction.kind}`);
  return instruction as Of<Kind>;
}

function refusalOf(work: () => unknown): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof EngineError) return error.message;
    throw error;
  }
}

interface Files {
  readonly name: string;
  readonly text: string;
  readonly files?: Readonly<Record<string, string | undefined>>;
}

describe("here-documents of COPY become the files that BuildKit makes", () => {
  for (const recorded of files as readonly Files[]) {
    if (recorded.files === undefined) continue;
    test(recorded.name, () => {
      const { stages, directives } = parse(recorded.text);
      const values = new Map<string, string>();
      const scope = { env: values, escape: directives.escape };
      const found: Record<string, string> = {};
      for (const written of stages.flatMap(({ instructions }) => instructions)) {
        const instruction = expandInstruction(written, scope);
        if (instruction.kind === "env") {
          for (const { key, value } of instruction.pairs) values.set(key, value);
        }
        if (instruction.kind === "arg") {
          for (const arg of instruction.args) values.set(arg.name, arg.value ?? "");
        }
        if (instruction.kind !== "copy" && instruction.kind !== "add") continue;
        const { target, sources } = instruction;
        for (const { name, content } of sources.heredocs) {
          found[target.endsWith("/") ? target + name : target] = content;
        }
      }
      expect(found).toEqual(recorded.files as Record<string, string>);
    });
  }
});

describe("parseDockerfile() gives the parts of a file", () => {
  test("meta arguments, stages, names and indexes", () => {
    const { metaArgs, stages } = parse(
      "ARG A=1 B\nFROM --platform=$P busybox:$A AS Build\nRUN x\nFROM build\nUSER 1\n",
    );
    expect(metaArgs.map(({ args }) => args)).toEqual([[{ name: "A", value: "1" }, { name: "B" }]]);
    expect(stages.map(({ index, name }) => [index, name])).toEqual([
      [0, "build"],
      [1, undefined],
    ]);
    expect(stages[0]?.from.platform).toBe("$P");
    expect(stages[0]?.from.image).toBe("busybox:$A");
    expect(stages[1]?.instructions.map(({ kind }) => kind)).toEqual(["user"]);
  });

  test("locations reach from the first line to the last, here-documents included", () => {
    const { stages } = parse("FROM scratch\nRUN a \\\n  b\n\nCOPY <<A <<B /\n1\nA\n2\nB\nUSER x\n");
    const found = stages[0]?.instructions.map(({ location }) => [
      location.startLine,
      location.endLine,
    ]);
    expect(found).toEqual([
      [2, 3],
      [5, 9],
      [10, 10],
    ]);
  });

  test("the original is one line", () => {
    const { stages } = parse("FROM scratch\n  run  a \\\n  b \\\n# c\n d  \n");
    expect(stages[0]?.instructions[0]?.original).toBe("run  a   b  d");
  });

  test("comments go to the instruction after them; directives are none", () => {
    const { stages } = parse("# check=skip=X\n# a\n#\n# b\n\n# c\nFROM scratch\nUSER x\n");
    expect(stages[0]?.from.comments).toEqual(["b", "c"]);
    expect(stages[0]?.instructions[0]?.comments).toBeUndefined();
  });

  test("lines are as in the file, without ends", () => {
    expect(parse("\ufeffFROM scratch\r\nUSER x").lines).toEqual(["FROM scratch", "USER x"]);
  });
});

describe("RUN", () => {
  test("shell form keeps the text", () => {
    expect(only("run", 'RUN  echo "a"  $B \\n ').command).toEqual({
      form: "shell",
      text: 'echo "a"  $B \\n',
      heredocs: [],
    });
  });

  test("row of a quoted continuation is one text, byte for byte", () => {
    const text = "RUN echo -e '\\n\\\n#!/bin/bash\\n\\\nexit 0' >> /backup.sh";
    const { command } = only("run", text);
    expect(command.form === "shell" && command.text).toBe("echo -e '\\nexit 0' >> /backup.sh");
  });

  test("a script for another shell", () => {
    const { command } = only("run", "RUN <<EOF bash -x\necho $A\nEOF");
    expect(command).toEqual({
      form: "shell",
      text: "<<EOF bash -x",
      heredocs: [{ name: "EOF", isExpanded: true, hasTabsStripped: false, content: "echo $A\n" }],
    });
  });

  test("several here-documents in order", () => {
    const { command } = only("run", "RUN cat <<'A' <<-B\na\nA\n\tb\n\tB");
    expect(command.form === "shell" && command.heredocs).toEqual([
      { name: "A", isExpanded: false, hasTabsStripped: false, content: "a\n" },
      { name: "B", isExpanded: true, hasTabsStripped: true, content: "b\n", written: "\tb\n" },
    ]);
  });

  const none = [
    "RUN echo $((1 << 2))",
    "RUN cat <<<EOF",
    'RUN ["a", "<<EOF"]',
    "RUN echo \"it's\" '<<EOF'",
  ];
  for (const text of none) {
    test(`no here-document in ${text}`, () => {
      const { command } = only("run", text);
      expect(command.form === "exec" || command.heredocs.length === 0).toBe(true);
    });
  }

  test("flags", () => {
    const run = only(
      "run",
      "RUN --network=none --security=insecure --device=nvidia.com/gpu=all --mount=target=/x,ro a",
    );
    expect([run.network, run.security, run.devices]).toEqual([
      "none",
      "insecure",
      ["nvidia.com/gpu=all"],
    ]);
    expect(run.mounts).toEqual([{ type: "bind", target: "/x", isReadOnly: true }]);
  });

  test("mounts with variables are settled by expansion", () => {
    const text =
      "RUN --mount=type=$T,id=a-$ID,target=/c,uid=$U,mode=0700,sharing=locked --mount=type=secret,id=s,env=TOKEN,required a";
    const written = only("run", text);
    expect(written.mounts[1]).toEqual({
      type: "secret",
      id: "s",
      env: "TOKEN",
      isRequired: true,
      isReadOnly: true,
    });
    const env = new Map([
      ["T", "cache"],
      ["ID", "1"],
      ["U", "1000"],
    ]);
    const run = expandInstruction(written, { env, escape: "\\" });
    expect(run.kind === "run" && run.mounts[0]).toEqual({
      type: "cache",
      id: "a-1",
      target: "/c",
      uid: 1000,
      mode: 0o700,
      sharing: "locked",
      isReadOnly: false,
    });
  });

  const mounts: readonly (readonly [string, object])[] = [
    [
      "type=tmpfs,dst=/t,size=1m",
      { type: "tmpfs", target: "/t", sizeBytes: 1_048_576, isReadOnly: false },
    ],
    ["type=ssh", { type: "ssh", isReadOnly: true }],
    [
      "from=a,src=/b,destination=/c,rw",
      { type: "bind", from: "a", source: "/b", target: "/c", isReadOnly: false },
    ],
    ["target=/c,ro=false", { type: "bind", target: "/c", isReadOnly: false }],
    ["TYPE=cache,Target=/c", { type: "cache", target: "/c", isReadOnly: false }],
    ['\\"target=/a,b\\"', { type: "bind", target: "/a,b", isReadOnly: true }],
  ];
  for (const [text, mount] of mounts) {
    test(`--mount=${text}`, () => {
      const run = expandInstruction(only("run", `RUN --mount=${text} a`), {
        env: new Map(),
        escape: "\\",
      });
      expect(run.kind === "run" && run.mounts).toEqual([mount] as never);
    });
  }
});

describe("COPY and ADD", () => {
  test("all flags of COPY", () => {
    const copy = only(
      "copy",
      "COPY --from=a --chown=1:2 --chmod=u+x --link --parents --exclude=*.a --exclude=b x y /z/",
    );
    const { location: _, original: _text, ...rest } = copy;
    expect(rest).toEqual({
      kind: "copy",
      sources: { paths: ["x", "y"], heredocs: [] },
      target: "/z/",
      from: "a",
      chown: "1:2",
      chmod: "u+x",
      isLink: true,
      hasParents: true,
      excludes: ["*.a", "b"],
      keepsGitDir: false,
    });
  });

  test("all flags of ADD", () => {
    const add = only(
      "add",
      "ADD --keep-git-dir=true --checksum=sha256:0 --unpack=false --link=FALSE u /z",
    );
    expect([add.keepsGitDir, add.checksum, add.unpack, add.isLink]).toEqual([
      true,
      "sha256:0",
      false,
      false,
    ]);
  });

  test("names with blanks need a list", () => {
    expect(only("copy", 'COPY ["a b", "c d"]').sources.paths).toEqual(["a b"]);
    expect(only("copy", 'COPY "a b" c').sources.paths).toEqual(['"a', 'b"']);
  });

  test("a comment behind ADD is explained", () => {
    const add = parseInstruction("ADD named.conf /etc/named.conf  ### DUMMY NAMED FILE ###");
    expect(explainComment(add)).toContain("'###' is taken for a path");
    expect(explainComment(parseInstruction("COPY a#b c"))).toBeUndefined();
  });
});

describe("parseInstruction() reads one instruction", () => {
  test("a trigger with a here-document, as ONBUILD keeps it", () => {
    const { stages } = parse("FROM scratch\nONBUILD COPY <<-EOF /x\n\ta\n\tEOF\n");
    const [onbuild] = stages[0]?.instructions ?? [];
    const trigger = onbuild?.kind === "onbuild" ? onbuild.trigger : "";
    expect(trigger).toBe("COPY <<-EOF /x\n\ta\nEOF");
    expect(only("copy", trigger).sources.heredocs[0]?.content).toBe("a\n");
  });

  test("an escape that is the backtick", () => {
    const instruction = parseInstruction("ENV a=1 `\n b=2", { escape: "`" });
    expect(instruction.kind === "env" && instruction.pairs.length).toBe(2);
  });

  const refused = ["", "# a", "USER a\nUSER b", "FOO a", "ENV", "COPY <<EOF /a\nx"];
  for (const text of refused) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      expect(refusalOf(() => parseInstruction(text))).toBeDefined();
    });
  }
});

describe("parseDirectives()", () => {
  const read = (text: string) => parseDirectives(text.split("\n")).directives;

  test("reads all three in any order and case", () => {
    expect(read("#Syntax=docker/dockerfile:1\n# ESCAPE = `\n#check=error=true\nFROM x")).toEqual({
      syntax: "docker/dockerfile:1",
      escape: "`",
      check: { skip: [], experimental: [], isError: true },
    });
  });

  const comments = [
    "# a\n# escape=`",
    "\n# escape=`",
    "FROM x\n# escape=`",
    "# foo=1\n# escape=`",
    "# escape",
  ];
  for (const text of comments) {
    test(`is done at what is none: ${JSON.stringify(text)}`, () => {
      expect(read(text)).toEqual({ escape: "\\" });
    });
  }

  test("parseCheck() reads a build argument", () => {
    expect(parseCheck("skip=A, B;error=false;experimental=all")).toEqual({
      skip: ["A", "B"],
      isError: false,
      experimental: ["all"],
    });
    expect(refusalOf(() => parseCheck("skip"))).toContain('invalid check option "skip"');
  });
});

describe("limits are told in a sentence", () => {
  const cases: readonly (readonly [string, string | Uint8Array, string])[] = [
    ["bytes", new Uint8Array(17 * 1024 * 1024), "at most 16777216 are read"],
    ["lines", "\n".repeat(linesMax + 1), "at most 1000000 are read"],
    [
      "a line",
      `FROM scratch\nRUN ${"a".repeat(lineBytesMax)}`,
      "dockerfile line greater than max allowed size of 65535",
    ],
    [
      "a line of wide characters",
      `FROM scratch\n# ${"ü".repeat(33_000)}`,
      "greater than max allowed size",
    ],
    [
      "instructions",
      `FROM scratch\n${"USER a\n".repeat(instructionsMax)}`,
      "more than 20000 instructions",
    ],
    ["stages", "FROM scratch\n".repeat(1_001), "more than 1000 stages"],
    [
      "here-documents",
      `FROM scratch\nCOPY ${"<<a ".repeat(101)} /\n`,
      "more than 100 here-documents",
    ],
    [
      "words",
      `FROM scratch\nENV ${"a=1 ".repeat(10_000)}\\\n${"a=1 ".repeat(10_001)}`,
      "more than 20000 words",
    ],
    [
      "text that is not UTF-8",
      Uint8Array.from([70, 82, 79, 77, 32, 255, 10]),
      "not UTF-8 outside of a comment",
    ],
  ];
  for (const [name, input, sentence] of cases) {
    test(name, () => {
      const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
      const start = performance.now();
      expect(refusalOf(() => parseDockerfile(bytes))).toContain(sentence);
      expect(performance.now() - start).toBeLessThan(10_000);
    }, 20_000);
  }

  test("a comment may be in any encoding", () => {
    const bytes = new TextEncoder().encode("# caf?\nFROM scratch\n");
    bytes[5] = 0xe9;
    expect(parseDockerfile(bytes).stages).toHaveLength(1);
  });
});

test("settleArg() takes what is given, then the default, then the meta argument", () => {
  const scope = { env: new Map([["X", "x"]]), escape: "\\" as const };
  const options = {
    scope,
    given: new Map([["A", "g"]]),
    meta: new Map([
      ["A", "m"],
      ["B", "m"],
    ]),
  };
  expect(settleArg({ name: "A", value: "d" }, options)).toBe("g");
  expect(settleArg({ name: "B", value: "d$X" }, options)).toBe("dx");
  expect(settleArg({ name: "B" }, options)).toBe("m");
  expect(settleArg({ name: "C" }, options)).toBeUndefined();
});

test("pictureOf() stays inside of the file and of a line", () => {
  const picture = pictureOf(["a", "x".repeat(5_000)], { startLine: 2, endLine: 9 });
  expect(picture.split("\n").map((line) => line.length)).toEqual([12, 20, 12, 1_011, 20]);
});
