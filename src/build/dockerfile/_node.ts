/** An instruction read as far as words: what each of them is cut into, and nothing of its meaning. */
import { isSpace, trimStart } from "./go-text.ts";
import { findHeredocMarks, stripTabs } from "./_heredoc.ts";
import type { LineReader, LogicalLine } from "./_lines.ts";
import { placed, refuse } from "./refusal.ts";
import {
  findJsonList,
  type Pair,
  splitCommand,
  splitPairs,
  splitPlain,
  splitWords,
} from "./words.ts";
import type { Heredoc, InstructionKind, Location } from "./instruction.ts";

/** An instruction in words. */
export interface Node {
  /** As written. */
  readonly name: string;
  readonly flags: readonly string[];
  readonly args: readonly string[];
  readonly isJson: boolean;
  /** ENV and LABEL. */
  readonly pairs: readonly Pair[];
  readonly heredocs: readonly Heredoc[];
  /** ONBUILD: the text of its trigger, here-documents included. */
  readonly trigger: string;
  readonly original: string;
  readonly location: Location;
  readonly comments: readonly string[];
  readonly hasEmptyLine: boolean;
}

interface Args {
  readonly args: readonly string[];
  readonly isJson?: boolean;
  readonly pairs?: readonly Pair[];
}

const kinds: Readonly<Record<InstructionKind, Reader>> = {
  add: readList,
  arg: (rest, mark) => ({ args: splitWords(rest, mark) }),
  cmd: readCommand,
  copy: readList,
  entrypoint: readCommand,
  env: (rest, mark) => ({ args: [], pairs: splitPairs(rest, { name: "ENV", escape: mark }) }),
  expose: (rest) => ({ args: splitPlain(rest) }),
  from: (rest) => ({ args: splitPlain(rest) }),
  healthcheck: readHealthcheck,
  label: (rest, mark) => ({ args: [], pairs: splitPairs(rest, { name: "LABEL", escape: mark }) }),
  maintainer: readWhole,
  onbuild: (rest, mark) => {
    if (rest === "") return { args: [] };
    const { name, rest: inner } = splitCommand(rest);
    const kind = findKind(name);
    // Read for what is wrong with it; a second ONBUILD is refused later.
    if (kind !== undefined && kind !== "onbuild") kinds[kind](inner, mark);
    return { args: [name] };
  },
  run: readCommand,
  shell: readCommand,
  stopsignal: readWhole,
  user: readWhole,
  volume: readList,
  workdir: readWhole,
};

/** @param mark the escape */
type Reader = (rest: string, mark: string) => Args;

/** Names of all instructions, in lower case. */
export const instructionKinds: readonly InstructionKind[] = [
  ...["add", "arg", "cmd", "copy", "entrypoint", "env", "expose", "from", "healthcheck"],
  ...["label", "maintainer", "onbuild", "run", "shell", "stopsignal", "user", "volume", "workdir"],
].filter(isKind);

/** The kind of an instruction's name in any case; undefined for none. */
export function findKind(name: string): InstructionKind | undefined {
  const lower = name.toLowerCase();
  return isKind(lower) ? lower : undefined;
}

function isKind(name: string): name is InstructionKind {
  return Object.hasOwn(kinds, name);
}

/**
 * Reads one instruction and the here-documents behind it.
 *
 * @throws invalid-argument with the place
 */
export function readNode(
  line: LogicalLine,
  options: { readonly reader: LineReader; readonly escape: string },
): Node {
  try {
    return readPlaced(line, options);
  } catch (error) {
    throw placed(error, line.location);
  }
}

function readPlaced(
  line: LogicalLine,
  options: { readonly reader: LineReader; readonly escape: string },
): Node {
  const { name, flags, rest } = splitCommand(line.text);
  const kind = findKind(name);
  const {
    args,
    isJson = false,
    pairs = [],
  } = kind === undefined ? { args: [] } : kinds[kind](rest, options.escape);
  const { startLine } = line.location;
  const takes = takesHeredocs(kind, { rest, isJson });
  const bodies = takes ? takeHeredocs(line.text, { reader: options.reader, startLine }) : [];
  const endLine = bodies.length === 0 ? line.location.endLine : options.reader.lineCount;
  const trigger = [rest, ...bodies.map(({ heredoc, written }) => written + heredoc.name)];
  return {
    name,
    flags,
    args,
    isJson,
    pairs,
    heredocs: bodies.map(({ heredoc }) => heredoc),
    trigger: kind === "onbuild" ? trigger.join("\n") : "",
    original: line.text.trim(),
    location: { startLine, endLine },
    comments: line.comments,
    hasEmptyLine: line.hasEmptyLine,
  };
}

function takesHeredocs(
  kind: InstructionKind | undefined,
  command: { readonly rest: string; readonly isJson: boolean },
): boolean {
  if (kind === "onbuild") {
    const { name, rest } = splitCommand(command.rest);
    const inner = findKind(name);
    const isJson = rest.startsWith("[") && findJsonList(rest) !== undefined;
    return inner !== "onbuild" && takesHeredocs(inner, { rest, isJson });
  }
  return !command.isJson && (kind === "run" || kind === "copy" || kind === "add");
}

/** A here-document, and what stands in the file. */
interface Body {
  readonly heredoc: Heredoc;
  readonly written: string;
}

function takeHeredocs(
  text: string,
  { reader, startLine }: { readonly reader: LineReader; readonly startLine: number },
): readonly Body[] {
  const marks = findHeredocMarks(text);
  return marks.map((mark) => {
    const written = reader.takeHeredoc(mark);
    if (written === undefined) {
      throw refuse("unterminated heredoc", { startLine, endLine: reader.lineCount });
    }
    const content = mark.hasTabsStripped ? stripTabs(written) : written;
    const asWritten = content === written ? {} : { written };
    return { heredoc: { ...mark, content, ...asWritten }, written };
  });
}

/** A JSON list, or words between blanks. */
function readList(rest: string): Args {
  const list = findJsonList(rest);
  return list === undefined ? { args: splitPlain(rest) } : { args: list, isJson: true };
}

/** A JSON list, or all of it for a shell. */
function readCommand(rest: string): Args {
  const list = findJsonList(rest);
  return list === undefined ? readWhole(rest) : { args: list, isJson: true };
}

function readWhole(rest: string): Args {
  return { args: rest === "" ? [] : [rest] };
}

function readHealthcheck(rest: string): Args {
  let end = 0;
  while (end < rest.length && !isSpace(rest.charAt(end))) end += 1;
  if (end === 0) return { args: [] };
  const { args, isJson = false } = readCommand(trimStart(rest.slice(end)));
  return { args: [rest.slice(0, end), ...args], isJson };
}
