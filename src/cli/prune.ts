/** What all `prune` commands do: ask, remove, list, say how much was won. */
import { EngineError } from "../lib/errors.ts";
import type { FlagDefinition } from "../lib/flags.ts";
import type { Invocation } from "./command.ts";
import { confirm } from "./confirm.ts";
import { listFlag, switchFlag } from "./flag/flags.ts";
import { listSize } from "./format/human.ts";

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
  if (!flags.isOn("force") && !(await confirm(`WARNING! ${options.warning}`, output))) {
    throw new EngineError("canceled", "prune has been canceled");
  }
  const { title, lines, reclaimedBytes } = await options.act();
  if (lines.length > 0) output.out(`${title}\n${lines.map((line) => `${line}\n`).join("")}\n`);
  output.out(`Total reclaimed space: ${listSize(reclaimedBytes)}\n`);
  return 0;
}
