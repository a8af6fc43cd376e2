/** Rules on FROM. */
import { EngineError } from "../../lib/errors.ts";
import { parsePlatform, type Platform } from "../../oci/platform.ts";
import { findReference } from "../../oci/reference.ts";
import type { LintReport } from "./_lint-report.ts";
import { placed } from "../dockerfile/refusal.ts";
import { hint } from "../dockerfile/suggest.ts";
import { settleMetaArgs } from "../dockerfile/arguments.ts";
import { expandWord } from "../dockerfile/expand.ts";
import type { Dockerfile, Stage } from "../dockerfile/instruction.ts";

/** What a stage begins with. */
export interface LintedBase {
  /** Expanded. */
  readonly image: string;
  /** The stage that it is. */
  readonly stage: number | undefined;
  /** As `--platform` has it. */
  readonly platform: Platform | undefined;
}

interface Facts {
  readonly meta: ReadonlyMap<string, string>;
  readonly platform: ReadonlyMap<string, string>;
  readonly report: LintReport;
}

/** Checks every FROM, and tells what each stage begins with. @throws invalid-argument */
export function lintBases(dockerfile: Dockerfile, facts: Facts): readonly LintedBase[] {
  lintDefaults(dockerfile, facts);
  const declared = new Set(facts.platform.keys());
  for (const { args } of dockerfile.metaArgs) for (const { name } of args) declared.add(name);
  const names = new Map<string, number>();
  return dockerfile.stages.map((stage) => {
    const escapeMark = dockerfile.directives.escape;
    const linter = new FromLinter(stage, {
      ...facts,
      escape: escapeMark,
      declared: [...declared],
    });
    const image = linter.expandImage();
    const platform = linter.expandPlatform();
    const base = { image, stage: names.get(image.toLowerCase()), platform };
    if (stage.name !== undefined) names.set(stage.name, stage.index);
    return base;
  });
}

/** A name that nobody gives must be worth something without --build-arg. */
function lintDefaults(dockerfile: Dockerfile, { platform, report }: Facts): void {
  const escapeMark = dockerfile.directives.escape;
  try {
    const env = settleMetaArgs(dockerfile, { given: new Map(), platform });
    for (const { from } of dockerfile.stages) {
      if (findReference(expandWord(from.image, { env, escape: escapeMark })) !== undefined)
        continue;
      const detail = `Default value for ARG ${from.image} results in empty or invalid base image name`;
      report.add("InvalidDefaultArgInFrom", from.location, detail);
    }
  } catch (error) {
    // A default that cannot be expanded is told by the build, with the values that are given.
    if (!(error instanceof EngineError)) throw error;
  }
}

interface FromFacts extends Facts {
  readonly escape: "\\" | "`";
  /** Names that FROM may use. */
  readonly declared: readonly string[];
}

class FromLinter {
  readonly #stage: Stage;
  readonly #facts: FromFacts;

  constructor(stage: Stage, facts: FromFacts) {
    this.#stage = stage;
    this.#facts = facts;
  }

  expandImage(): string {
    return this.#expand(this.#stage.from.image, () => undefined);
  }

  expandPlatform(): Platform | undefined {
    const { from } = this.#stage;
    if (from.platform === undefined) return undefined;
    const used: string[] = [];
    const text = this.#expand(from.platform, (name) => used.push(name));
    const platform = findPlatform(text);
    this.#lintPlatform({ text, used, platform });
    return platform;
  }

  #expand(word: string, onUse: (name: string) => void): string {
    const { from } = this.#stage;
    const { meta, declared, report } = this.#facts;
    const onUndefined = (name: string): void => {
      onUse("");
      if (declared.includes(name)) return;
      const detail = `FROM argument '${name}' is not declared${hint(name, declared)}`;
      report.add("UndefinedArgInFrom", from.location, detail);
    };
    try {
      return expandWord(word, {
        env: meta,
        escape: this.#facts.escape,
        onUndefined,
        onDefined: onUse,
      });
    } catch (error) {
      throw placed(error, from.location);
    }
  }

  #lintPlatform(found: {
    readonly text: string;
    readonly used: readonly string[];
    readonly platform: Platform | undefined;
  }): void {
    const { from, name = "" } = this.#stage;
    const { meta, report } = this.#facts;
    const { text, used, platform } = found;
    if (used.length === 1 && used[0] === "TARGETPLATFORM" && text === meta.get("TARGETPLATFORM")) {
      const detail = `Setting platform to predefined ${from.platform} in FROM is redundant as this is the default behavior`;
      report.add("RedundantTargetPlatform", from.location, detail);
    }
    if (used.length > 0 || platform === undefined) return;
    if (name.includes(platform.os) || name.includes(platform.architecture)) return;
    const detail = `FROM --platform flag should not use constant value ${JSON.stringify(text)}`;
    report.add("FromPlatformFlagConstDisallowed", from.location, detail);
  }
}

function findPlatform(text: string): Platform | undefined {
  try {
    return parsePlatform(text);
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}
