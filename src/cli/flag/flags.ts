/** Short ways to write down flags, and the flags that many commands share. */
import type { FlagDefinition } from "../../lib/flags.ts";

/** What differs from a plain flag. */
export interface FlagExtras {
  readonly short?: string;
  readonly placeholder?: string;
  readonly fallback?: string;
  readonly isHidden?: boolean;
  readonly aliasOf?: string;
}

/** A switch. */
export function switchFlag(name: string, help: string, extras: FlagExtras = {}): FlagDefinition {
  return { name, help, kind: "switch", ...extras };
}

/** A flag with one text. */
export function textFlag(name: string, help: string, extras: FlagExtras = {}): FlagDefinition {
  return { name, help, kind: "text", placeholder: "string", ...extras };
}

/** A flag that may be given many times. */
export function listFlag(name: string, help: string, extras: FlagExtras = {}): FlagDefinition {
  return { name, help, kind: "list", placeholder: "list", ...extras };
}

/** A flag with a whole number. */
export function numberFlag(name: string, help: string, extras: FlagExtras = {}): FlagDefinition {
  return { name, help, kind: "number", placeholder: "int", ...extras };
}

const formatDetails =
  "'TEMPLATE':         Print output using the given Go template.\n" +
  "Refer to https://docs.docker.com/go/formatting/ for more information about formatting " +
  "output with templates";

/** `--format` of lists. */
export const listFormatFlag: FlagDefinition = textFlag(
  "format",
  "Format output using a custom template:\n" +
    "'table':            Print output in table format with column headers (default)\n" +
    "'table TEMPLATE':   Print output in table format using the given Go template\n" +
    `'json':             Print in JSON format\n${formatDetails}`,
);

/** `--format` of single things. */
export const inspectFormatFlag: FlagDefinition = textFlag(
  "format",
  "Format output using a custom template:\n" +
    `'json':             Print in JSON format\n${formatDetails}`,
  { short: "f" },
);

/** `--filter` of lists. */
export const filterFlag: FlagDefinition = listFlag(
  "filter",
  "Filter output based on conditions provided",
  { short: "f", placeholder: "filter" },
);
