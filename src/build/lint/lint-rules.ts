/** The rules of `build --check`: BuildKit's names and words, and our own hints. */

/** A rule as a warning shows it. */
export interface LintRule {
  readonly name: string;
  readonly description: string;
  /** Empty for a rule of our own. */
  readonly url: string;
}

const descriptions = {
  StageNameCasing: "Stage names should be lowercase",
  FromAsCasing: "The 'as' keyword should match the case of the 'from' keyword",
  NoEmptyContinuation: "Empty continuation lines will become errors in a future release",
  ConsistentInstructionCasing:
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
  DuplicateStageName: "Stage names should be unique",
  ReservedStageName: "Reserved words should not be used as stage names",
  JSONArgsRecommended:
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
  MaintainerDeprecated:
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
  UndefinedArgInFrom: "FROM command must use declared ARGs",
  WorkdirRelativePath:
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
  UndefinedVar: "Variables should be defined before their use",
  MultipleInstructionsDisallowed:
    "Multiple instructions of the same type should not be used in the same stage",
  LegacyKeyValueFormat: "Legacy key/value format with whitespace separator should not be used",
  FromPlatformFlagConstDisallowed: "FROM --platform flag should not use a constant value",
  RedundantTargetPlatform:
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
  SecretsUsedInArgOrEnv: "Sensitive data should not be used in the ARG or ENV commands",
  InvalidDefaultArgInFrom:
    "Default value for global ARG results in an empty or invalid base image name",
  CopyIgnoredFile: "Attempting to Copy file that is excluded by .dockerignore",
  InvalidDefinitionDescription:
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
  InvalidBaseImagePlatform: "Base image platform does not match expected target platform",
  ExposeProtoCasing: "Protocol in EXPOSE instruction should be lowercase",
  ExposeInvalidFormat:
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
  TugBraceExpansion: "Braces are expanded by bash, not by the default shell",
  TugCommentInsideInstruction: "A comment has a line of its own",
} as const;

/** The name of a rule. */
export type RuleName = keyof typeof descriptions;

/** Rules that are told only when `# check=experimental=` names them. */
export const experimentalRules: readonly RuleName[] = ["InvalidDefinitionDescription"];

/** All rules, by name. */
export const lintRules: ReadonlyMap<string, LintRule> = new Map(
  Object.entries(descriptions).map(([name, description]) => [
    name,
    { name, description, url: isOurs(name) ? "" : urlOf(name) },
  ]),
);

/** Whether a rule is one that BuildKit does not have. */
export function isOurs(rule: string): boolean {
  return rule.startsWith("Tug");
}

function urlOf(name: string): string {
  const words = name.replace(/([a-z])([A-Z])/g, "$1-$2").replace(/([A-Z])([A-Z][a-z])/g, "$1-$2");
  return `https://docs.docker.com/go/dockerfile/rule/${words.toLowerCase()}/`;
}
