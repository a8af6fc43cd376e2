/** Variables: what a word and an instruction become once their values are known. */
import { signalNumber } from "../../sys/process/signal.ts";
import { trimSpace } from "./go-text.ts";
import { placed, refuse } from "./refusal.ts";
import { parseRunMount } from "./_run-mount.ts";
import { lexWord, type LexedWord } from "./_word-lexer.ts";
import type { Heredoc, Instruction, KeyValue } from "./instruction.ts";
import { heredocCharsMax } from "./limits.ts";

/** What is known where a word stands. */
export interface Scope {
  /** Undefined for a name without value, which is not the same as an empty one. */
  readonly env: { get(name: string): string | undefined };
  /** Of the Dockerfile's directives. */
  readonly escape: "\\" | "`";
  /** Told each name that has no value, once for each word that uses it. */
  readonly onUndefined?: (name: string) => void;
  /** Told each name that has one, likewise. */
  readonly onDefined?: (name: string) => void;
}

/**
 * Expands the variables of a word and removes its quotes and escapes.
 *
 * $X, ${X}, and ${X…} with :-d -d :+a +a :?e ?e #p ##p %p %%p /p/r //p/r; what follows the mark is
 * a word itself.
 *
 * @throws invalid-argument as `failed to process "word": …`
 */
export function expandWord(word: string, scope: Scope): string {
  return lex(word, scope).text;
}

/** As `expandWord`, and cuts the result at the spaces that are not quoted. */
export function expandWords(word: string, scope: Scope): readonly string[] {
  return lex(word, scope).words;
}

/**
 * Expands an instruction's words where Docker does; the text of a command is the shell's to expand,
 * and a trigger is expanded when it runs.
 *
 * All pairs of ENV and LABEL see the values from before the instruction. ARG's see those to their
 * left; `--build-arg` is the caller's: `settleArg`.
 *
 * @returns an instruction of the same kind
 * @throws invalid-argument with the place
 */
export function expandInstruction(instruction: Instruction, scope: Scope): Instruction {
  try {
    return expandPlaced(instruction, scope);
  } catch (error) {
    throw placed(error, instruction.location);
  }
}

function expandPlaced(instruction: Instruction, scope: Scope): Instruction {
  const expand = (word: string): string => expandWord(word, scope);
  switch (instruction.kind) {
    case "from": {
      const { image, platform } = instruction;
      const more = platform === undefined ? {} : { platform: expand(platform) };
      return { ...instruction, image: expand(image), ...more };
    }
    case "run": {
      const { mountTexts } = instruction;
      if (mountTexts === undefined) return instruction;
      return { ...instruction, mounts: mountTexts.map((text) => parseRunMount(text, expand)) };
    }
    case "copy":
    case "add":
      return expandCopy(instruction, scope);
    case "env":
    case "label":
      return { ...instruction, pairs: instruction.pairs.map((pair) => expandPair(pair, expand)) };
    case "arg":
      return expandArg(instruction, scope);
    case "expose": {
      const quiet = { env: scope.env, escape: scope.escape };
      // Docker: names without value are not told for ports, seen in 28.5.
      return {
        ...instruction,
        ports: instruction.ports.flatMap((port) => expandWords(port, quiet)),
      };
    }
    case "volume":
      return { ...instruction, paths: instruction.paths.map((path) => volumePath(expand(path))) };
    case "user":
    case "workdir":
      return { ...instruction, value: expand(instruction.value) };
    case "stopsignal": {
      const value = expand(instruction.value);
      signalNumber(value);
      return { ...instruction, value };
    }
    case "cmd":
    case "entrypoint":
    case "shell":
    case "maintainer":
    case "healthcheck":
    case "onbuild":
      return instruction;
  }
}

type Copy = Extract<Instruction, { kind: "copy" | "add" }>;

function expandCopy(instruction: Copy, scope: Scope): Instruction {
  const expand = (word: string): string => expandWord(word, scope);
  const { sources, chown, chmod, checksum } = instruction;
  return {
    ...instruction,
    ...(chown === undefined ? {} : { chown: expand(chown) }),
    ...(chmod === undefined ? {} : { chmod: expand(chmod) }),
    ...(checksum === undefined ? {} : { checksum: expand(checksum) }),
    sources: {
      paths: sources.paths.map(expand),
      heredocs: sources.heredocs.map((heredoc) => expandHeredoc(heredoc, scope)),
    },
    target: expand(instruction.target),
  };
}

/** A here-document's quotes are text, and its escape is the backslash whatever the file's is. */
function expandHeredoc(heredoc: Heredoc, scope: Scope): Heredoc {
  if (!heredoc.isExpanded) return heredoc;
  const { text } = lex(
    heredoc.content,
    { ...scope, escape: "\\" },
    { ignoresQuotes: true, charsMax: heredocCharsMax },
  );
  return { ...heredoc, content: text };
}

function expandPair(pair: KeyValue, expand: (word: string) => string): KeyValue {
  return { ...pair, key: expand(pair.key), value: expand(pair.value) };
}

type Arg = Extract<Instruction, { kind: "arg" }>;

function expandArg(instruction: Arg, scope: Scope): Instruction {
  const left = new Map<string, string>();
  const env = { get: (name: string) => left.get(name) ?? scope.env.get(name) };
  const args = instruction.args.map(({ name, value }) => {
    if (value === undefined) return { name };
    const text = expandWord(value, { ...scope, env });
    left.set(name, text);
    return { name, value: text };
  });
  return { ...instruction, args };
}

function volumePath(path: string): string {
  const trimmed = trimSpace(path);
  if (trimmed === "") throw refuse("VOLUME specified can not be an empty string");
  return path;
}

function lex(
  word: string,
  scope: Scope,
  options: { readonly ignoresQuotes?: boolean; readonly charsMax?: number } = {},
): LexedWord {
  const told = new Set<string>();
  return lexWord(word, {
    ...options,
    escape: scope.escape,
    lookup: (name) => {
      const value = scope.env.get(name);
      if (!told.has(name)) {
        told.add(name);
        if (value === undefined) scope.onUndefined?.(name);
        else scope.onDefined?.(name);
      }
      return value;
    },
  });
}
