/** Help texts and the answers to command lines that make no sense. */
import { messageOf, EngineError } from "../../lib/errors.ts";
import type { FlagDefinition } from "../../lib/flags.ts";
import type { Command } from "../command.ts";
import {
  type CommandEntry,
  type CommandGroup,
  commandGroups,
  commands,
  type Found,
  plannedCommands,
} from "../commands.ts";
import { globalFlags } from "../flag/global-flags.ts";
import { suggest } from "./suggest.ts";

/** A command as it was called. */
export interface CalledCommand {
  readonly command: Command;
  readonly entry: CommandEntry;
  /** `tug ps`. */
  readonly name: string;
}

const indent = "  ";
/** Narrower than this, option texts are not wrapped. */
const textMinWidth = 24;
const common = ["run", "exec", "ps", "images", "version", "info"];

/** The help of one command, fitted to the terminal. */
export function renderHelp(called: CalledCommand, columns: number): string {
  const { command, entry, name } = called;
  const parts = [`${usageLine(called)}\n`, `${entry.help}\n`];
  if (command.details !== undefined) parts.push(`${command.details}\n`);
  if (entry.names.length > 1) {
    parts.push(`Aliases:\n${indent}${entry.names.map((one) => `tug ${one}`).join(", ")}\n`);
  }
  const flags = command.flags.filter((flag) => flag.isHidden !== true);
  if (flags.length > 0) parts.push(`Options:\n${renderFlags(flags, columns)}`);
  void name;
  return parts.join("\n");
}

/** The table of options. */
export function renderFlags(flags: readonly FlagDefinition[], columns: number): string {
  const rows = flags
    .toSorted((left, right) => (left.name < right.name ? -1 : 1))
    .map((flag) => ({ left: leftOf(flag), text: textOf(flag) }));
  const width = Math.max(...rows.map((row) => row.left.length)) + 3;
  const available = Math.max(textMinWidth, columns - width);
  return rows
    .map((row) => {
      const [first = "", ...others] = wrap(row.text, available);
      const rest = others.map((line) => `${" ".repeat(width)}${line}\n`).join("");
      return `${`${row.left.padEnd(width)}${first}`.trimEnd()}\n${rest}`;
    })
    .join("");
}

/** The help of `tug` itself. */
export async function renderTopHelp(columns: number): Promise<string> {
  const shown = commands.filter((one) => one.isHidden !== true);
  const top = shown.flatMap((one) => {
    const name = one.names.find((candidate) => !candidate.includes(" "));
    return name === undefined ? [] : [{ name, help: one.help }];
  });
  const isCommon = (row: { readonly name: string }): boolean => common.includes(row.name);
  const commonRows = common.flatMap((name) => top.filter((row) => row.name === name));
  const others = [...top.filter((row) => !isCommon(row)), daemonRow, registryRow];
  return [
    "Usage:  tug [OPTIONS] COMMAND\n",
    "A container engine: Docker's commands and API\n",
    section("Common Commands:", commonRows),
    section("Management Commands:", commandGroups),
    section(
      "Commands:",
      others.sort((left, right) => (left.name < right.name ? -1 : 1)),
    ),
    `Global Options:\n${renderFlags(globalFlags, columns)}`,
    "Run 'tug COMMAND --help' for more information on a command.\n",
  ].join("\n");
}

const daemonRow = { name: "daemon", help: "Run the engine" };
const registryRow = { name: "registry", help: "Serve a registry of images" };

/** The help of a group of commands. */
export function renderGroupHelp(group: CommandGroup): string {
  const rows = commands
    .filter((one) => one.isHidden !== true && one.names[0]?.startsWith(`${group.name} `) === true)
    .map((one) => ({ name: one.names[0]?.slice(group.name.length + 1) ?? "", help: one.help }));
  return [
    `Usage:  tug ${group.name} COMMAND\n`,
    `${group.help}\n`,
    section("Commands:", rows),
    `Run 'tug ${group.name} COMMAND --help' for more information on a command.\n`,
  ].join("\n");
}

