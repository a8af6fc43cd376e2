/**
 * House rules that no other tool checks. Each finding names what to write instead.
 *
 * Code rules hold in src/; the rules on words hold in every comment and document.
 */
import { Glob } from "bun";
import { maskSource } from "./_source-mask.ts";

/** One place that breaks a rule. */
export interface Finding {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly rule: string;
  readonly replacement: string;
}

/** Lines a file may have. */
const sourceLinesMax = 500;
const testLinesMax = 1000;

interface PatternRule {
  readonly rule: string;
  readonly replacement: string;
  /** Global; each match is a finding. */
  readonly pattern: RegExp;
  readonly reads: "code" | "comments";
  /** Files that need not follow it. */
  readonly except?: RegExp;
}

const tests = /\.(?:test|suite)\.ts$/;

const patternRules: readonly PatternRule[] = [
  {
    rule: "no throw new Error",
    replacement: 'throw new EngineError(kind, "sentence") of src/lib/errors.ts',
    pattern: /\bthrow new (?:Error|TypeError|RangeError|SyntaxError|AggregateError)\b/g,
    reads: "code",
    except: tests,
  },
  {
    rule: "no console",
    replacement: "the Logger that was passed in; src/cli may print",
    pattern: /\bconsole\s*\./g,
    reads: "code",
    except: /^src\/cli\/|\.(?:test|suite)\.ts$/,
  },
  {
    rule: "no empty catch",
    replacement: "catch one expected code and rethrow the rest",
    pattern: /\bcatch\s*(?:\([^)]*\)\s*)?\{\s*\}/g,
    reads: "code",
  },
  {
    rule: "no catch that ignores the error",
    replacement: "catch (error), look which one it is, and rethrow the rest",
    pattern: /\bcatch\s*\{/g,
    reads: "code",
    except: tests,
  },
  {
    rule: "no any",
    replacement: "unknown, and a decoder that checks",
    pattern: /(?::|\bas|[<|])\s*any\b|,\s*any\s*>/g,
    reads: "code",
  },
  {
    rule: "no task left in a comment",
    replacement: "do it, or write down in SCOPE.md that it is not there",
    pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/g,
    reads: "comments",
  },
];

/** Words of a workplace; a document speaks of the project alone. */
const foreignWords: readonly RegExp[] = [
  /(?<![\w.])\/work\/(?:shared|main)/,
  /\bDESIGN\.md\b/,
  /\bSTYLE\.md §/,
  /\bissues? #?\d+/i,
  /\b(?:steering|colleagues?|co-?workers?|teammates?|the lead|the brief)\b/i,
  /\b(?:spikes?\/|throw-away program)/,
  /\b(?:claude|anthropic|chatgpt|copilot|language model)\b/i,
];

/** Whether `file` is a document. */
function isDocument(file: string): boolean {
  return file.endsWith(".md");
}

/** Findings of one file; its path tells which rules hold. */
export function tidyFile(file: string, text: string): readonly Finding[] {
  if (isDocument(file)) return findWords(file, text);
  const { code, comments } = maskSource(text);
  const words = findWords(file, comments);
  if (!file.startsWith("src/")) return words;
  return [
    ...findPatterns(file, { code, comments }),
    ...findUndocumented(file, { text, code }),
    ...findLength(file, text),
    ...words,
  ].toSorted((left, right) => left.line - right.line);
}

function findPatterns(
  file: string,
  masks: { readonly code: string; readonly comments: string },
): readonly Finding[] {
  const rules = patternRules.filter(({ except }) => except === undefined || !except.test(file));
  return rules.flatMap(({ rule, replacement, pattern, reads }) =>
    [...masks[reads].matchAll(pattern)].map((match) => ({
      file,
      line: lineOf(masks[reads], match.index),
      rule,
      replacement,
    })),
  );
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

const exported =
  /^export (?:default )?(?:abstract |declare |async )*(?:function\*?|const|let|class|interface|type)\s+(\w+)/;

/** Exports whose line above does not end a docstring; overloads need one. */
function findUndocumented(
  file: string,
  source: { readonly text: string; readonly code: string },
): readonly Finding[] {
  if (file.endsWith(".test.ts")) return [];
  const lines = source.text.split("\n");
  const codeLines = source.code.split("\n");
  const findings: Finding[] = [];
  const seen = new Set<string>();
  for (const [index, line] of codeLines.entries()) {
    const name = exported.exec(line)?.[1];
    if (name === undefined || seen.has(name)) continue;
    let above = index - 1;
    while (/^\s*\/\//.test(lines[above] ?? "")) above -= 1;
    if (/\*\/\s*$/.test(lines[above] ?? "")) {
      seen.add(name);
      continue;
    }
    findings.push({
      file,
      line: index + 1,
      rule: `export ${name} has no docstring`,
      replacement: "/** its contract: what it does, what it throws, units, ownership */ above it",
    });
  }
  return findings;
}

function findLength(file: string, text: string): readonly Finding[] {
  const count = text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
  const countMax = tests.test(file) ? testLinesMax : sourceLinesMax;
  if (count <= countMax) return [];
  const rule = `file of ${count} lines`;
  return [{ file, line: countMax + 1, rule, replacement: `at most ${countMax}: split it by noun` }];
}

function findWords(file: string, text: string): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    for (const word of foreignWords) {
      const found = word.exec(line)?.[0];
      if (found === undefined) continue;
      findings.push({
        file,
        line: index + 1,
        rule: `speaks of ${JSON.stringify(found)}`,
        replacement: "what holds of the project itself, for a reader who knows nothing else",
      });
    }
  }
  return findings;
}

/** A finding as it is printed. */
export function formatFinding({ file, line, rule, replacement }: Finding): string {
  return `${file}:${line}: ${rule}; instead: ${replacement}`;
}

const scanned = [
  "src/**/*.ts",
  "{tools,test,bench}/**/*.{ts,mjs}",
  "*.md",
  "docs/**/*.md",
  "packaging/**/*.md",
];
/** They hold the words in order to find them, or faults on purpose. */
const unscanned = /^tools\/(?:tidy(?:\.test)?\.ts|canary\/)/;

/** Findings in the tree under `root`. */
export async function tidyTree(
  root: string,
): Promise<{ readonly findings: readonly Finding[]; readonly fileCount: number }> {
  const findings: Finding[] = [];
  let fileCount = 0;
  for (const pattern of scanned) {
    for await (const file of new Glob(pattern).scan(root)) {
      if (unscanned.test(file)) continue;
      fileCount += 1;
      findings.push(...tidyFile(file, await Bun.file(`${root}/${file}`).text()));
    }
  }
  return { findings, fileCount };
}

if (import.meta.main) {
  const { findings, fileCount } = await tidyTree(".");
  for (const finding of findings) console.error(formatFinding(finding));
  // An empty scan is a broken check, not a clean tree.
  if (fileCount === 0) console.error("tidy: no file was scanned");
  console.log(`tidy: ${fileCount} files, ${findings.length} findings`);
  process.exit(findings.length === 0 && fileCount > 0 ? 0 : 1);
}
