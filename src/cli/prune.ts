/** What all `prune` commands do: ask, remove, list, say how much was won. */
import type { FlagDefinition } from "../lib/flags.ts";
import { formatSize } from "../lib/size.ts";
import type { Invocation } from "./command.ts";
import { confirm } from "./confirm.ts";
import { listFlag, switchFlag } from "./flag/flags.ts";

/** `--filter` and `--force` of prunes. */
export const pruneFlags: readonly FlagDefinition[] = [
  listFlag("filter", 'Provide filter values (e.g. "until=<timestamp>")', { placeholder: "filter" }),
  switchFlag("force", "Do not prompt for confirmation", { short: "f" }),
];

/** What a prune has removed. */
export interface Pruned {
  readonly title: string;
  readonly lines: readonly string[];
  readonly reclaimedBytes: number;
}

/** Carries a prune out. */
export async function prune(
  invocation: Invocation,
  options: { readonly warning: string; readonly act: () => Promise<Pruned> },
): Promise<number> {
  const { flags, output } = invocation;
  // Docker: no is an answer, not a failure, seen in 28.2
  if (!flags.isOn("force") && !(await confirm(`WARNING! ${options.warning}`, output))) return 0;
  const { title, lines, reclaimedBytes } = await options.act();
  if (lines.length > 0) output.out(`${title}\n${lines.map((line) => `${line}\n`).join("")}\n`);
  output.out(`Total reclaimed space: ${formatSize(reclaimedBytes)}\n`);
  return 0;
}
