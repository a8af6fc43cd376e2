/** The check of `build --check`: warnings about what is valid, and most likely not meant. */
import { EngineError } from "../../lib/errors.ts";
import type { IgnoreMatcher } from "../../lib/pattern/ignore-patterns.ts";
import { formatPlatform, hostPlatform, type Platform } from "../../oci/platform.ts";
import type { BuildWarning } from "../build-service.ts";
import { lintBases } from "./_lint-bases.ts";
import { isOurs } from "./lint-rules.ts";
import { LintReport } from "./_lint-report.ts";
import { StageLinter, type StageState } from "./_lint-stage.ts";
import { lintWritten } from "./_lint-written.ts";
import { platformArgs, settleMetaArgs } from "../dockerfile/arguments.ts";
import type { Directives, Dockerfile } from "../dockerfile/instruction.ts";

/** What is known of a stage's base image. */
export interface BaseImageFacts {
  readonly env: ReadonlyMap<string, string>;
  /** SHELL of its configuration. */
  readonly shell?: readonly string[];
  readonly platform?: Platform;
}

/** Facts from outside of the Dockerfile; what is absent is not checked. */
export interface LintContext {
  /** `--build-arg`. */
  readonly args?: ReadonlyMap<string, string>;
  readonly platform?: Platform;
  readonly buildPlatform?: Platform;
  readonly target?: string;
  /** The base image of a stage, for one whose FROM names neither a stage nor scratch. */
  readonly baseImage?: (stageIndex: number) => BaseImageFacts | undefined;
  /** Of the main context's ignore file. */
  readonly ignore?: IgnoreMatcher;
  /** The build argument BUILDKIT_DOCKERFILE_CHECK, read; it wins over the file's directive. */
  readonly check?: NonNullable<Directives["check"]>;
}

/** What a check found. */
export interface LintResult {
  /** In the order of the file. */
  readonly warnings: readonly BuildWarning[];
  /** What a build would fail with, before any step: a word that cannot be expanded. */
  readonly refusal?: EngineError;
}

/** Environment of an image that says none. */
const defaultEnv: ReadonlyMap<string, string> = new Map([
  ["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
]);

/**
 * Gives the warnings about a Dockerfile.
 *
 * The names and words are BuildKit's; rules that begin with `Tug` are ours. Checking ends at the first
 * word that cannot be expanded, which `checkDockerfile` tells.
 */
export function lintDockerfile(
  dockerfile: Dockerfile,
  context: LintContext = {},
): readonly BuildWarning[] {
  return checkDockerfile(dockerfile, context).warnings;
}

/** As `lintDockerfile`, with what ended the check before its time. */
export function checkDockerfile(dockerfile: Dockerfile, context: LintContext = {}): LintResult {
  const check = context.check ?? dockerfile.directives.check ?? { skip: [], isError: false };
  const report = new LintReport(check);
  lintWritten(dockerfile, report);
  try {
    lintValues(dockerfile, { context, report });
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { warnings: report.warnings, refusal: error };
  }
  return { warnings: report.warnings };
}

/**
 * The failure of a build whose `# check=` has `error=true` and that has warnings; undefined when it has
 * none or they are no error. Hints of our own never are.
 */
export function lintViolation(
  dockerfile: Dockerfile,
  options: { readonly warnings: readonly BuildWarning[]; readonly check?: LintContext["check"] },
): EngineError | undefined {
  const check = options.check ?? dockerfile.directives.check;
  const rules = new Set(options.warnings.map(({ rule }) => rule).filter((rule) => !isOurs(rule)));
  if (check?.isError !== true || rules.size === 0) return undefined;
  return new EngineError(
    "invalid-argument",
    `lint violation found for rules: ${[...rules].join(", ")}`,
  );
}

function lintValues(
  dockerfile: Dockerfile,
  { context, report }: { readonly context: LintContext; readonly report: LintReport },
): void {
  const buildPlatform = context.buildPlatform ?? hostPlatform();
  const platform = context.platform ?? buildPlatform;
  const given = context.args ?? new Map<string, string>();
  const facts = { platform, buildPlatform };
  const target = context.target === undefined ? facts : { ...facts, target: context.target };
  const known = platformArgs(target, given);
  const meta = settleMetaArgs(dockerfile, { given, platform: known });
  const bases = lintBases(dockerfile, { meta, platform: known, report });
  const states: StageState[] = [];
  for (const stage of dockerfile.stages) {
    const base = bases[stage.index];
    const inherited = base?.stage === undefined ? undefined : states[base.stage];
    const image = inherited === undefined && base?.image !== "scratch";
    const found = image ? context.baseImage?.(stage.index) : undefined;
    if (found?.platform !== undefined && base !== undefined) {
      const wanted = base.platform ?? platform;
      if (wanted.os !== found.platform.os || wanted.architecture !== found.platform.architecture) {
        const detail = `Base image ${base.image} was pulled with platform "${formatPlatform(found.platform)}", expected "${formatPlatform(wanted)}" for current build`;
        report.add("InvalidBaseImagePlatform", stage.from.location, detail);
      }
    }
    const linter = new StageLinter(inherited ?? stateOf(found, image), {
      escape: dockerfile.directives.escape,
      given,
      meta,
      report,
      ignore: context.ignore,
    });
    states.push(linter.run(stage));
  }
}

function stateOf(found: BaseImageFacts | undefined, isImage: boolean): StageState {
  return {
    env: new Map(found === undefined ? defaultEnv : [...defaultEnv, ...found.env]),
    isEnvKnown: found !== undefined || !isImage,
    shell: found?.shell,
    hasWorkdir: false,
  };
}
