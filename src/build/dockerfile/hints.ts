/** What a person who wrote this may have meant. */
import { splitBlanks } from "./go-text.ts";
import { splitWords } from "./words.ts";
import type { Instruction } from "./instruction.ts";

/** Longest command that is looked through. */
const searchedCharsMax = 100_000;
/** Braces with a comma, in a word without quotes and variables before them. */
const braces = /^[^'"`$\\]*\{[^{}'"]{0,200},[^{}'"]{0,200}\}/;

/**
 * Explains a word of COPY or ADD that begins with `#`: Docker has no comments behind an instruction, so
 * that it is a path. To be told when there is no such file.
 */
export function explainComment(instruction: Instruction): string | undefined {
  if (instruction.kind !== "copy" && instruction.kind !== "add") return undefined;
  const words = [...instruction.sources.paths, instruction.target];
  const mark = words.find((word) => word.startsWith("#"));
  if (mark === undefined) return undefined;
  return `'${mark}' is taken for a path: '#' begins a comment only at the start of a line`;
}

/** A word of a shell command whose braces only bash would expand; undefined when there is none. */
export function findBraces(command: string): string | undefined {
  if (!command.includes("{")) return undefined;
  return splitWords(command.slice(0, searchedCharsMax), "\\").find((word) => braces.test(word));
}

/** Whether an instruction has a list in single quotes, which JSON does not know. */
export function hasSingleQuotedList(instruction: Instruction): boolean {
  const [, rest = ""] = splitBlanks(instruction.original, 2);
  return /^\[\s{0,100}'/.test(rest) && rest.endsWith("]");
}
