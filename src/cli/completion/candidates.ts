/** What may stand at the cursor, from the tables of commands and flags. */
import type { FlagDefinition } from "../../lib/flags.ts";
import type { Command, CompletionSource } from "../command.ts";
import { commandGroups, commands, findCommand } from "../commands.ts";
import { globalFlags } from "../flag/global-flags.ts";

/** One offer. */
export interface Candidate {
  readonly word: string;
  readonly help: string;
}

/** All that may be offered. */
export interface Candidates {
  readonly candidates: readonly Candidate[];
  /** Names that only the engine knows. */
  readonly source?: CompletionSource;
  readonly offersFiles: boolean;
}

/** Flags whose value is a file, and those whose value is one of a few words or names. */
const fileFlags = new Set(["env-file", "label-file", "cidfile", "input", "output", "config"]);
const valueSources: Readonly<Record<string, CompletionSource>> = {
  network: "networks",
  "volumes-from": "containers",
  context: "contexts",
};
const valueWords: Readonly<Record<string, readonly string[]>> = {
  pull: ["always", "missing", "never"],
  restart: ["no", "always", "on-failure", "unless-stopped"],
  "log-driver": ["json-file", "none"],
  cgroupns: ["host", "private"],
  ipc: ["none", "private", "shareable", "host", "container:"],
  pid: ["host", "container:"],
  type: ["container", "image", "network", "volume"],
  signal: ["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"],
  "stop-signal": ["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"],
  attach: ["stdin", "stdout", "stderr"],
  format: ["json", "table"],
};

/** Finds the offers for `words`, the last of which is being typed. */
export async function candidatesFor(words: readonly string[]): Promise<Candidates> {
  const before = skipGlobalFlags(words.slice(0, -1));
  const current = words.at(-1) ?? "";
  const found = findCommand(before);
  if (found.kind === "command") {
    return commandCandidates((await found.entry.load()).command, { before: found.rest, current });
  }
  if (found.kind === "group") return offer(groupCandidates(found.group.name));
  if (before.length > 0) return offer([]);
  const flags = current.startsWith("-") ? flagCandidates(globalFlags) : [];
  return offer(current.startsWith("-") ? flags : topCandidates());
}

function commandCandidates(
  command: Command,
  typed: { readonly before: readonly string[]; readonly current: string },
): Candidates {
  const { before, current } = typed;
  const previous = before.at(-1) ?? "";
  const flag = command.flags.find(
    (one) =>
      previous === `--${one.name}` || (one.short !== undefined && isShort(previous, one.short)),
  );
  if (flag !== undefined && flag.kind !== "switch") return valueCandidates(flag, "");
  const assigned = /^--([\w-]+)=/.exec(current);
  const assignedFlag = command.flags.find((one) => one.name === assigned?.[1]);
  if (assignedFlag !== undefined) return valueCandidates(assignedFlag, `--${assignedFlag.name}=`);
  const operands = operandsOf(command, before);
  const isPast = command.stopsAtOperand === true && operands > 0;
  if (current.startsWith("-") && !isPast) return offer(flagCandidates(command.flags));
  if (isPast || operands >= command.operands.max) return { candidates: [], offersFiles: isPast };
  if (command.usage.includes("bash|zsh|fish")) {
    return offer(["bash", "zsh", "fish"].map((word) => ({ word, help: "" })));
  }
  const source = command.completes;
  return {
    candidates: [],
    ...(source === undefined ? {} : { source }),
    offersFiles: source === undefined,
  };
}

function valueCandidates(flag: FlagDefinition, prefix: string): Candidates {
  const source = valueSources[flag.name];
  const words = (valueWords[flag.name] ?? []).map((word) => ({
    word: `${prefix}${word}`,
    help: "",
  }));
  const isFile = fileFlags.has(flag.name) || flag.name === "volume" || flag.name === "device";
  return {
    candidates: words,
    ...(source === undefined || prefix !== "" ? {} : { source }),
    offersFiles: isFile,
  };
}

function operandsOf(command: Command, words: readonly string[]): number {
  let count = 0;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? "";
    if (!word.startsWith("-")) {
      count += 1;
      continue;
    }
    const flag = command.flags.find(
      (one) => word === `--${one.name}` || (one.short !== undefined && isShort(word, one.short)),
    );
    if (flag !== undefined && flag.kind !== "switch") at += 1;
  }
  return count;
}

/** `-p` and `-itp` end with the flag that takes the next word. */
function isShort(word: string, short: string): boolean {
  return /^-[A-Za-z]+$/.test(word) && word.endsWith(short);
}

function skipGlobalFlags(words: readonly string[]): readonly string[] {
  let at = 0;
  for (; at < words.length; at += 1) {
    const word = words[at] ?? "";
    if (!word.startsWith("-")) break;
    const flag = globalFlags.find((one) => word === `--${one.name}` || word === `-${one.short}`);
    if (flag !== undefined && flag.kind !== "switch") at += 1;
  }
  return words.slice(at);
}

function flagCandidates(flags: readonly FlagDefinition[]): readonly Candidate[] {
  return flags
    .filter((flag) => flag.isHidden !== true)
    .map((flag) => ({ word: `--${flag.name}`, help: flag.help.split("\n")[0] ?? "" }));
}

function groupCandidates(group: string): readonly Candidate[] {
  return commands.flatMap((one) => {
    const name = one.names[0] ?? "";
    const isShown = one.isHidden !== true && name.startsWith(`${group} `);
    return isShown ? [{ word: name.slice(group.length + 1), help: one.help }] : [];
  });
}

function topCandidates(): readonly Candidate[] {
  const short = commands.flatMap((one) =>
    one.isHidden === true
      ? []
      : one.names.filter((name) => !name.includes(" ")).map((word) => ({ word, help: one.help })),
  );
  const groups = commandGroups.map((group) => ({ word: group.name, help: group.help }));
  const own = [
    { word: "daemon", help: "Run the engine" },
    { word: "registry", help: "Serve a registry of images" },
  ];
  return [...short, ...groups, ...own].sort((left, right) => (left.word < right.word ? -1 : 1));
}

function offer(candidates: readonly Candidate[]): Candidates {
  return { candidates, offersFiles: false };
}