/** What to answer when the words name no command. */
export function explainMissing(
  found: Exclude<Found, { readonly kind: "command" }>,
  options: { readonly isHelpTopic: boolean; readonly asksHelp: boolean; readonly columns: number },
): { readonly text: string; readonly exitCode: number } {
  if (found.kind === "group") {
    const [flag] = found.rest;
    if (flag === undefined || flag === "--help" || flag === "-h") {
      return { text: renderGroupHelp(found.group), exitCode: 0 };
    }
    const name = flag.split("=")[0] ?? flag;
    const problem = flag.startsWith("--")
      ? `unknown flag: ${name}`
      : `unknown shorthand flag: '${flag.charAt(1)}' in ${flag}`;
    const help = `Run 'tug ${found.group.name} --help' for more information`;
    return {
      text: `${problem}\n\nUsage:  tug ${found.group.name} COMMAND\n\n${help}\n`,
      exitCode: 125,
    };
  }
  if (found.kind === "planned") {
    return { text: `tug: '${found.name}' is not there yet\n`, exitCode: 1 };
  }
  if (found.name === "daemon" || found.name === "help") {
    return { text: "Run 'tug daemon --help' for the daemon's options\n", exitCode: 0 };
  }
  if (found.name === "registry") {
    return { text: "Run 'tug registry --help' for the registry's commands\n", exitCode: 0 };
  }
  const [group = "", sub] = found.name.split(" ");
  const scope = sub === undefined ? "" : ` ${group}`;
  const near = suggest(sub ?? found.name, sub === undefined ? topNames() : groupNames(group));
  const meant = sub === undefined ? near : near.map((name) => `${group} ${name}`);
  const hint = meant.length === 0 ? "" : `\nDid you mean this?\n${list(meant)}`;
  const problem = options.isHelpTopic
    ? `unknown help topic: ${found.name}`
    : `tug: unknown command: tug ${found.name}`;
  return {
    text: `${problem}\n${hint}\nRun 'tug${scope} --help' for more information\n`,
    exitCode: 1,
  };
}

/** What to answer to flags that do not parse. */
export function explainUsage(
  error: unknown,
  called: Partial<CalledCommand> & { readonly flags: readonly FlagDefinition[] },
): string {
  const name = called.name ?? "tug";
  const usage =
    called.command === undefined
      ? "Usage:  tug [OPTIONS] COMMAND [ARG...]"
      : usageLine({ name, command: called.command });
  const flag = error instanceof EngineError ? error.details["flag"] : undefined;
  const isUnknown = messageOf(error).startsWith("unknown flag: ");
  const visible = called.flags.filter((one) => one.isHidden !== true);
  const candidates = visible.map((one) => one.name);
  const meant = isUnknown && typeof flag === "string" ? suggest(flag.slice(2), candidates) : [];
  const hint =
    meant.length === 0 ? "" : `did you mean ${meant.map((one) => `--${one}`).join(" or ")}?\n`;
  return `${messageOf(error)}\n${hint}\n${usage}\n\nRun '${name} --help' for more information\n`;
}

/** What to answer to too few or too many operands. */
export function explainOperands(called: CalledCommand): string {
  const { name, command } = called;
  const { min, max } = command.operands;
  const count = (number: number): string => `${number} argument${number === 1 ? "" : "s"}`;
  let wanted = `requires at least ${min} and at most ${count(max)}`;
  if (max === 0) wanted = "accepts no arguments";
  else if (min === max) wanted = `requires ${count(min)}`;
  else if (max === Number.POSITIVE_INFINITY) wanted = `requires at least ${count(min)}`;
  else if (min === 0) wanted = `requires at most ${count(max)}`;
  // Docker's two ways to say the same.
  const see = max === Number.POSITIVE_INFINITY ? "See" : "Run";
  return `tug: '${name}' ${wanted}\n\n${usageLine(called)}\n\n${see} '${name} --help' for more information\n`;
}

/** Breaks text at spaces so that lines fit; lines that are there stay. */
export function wrap(text: string, width: number): readonly string[] {
  return text.split("\n").flatMap((line) => {
    const lines: string[] = [];
    let rest = line;
    while (rest.length > width) {
      const cut = rest.lastIndexOf(" ", width);
      if (cut <= 0) break;
      lines.push(rest.slice(0, cut).trimEnd());
      rest = rest.slice(cut + 1);
    }
    return [...lines, rest];
  });
}

/** `-e, --env list`, as help and completion show a flag. */
function leftOf(flag: FlagDefinition): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.kind === "switch" ? "" : ` ${flag.placeholder ?? "string"}`;
  return `${indent}${short}--${flag.name}${value}`;
}

function textOf(flag: FlagDefinition): string {
  if (flag.fallback === undefined) return flag.help;
  const isQuoted = flag.kind === "text" && flag.placeholder === "string";
  return `${flag.help} (default ${isQuoted ? JSON.stringify(flag.fallback) : flag.fallback})`;
}

function usageLine(called: Pick<CalledCommand, "command" | "name">): string {
  return `Usage:  ${called.name} ${called.command.usage}`.trimEnd();
}

function section(
  title: string,
  rows: readonly { readonly name: string; readonly help: string }[],
): string {
  const width = Math.max(...rows.map((row) => row.name.length), 9) + 3;
  return `${title}\n${rows.map((row) => `${indent}${row.name.padEnd(width)}${row.help}\n`).join("")}`;
}

function topNames(): readonly string[] {
  const names = [...commands.flatMap((one) => one.names), ...plannedCommands, "daemon", "registry"];
  return [...names.filter((name) => !name.includes(" ")), ...commandGroups.map((one) => one.name)];
}

function groupNames(group: string): readonly string[] {
  return [...commands.flatMap((one) => one.names), ...plannedCommands]
    .filter((name) => name.startsWith(`${group} `))
    .map((name) => name.slice(group.length + 1));
}

function list(names: readonly string[]): string {
  return names.map((name) => `\ttug ${name}\n`).join("");
}
