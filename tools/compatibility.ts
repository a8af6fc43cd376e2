/**
 * Writes docs/compatibility.md from the tables that the program runs on.
 *
 * `bun tools/compatibility.ts` writes the file; tools/docs.test.ts compares it.
 */
import { Glob } from "bun";
import { type Route, routes } from "../src/api/route-table.ts";
import { apiVersionMax, apiVersionMin } from "../src/api/versions.ts";
import type { Command } from "../src/cli/command.ts";
import { type CommandEntry, commands } from "../src/cli/commands.ts";
import { codeOf } from "../src/lib/errors.ts";
import type { FlagDefinition } from "../src/lib/flags.ts";
import { type DaemonOption, daemonOptions } from "../src/daemon/options.ts";
import { handlers } from "../src/server/server.ts";

/** Where it belongs. */
export const compatibilityPath = "docs/compatibility.md";

/** How to bring the file up to date. */
export const updateCommand = "node_modules/.bin/bun tools/compatibility.ts";

/** Groups of operations by the first part of their names, in the order of the document. */
const groups: readonly (readonly [title: string, names: RegExp])[] = [
  ["System", /^System/],
  ["Containers", /^(?:PutContainer|Container)/],
  ["Exec", /^Exec/],
  ["Images", /^Image(?!Build|Commit)/],
  ["Volumes", /^Volume/],
  ["Networks", /^Network/],
  ["Builds", /^(?:Build|ImageBuild|ImageCommit|Session|Grpc)/],
  ["Distribution", /^Distribution/],
  ["Checkpoints", /^Checkpoint/],
  ["Swarm", /^(?:Swarm|Node|Service|Task|Secret|Config)/],
  ["Plugins", /^(?:Plugin|GetPlugin)/],
];

/** What an operation that is served does not do yet; told with 501. */
const partly: Readonly<Record<string, string>> = {
  ImageBuild: "with `version=2` (BuildKit) makes images alone: not files, archives or layouts",
};

/** The whole document. */
export async function renderCompatibility(): Promise<string> {
  return [
    head,
    renderOperations(),
    await renderCommands(),
    renderDaemonOptions(daemonOptions),
    renderRefusals(await findRefusals()),
  ].join("\n");
}

const head = `# What of Docker is there

Written by \`tools/compatibility.ts\` from the tables that the program runs on; do not edit.
To bring it up to date: \`${updateCommand}\`
`;

function renderOperations(): string {
  const served = routes.filter(isServed);
  const lines = [
    "## Engine API",
    "",
    `Versions ${apiVersionMin} to ${apiVersionMax} are spoken. Of ${routes.length} operations ` +
      `${served.length} are served; each of the others is answered 501 with a sentence that names it.`,
    "",
  ];
  const grouped = new Set<string>();
  for (const [title, names] of groups) {
    const here = routes.filter(({ name }) => names.test(name) && !grouped.has(name));
    for (const { name } of here) grouped.add(name);
    lines.push(`### ${title}`, "", ...renderGroup(here));
  }
  const rest = routes.filter(({ name }) => !grouped.has(name));
  if (rest.length > 0) lines.push("### Others", "", ...renderGroup(rest));
  return lines.join("\n");
}

/** Whether an operation has a handler; what its row claims is compared by a test. */
export function isServed({ name }: Route): boolean {
  return Object.hasOwn(handlers, name);
}

function renderGroup(group: readonly Route[]): readonly string[] {
  const served = group.filter(isServed);
  const planned = group.filter((route) => !isServed(route));
  const table =
    served.length === 0
      ? []
      : [
          "| served | operation | since | but |",
          "|---|---|---|---|",
          ...served.map(
            ({ name, method, path, since }) =>
              `| \`${method} ${path}\` | ${name} | ${since ?? apiVersionMin} | ${partly[name] ?? ""} |`,
          ),
          "",
        ];
  const list = planned.map(({ method, path }) => `\`${method} ${path}\``).join(", ");
  return planned.length === 0 ? table : [...table, `Not yet (501): ${list}`, ""];
}

/** A command of the table; one whose file is missing has no definition. */
interface LoadedCommand {
  readonly entry: CommandEntry;
  readonly command: Command | undefined;
}

/** The command whose flags are shown one by one. */
const shownInFull = "container run";

async function renderCommands(): Promise<string> {
  const visible = commands.filter((entry) => entry.isHidden !== true);
  const loaded = await Promise.all(
    visible.map(async (entry) => ({ entry, command: await loadCommand(entry) })),
  );
  const there = loaded.filter(({ command }) => command !== undefined);
  const missing = loaded.filter(({ command }) => command === undefined);
  const run = there.find(({ entry }) => entry.names[0] === shownInFull)?.command;
  return [
    "## Commands",
    "",
    `\`tug\` has ${there.length} commands of Docker's, with these flags. A flag that is not listed is refused by name.`,
    "",
    "| command | also | flags |",
    "|---|---|---|",
    ...there.map(renderCommand),
    "",
    ...(missing.length === 0
      ? []
      : [
          `Not there yet: ${missing.map(({ entry }) => code(entry.names[0] ?? "")).join(", ")}`,
          "",
        ]),
    ...(run === undefined ? [] : renderFlags("Flags of `tug run`", run.flags)),
  ].join("\n");
}

