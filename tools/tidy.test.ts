import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { maskSource } from "./_source-mask.ts";
import { formatFinding, tidyFile, tidyTree } from "./tidy.ts";

/** Rules broken by `text`, as `line rule`. */
function rulesIn(text: string, file = "src/image/x.ts"): readonly string[] {
  return tidyFile(file, inserted(text)).map(({ line, rule }) => `${line} ${rule}`);
}

/** The text with `#{` for the insertions of a template, which a string here should not have. */
function inserted(text: string): string {
  return text.replaceAll("#{", "${");
}

describe("tidyFile() finds", () => {
  const refused = [
    ['throw new Error("x");', "1 no throw new Error"],
    ['\n  throw new TypeError("x");', "2 no throw new Error"],
    ["console.log(1);", "1 no console"],
    ["console\n  .log(1);", "1 no console"],
    ["try { a(); } catch (error) {}", "1 no empty catch"],
    ["try { a(); } catch (error) { /* never mind */ }", "1 no empty catch"],
    ["try { a(); } catch { b(); }", "1 no catch that ignores the error"],
    ["const x: any = 1;", "1 no any"],
    ["const x = y as any;", "1 no any"],
    ["let x: Map<string, any>;", "1 no any"],
    ["let x: Set<any>;", "1 no any"],
    ["let x: string | any;", "1 no any"],
    ["let x: any[] = [];", "1 no any"],
    ["// TODO later", "1 no task left in a comment"],
    ["/* one\n * FIXME two */", "2 no task left in a comment"],
    ["export const x = 1;", "1 export x has no docstring"],
    ["// A remark.\nexport function y(): void {}", "2 export y has no docstring"],
    ["/** Of nothing below. */\n\nexport class Z {}", "3 export Z has no docstring"],
    ["export async function f(): Promise<void> {}", "1 export f has no docstring"],
    ["export abstract class A {}", "1 export A has no docstring"],
    ["// as /work/shared/x says", '1 speaks of "/work/shared"'],
    ["/** See issue 7. */", '1 speaks of "issue 7"'],
    ["// const `a#{1}`\n// the lead asked for it", '2 speaks of "the lead"'],
  ] as const;
  for (const [text, wanted] of refused) {
    test(`${wanted} in ${JSON.stringify(text)}`, () => expect(rulesIn(text)).toContain(wanted));
  }
});

describe("tidyFile() lets pass", () => {
  const accepted = [
    'throw new EngineError("internal", "throw new Error(x)");',
    'const text = "console.log(1) // TODO";',
    "const text = `console.log(#{value}) catch {} : any`;",
    "const form = /console.log|: any|\"/g; const next = 'catch {}';",
    "const half = total / 2; const rest = half / any2;",
    "try { a(); } catch (error) { if (!isKind(error)) throw error; }",
    'const modes = { any: 1, company: "x" };',
    "function f(any: number): void {}",
    "list.some((any) => any === 1);",
    "// console.log and catch {} are only spoken of",
    "/** Documented. */\nexport const x = 1;",
    "/**\n * Documented.\n */\n// biome-ignore lint/x: reason\nexport function y(): void {}",
    "/** One. */\nexport function f(x: string): void;\nexport function f(x: string | 1): void {}",
    'export { x } from "./y.ts";',
    'export type { X } from "./y.ts";',
    "const exported = `\nexport const inATemplate = 1;\n`;",
    "// the session of a registry, and its issue",
  ];
  for (const text of accepted) {
    test(JSON.stringify(text), () => expect(rulesIn(text)).toEqual([]));
  }
});

test("rules hold where they are meant to", () => {
  expect(rulesIn("console.log(1);", "src/cli/ps.ts")).toEqual([]);
  expect(rulesIn("console.log(1);", "tools/x.ts")).toEqual([]);
  expect(rulesIn('throw new Error("x");', "src/image/x.test.ts")).toEqual([]);
  expect(rulesIn("export const x = 1;", "src/image/x.test.ts")).toEqual([]);
  expect(rulesIn("export const x = 1;", "src/image/x.suite.ts")).toHaveLength(1);
  expect(rulesIn("As the brief says", "docs/x.md")).toHaveLength(1);
  expect(rulesIn("const x = 1; // the brief", "bench/x.ts")).toHaveLength(1);
});

test("a file's length is bounded, more generously for tests", () => {
  const lines = (count: number) => "const x = 1;\n".repeat(count);
  expect(rulesIn(lines(500))).toEqual([]);
  expect(rulesIn(lines(501))).toEqual(["501 file of 501 lines"]);
  expect(rulesIn(lines(1000), "src/image/x.test.ts")).toEqual([]);
  expect(rulesIn(lines(1001), "src/image/x.test.ts")).toHaveLength(1);
});

test("a finding is printed with its place and what to write instead", () => {
  const [finding] = tidyFile("src/a/b.ts", "\nconsole.log(1);");
  if (finding === undefined) throw new Error("no finding");
  expect(formatFinding(finding)).toBe(
    "src/a/b.ts:2: no console; instead: the Logger that was passed in; src/cli may print",
  );
});

test("the tree is really scanned, and an empty one is told apart", async () => {
  expect((await tidyTree(".")).fileCount).toBeGreaterThan(100);
  expect((await tidyTree("tools/canary")).fileCount).toBe(0);
});

describe("maskSource()", () => {
  test("keeps length and lines, whatever the text", () => {
    const sign = fc.constantFrom(..."\"'`/*\\{}$()[] \n=a1;é😀".split(""));
    fc.assert(
      fc.property(fc.array(sign, { maxLength: 60 }), (signs) => {
        const text = signs.join("");
        const { code, comments } = maskSource(text);
        for (const mask of [code, comments]) {
          expect(mask.length).toBe(text.length);
          expect(mask.split("\n").length).toBe(text.split("\n").length);
        }
      }),
      { numRuns: 500, seed: 7 },
    );
  });

  const codeOf = [
    ["a // b", "a     "],
    ["a /* b */ c", "a         c"],
    ['f("a\\"b", c)', 'f("    ", c)'],
    ["`a#{b}c#{`d#{e}`}f`", "` b ` e ` `"],
    ["x = /a\\/[/]b/.test(y)", "x =           .test(y)"],
    ["a / b / c", "a / b / c"],
    ["return /x/", "return    "],
  ] as const;
  for (const [text, wanted] of codeOf) {
    test(`reads the code of ${text}`, () => {
      const squeeze = (one: string) => one.replace(/\s+/g, " ").trim();
      expect(squeeze(maskSource(inserted(text)).code)).toBe(squeeze(wanted));
    });
  }
});
