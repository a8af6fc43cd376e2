/**
 * Seeded noise: whatever a Dockerfile holds, the answer is stages, warnings or a refusal, and it is quick.
 *
 * Covers the parser, expansion, the check and pictures; says nothing on whether an answer is right.
 */
import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { expandInstruction } from "./expand.ts";
import type { Location } from "./instruction.ts";
import { checkDockerfile } from "../lint/lint.ts";
import { parseDockerfile } from "./parse.ts";
import { pictureOf } from "../../lib/source-picture.ts";

const seed = 20_241;
const rounds = 6_000;
/** Generous: the machine may be busy. What is not bounded takes minutes. */
const answerMaxMs = 15_000;
const testMaxMs = 30_000;

const pieces = [
  "FROM ", "RUN ", "COPY ", "ADD ", "ENV ", "LABEL ", "ARG ", "CMD ", "ENTRYPOINT ", "ONBUILD ", "USER ",
  "WORKDIR ", "VOLUME ", "EXPOSE ", "HEALTHCHECK ", "SHELL ", "STOPSIGNAL ", "MAINTAINER ", "scratch", " AS a",
  "--from=", "--mount=type=cache,target=/x", "--chown=", "--", "--platform=$A ", "a", "b", "=", " ", " ", "\t",
  "\n", "\n", "\n", "\\\n", "\\", "`", "'", '"', "$", "${", "}", "${A:-", "${A#", "${A//", "/", "*", "?", "[", "]",
  '["a", "b"]', "<<EOF", "<<-'EOF'", "EOF\n", "#", "# escape=`\n", "# check=skip=all\n", "\r\n", "\u0000", "\ufeff",
  "\u00a0", "é", "😀", "\ud800", ",", ":", "NONE", "80/tcp", "{a,b}",
]; // biome-ignore format: a table

function makeRandom(start: number): (bound: number) => number {
  let state = start;
  return (bound) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Everything that is done with a Dockerfile. */
function answer(bytes: Uint8Array): string {
  try {
    const dockerfile = parseDockerfile(bytes);
    const { warnings, refusal } = checkDockerfile(dockerfile);
    for (const { startLine, endLine } of warnings)
      pictureOf(dockerfile.lines, { startLine, endLine });
    const scope = { env: new Map([["A", "a\nb/*"]]), escape: dockerfile.directives.escape };
    for (const instruction of dockerfile.stages.flatMap((stage) => stage.instructions)) {
      expandInstruction(instruction, scope);
    }
    return refusal === undefined ? "read" : "refused";
  } catch (error) {
    if (!(error instanceof EngineError) || error.kind !== "invalid-argument") throw error;
    const location = error.details["location"] as Location | undefined;
    if (location !== undefined) pictureOf(["x"], location);
    return "refused";
  }
}

test(
  `noise made of pieces is read or refused (seed ${seed})`,
  () => {
    const random = makeRandom(seed);
    const answers = { read: 0, refused: 0 };
    for (let round = 0; round < rounds; round += 1) {
      const count = 1 + random(30);
      const noise = Array.from({ length: count }, () => pieces[random(pieces.length)] ?? "").join(
        "",
      );
      const text = random(3) === 0 ? noise : `FROM scratch\n${noise}`;
      const found = answer(new TextEncoder().encode(text));
      answers[found === "read" ? "read" : "refused"] += 1;
    }
    // Both happen often: noise that is always refused would test little.
    expect(answers.read).toBeGreaterThan(rounds / 40);
    expect(answers.refused).toBeGreaterThan(rounds / 40);
  },
  testMaxMs,
);

test(
  `noise made of bytes is read or refused (seed ${seed})`,
  () => {
    const random = makeRandom(seed);
    for (let round = 0; round < 1_000; round += 1) {
      const bytes = Uint8Array.from({ length: random(200) }, () => random(256));
      expect(["read", "refused"]).toContain(answer(bytes));
    }
  },
  testMaxMs,
);

describe("ten million bytes of one thing are answered within seconds", () => {
  const size = 10_000_000;
  const of = (unit: string): string => unit.repeat(Math.ceil(size / unit.length));
  const line = (unit: string): string => `${unit.repeat(Math.floor(60_000 / unit.length))} \\\n`;
  const hostile: Readonly<Record<string, string>> = {
    newlines: of("\n"),
    blanks: of(`${" ".repeat(60_000)}\n`),
    comments: of("# comment\n"),
    zeros: of("\u0000"),
    instructions: of("RUN a\n"),
    stages: of("FROM scratch\n"),
    continuations: `FROM scratch\nRUN a \\\n${of("b \\\n")}`,
    "long lines continued": `FROM scratch\nRUN ${of(line("ab "))}`,
    "pairs continued": `FROM scratch\nENV ${of(line("a=b "))}`,
    "open quotes": `FROM scratch\nENV a="${of(line("x'"))}`,
    dollars: `FROM scratch\nLABEL a=${of(line("$"))}`,
    "open braces": `FROM scratch\nLABEL a=${of(line("${a:-"))}`,
    patterns: `FROM scratch\nENV A=aaaa\nUSER ${of(line("${A//*a/b}"))}`,
    brackets: `FROM scratch\nCMD ${of(line("["))}`,
    "here-document marks": `FROM scratch\nRUN ${of(line("<<a "))}`,
    "one here-document": `FROM scratch\nCOPY <<E /x\n${of("$A ${A} text\n")}E\n`,
    "open here-document": `FROM scratch\nCOPY <<E /x\n${of("text\n")}`,
    "onbuild of onbuild": `FROM scratch\n${of(line("ONBUILD "))}`,
    flags: `FROM scratch\nCOPY ${of(line("--link "))}`,
    mounts: `FROM scratch\nRUN ${of(line("--mount=target=/a "))}`,
    "braces for sh": `FROM scratch\nRUN ${of(line("{,"))}`,
    "directive of blanks": `# check=${" ".repeat(60_000)}x\nFROM scratch\n`,
    sources: `FROM scratch\nCOPY ${of(line("a "))} /x\n`,
    "undefined names": `FROM scratch\nLABEL a="${of(line("$abc "))}"\n`,
  };
  for (const [name, text] of Object.entries(hostile)) {
    test(
      name,
      () => {
        const bytes = new TextEncoder().encode(text);
        const start = performance.now();
        expect(["read", "refused"]).toContain(answer(bytes));
        expect(performance.now() - start).toBeLessThan(answerMaxMs);
      },
      testMaxMs,
    );
  }
});