async function loadCommand(entry: CommandEntry): Promise<Command | undefined> {
  try {
    return (await entry.load()).command;
  } catch (error) {
    if (codeOf(error) === "ERR_MODULE_NOT_FOUND" || error instanceof ResolveMessage)
      return undefined;
    throw error;
  }
}

function renderCommand({ entry, command }: LoadedCommand): string {
  const [name = "", ...others] = entry.names;
  const shown = (command?.flags ?? []).filter(({ isHidden }) => isHidden !== true);
  const flags = name === shownInFull ? "below" : shown.map(flagName).join(", ");
  return `| ${code(`tug ${name}`)} | ${others.map(code).join(", ")} | ${flags} |`;
}

function renderFlags(title: string, flags: readonly FlagDefinition[]): readonly string[] {
  const rows = flags
    .filter(({ isHidden }) => isHidden !== true)
    .toSorted((left, right) => left.name.localeCompare(right.name))
    .map((flag) => `| ${flagName(flag)} | ${cell(flag.help)} |`);
  return [`### ${title}`, "", "| flag | |", "|---|---|", ...rows, ""];
}

function flagName({ name, short }: FlagDefinition): string {
  return short === undefined ? code(`--${name}`) : `${code(`-${short}`)} ${code(`--${name}`)}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

function renderDaemonOptions(options: readonly DaemonOption[]): string {
  const rows = options
    .toSorted((left, right) => left.flag.name.localeCompare(right.flag.name))
    .map(({ key, type, flag, isReloadable }) => {
      const short = flag.short === undefined ? "" : `\`-${flag.short}\`, `;
      const fallback = flag.fallback === undefined ? "" : `\`${flag.fallback}\``;
      const reload = isReloadable === true ? "yes" : "";
      return `| ${short}\`--${flag.name}\` | \`${key}\` (${type}) | ${fallback} | ${reload} | ${cell(flag.help)} |`;
    });
  return [
    "## Options of the daemon",
    "",
    "Names are Docker's. A key that is not listed is refused by name; an option that is given both as " +
      "a flag and in `daemon.json` is refused, as by Docker.",
    "",
    "| flag | key in daemon.json | default | taken up on SIGHUP | |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

/** Text for one cell of a table. */
function cell(text: string): string {
  return text.replace(/\s+/g, " ").replaceAll("|", "\\|");
}

/** What is refused by name. */
export interface Refusals {
  /** Fields of a request: `HostConfig.Links`. */
  readonly fields: readonly string[];
  /** Sentences of other refusals. */
  readonly sentences: readonly string[];
}

const refusingCode = /"not-implemented",\s*(?:"([^"]+)"|`([^`]+)`)/g;
const refusingField = /unsupported\(\s*(?:"([^"]+)"|`([^`]+)`)/g;
const listedField = /"((?:Host|Networking)?Config\.\w+)":/g;

/** Finds refusals with `not-implemented` in the source of the engine. */
export async function findRefusals(): Promise<Refusals> {
  const fields = new Set<string>();
  const sentences = new Set<string>();
  for await (const file of new Glob(
    "src/{container,image,network,volume,runtime,server,lib}/**/*.ts",
  ).scan(".")) {
    if (/\.(?:test|suite)\.ts$/.test(file)) continue;
    const text = await Bun.file(file).text();
    for (const field of textsOf(refusingField, text)) fields.add(field);
    if (text.includes("refuseUnsupported")) {
      for (const field of textsOf(listedField, text)) fields.add(field);
    }
    for (const sentence of textsOf(refusingCode, text)) {
      const named = /^Tug does not support (HostConfig\S+|Config\S+) yet$/.exec(sentence)?.[1];
      if (named !== undefined) fields.add(named);
      else if (!/^Tug does not (?:support|serve) ….*yet$/.test(sentence)) sentences.add(sentence);
    }
  }
  return { fields: [...fields].toSorted(), sentences: [...sentences].toSorted() };
}

function textsOf(pattern: RegExp, text: string): readonly string[] {
  return [...text.matchAll(pattern)].map(([, plain, template]) =>
    (plain ?? template ?? "").replace(/\$\{[^}]*\}/g, "…"),
  );
}

function renderRefusals({ fields, sentences }: Refusals): string {
  return [
    "## Refused by name",
    "",
    "What a request asks for and is not there yet is never ignored: it is answered 501.",
    "",
    "Fields of a request to create a container:",
    "",
    ...fields.map((field) => `- \`${field}\``),
    "",
    "Other requests, by the sentence of the answer (… stands for a value):",
    "",
    ...sentences.map((sentence) => `- ${sentence}`),
    "",
  ].join("\n");
}

if (import.meta.main) {
  await Bun.write(compatibilityPath, await renderCompatibility());
  console.log(`wrote ${compatibilityPath}`);
}
