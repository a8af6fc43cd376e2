import type { FlagDefinition } from "../lib/flags.ts";
import { formatSize } from "../lib/size.ts";
import type { Collection } from "./registry.ts";

/** What `tug registry` can do. */
export const registryCommands: readonly { readonly name: string; readonly help: string }[] = [
  { name: "gc", help: "Remove what no manifest names, also while the registry is served" },
  {
    name: "htpasswd",
    help: "Print the line of a user for --htpasswd; reads the password from stdin",
  },
  { name: "serve", help: "Serve a registry" },
];

/** The help of `tug registry`. */
export function registryHelp(): string {
  const rows = registryCommands.map(({ name, help }) => `  ${name.padEnd(11)}${help}`);
  return [
    "Usage:  tug registry COMMAND",
    "",
    "Keep images: a registry that Docker, containerd, Podman and Tug push to and pull from.",
    "",
    "Commands:",
    ...rows,
    "",
    "Run 'tug registry COMMAND --help' for more information on a command.",
    "",
  ].join("\n");
}

/** The help of one of its commands. */
export function commandHelp(
  command: { readonly usage: string; readonly help: string },
  flags: readonly FlagDefinition[],
): string {
  const rows = flags
    .filter((flag) => flag.isHidden !== true)
    .toSorted((left, right) => left.name.localeCompare(right.name))
    .map(row);
  const width = Math.max(...rows.map(([left]) => left.length)) + 3;
  return [
    `Usage:  tug registry ${command.usage}`,
    "",
    command.help,
    "",
    "Options:",
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}${right}`),
    "",
  ].join("\n");
}

const words = { switch: "", text: "string", list: "list", number: "int" } as const;

function row(flag: FlagDefinition): readonly [string, string] {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const word = flag.placeholder ?? words[flag.kind];
  const left = `${short}--${flag.name}${word === "" ? "" : ` ${word}`}`;
  const fallback = flag.fallback === undefined ? "" : ` (default ${JSON.stringify(flag.fallback)})`;
  return [left, `${flag.help}${fallback}`];
}

/** What `tug registry gc` prints. */
export function describeCollection(done: Collection): string {
  const { manifestCount, blobCount, fileCount, freedBytes } = done;
  return (
    `removed ${manifestCount} manifests, ${blobCount} blobs, ${fileCount} files\n` +
    `Total reclaimed space: ${formatSize(freedBytes)}\n`
  );
}
