import type { BuildWarning } from "../build-service.ts";
import type { Dockerfile, Location } from "../dockerfile/instruction.ts";
import { experimentalRules, lintRules, type RuleName } from "./lint-rules.ts";

/** Warnings kept of one Dockerfile. */
const warningsMax = 1_000;

type Check = NonNullable<Dockerfile["directives"]["check"]>;

/** Gathers the warnings that are wanted. */
export class LintReport {
  readonly #warnings: BuildWarning[] = [];
  readonly #check: Check;

  constructor(check: Check) {
    this.#check = check;
  }

  /** The warnings in the order of the file. */
  get warnings(): readonly BuildWarning[] {
    return this.#warnings.toSorted((left, right) => left.startLine - right.startLine);
  }

  /** Whether a rule is told. */
  tells(rule: RuleName): boolean {
    const { skip, experimental = [] } = this.#check;
    if (skip.includes("all") || skip.includes(rule)) return false;
    if (!experimentalRules.includes(rule)) return true;
    return experimental.includes("all") || experimental.includes(rule);
  }

  add(rule: RuleName, location: Location, detail: string): void {
    const known = lintRules.get(rule);
    if (known === undefined || !this.tells(rule) || this.#warnings.length >= warningsMax) return;
    this.#warnings.push({
      rule: known.name,
      description: known.description,
      url: known.url,
      detail,
      startLine: location.startLine,
      endLine: location.endLine,
    });
  }
}
