/** Rules on how a Dockerfile is written: they need no values. */
import { quote, splitBlanks } from "../dockerfile/go-text.ts";
import type { LintReport } from "./_lint-report.ts";
import { splitCommand, splitPlain } from "../dockerfile/words.ts";
import { explainComment, findBraces, hasSingleQuotedList } from "../dockerfile/hints.ts";
import type { Dockerfile, Instruction, Stage } from "../dockerfile/instruction.ts";

const reservedNames = ["context", "scratch"];
// Whole names and first or last words of them: API_KEY, GITHUB_TOKEN.
const secretName =
  /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const publicName = /(?:_|^)public(?:_|$)/i;

/** Looks through a Dockerfile as it stands. */
export function lintWritten(dockerfile: Dockerfile, report: LintReport): void {
  for (const { endLine } of dockerfile.emptyContinuations ?? []) {
    const location = { startLine: endLine, endLine };
    report.add("NoEmptyContinuation", location, "Empty continuation line");
  }
  for (const instruction of dockerfile.metaArgs) describe(instruction, report);
  for (const stage of dockerfile.stages) {
    lintFrom(stage, report);
    for (const instruction of stage.instructions) lintInstruction(instruction, report);
    lintRepeated(stage, report);
    lintShells(stage, report);
  }
  lintStageNames(dockerfile, report);
  lintCasing(dockerfile, report);
}

/** An instruction's name as written. */
export function writtenName(instruction: Instruction): string {
  return splitBlanks(instruction.original, 2)[0] ?? "";
}

function lintFrom({ from }: Stage, report: LintReport): void {
  const { name, rest } = splitCommand(from.original);
  const [, as, stage] = splitPlain(rest);
  if (as === undefined || stage === undefined) return;
  if (stage !== stage.toLowerCase()) {
    report.add("StageNameCasing", from.location, `Stage name '${stage}' should be lowercase`);
  }
  const isLower = name === name.toLowerCase() && as !== as.toLowerCase();
  const isUpper = name === name.toUpperCase() && as !== as.toUpperCase();
  if (isLower || isUpper) {
    const detail = `'${as}' and '${name}' keywords' casing do not match`;
    report.add("FromAsCasing", from.location, detail);
  }
  describe(from, report);
}

function lintInstruction(instruction: Instruction, report: LintReport): void {
  const { location } = instruction;
  const name = writtenName(instruction);
  if (instruction.kind === "maintainer") {
    const detail = "Maintainer instruction is deprecated in favor of using label";
    report.add("MaintainerDeprecated", location, detail);
  }
  if (instruction.kind === "env" || instruction.kind === "label") {
    for (const { isLegacy } of instruction.pairs) {
      if (!isLegacy) continue;
      const detail = `"${name} key=value" should be used instead of legacy "${name} key value" format`;
      report.add("LegacyKeyValueFormat", location, detail);
    }
  }
  if (instruction.kind === "arg") describe(instruction, report);
  const comment = explainComment(instruction);
  if (comment !== undefined) report.add("TugCommentInsideInstruction", location, comment);
  const isList = instruction.kind === "volume" || instruction.kind === "run";
  const isCopy = instruction.kind === "copy" || instruction.kind === "add";
  if ((isList || isCopy) && hasSingleQuotedList(instruction)) {
    const detail = `JSON arguments have double quotes: the single quotes of ${name} are taken as they stand`;
    report.add("JSONArgsRecommended", location, detail);
  }
}

/** Tells ARG and ENV that name a secret. @param names expanded */
export function lintSecretNames(
  instruction: Instruction,
  names: readonly string[],
  report: LintReport,
): void {
  for (const name of names) {
    if (!secretName.test(name) || publicName.test(name)) continue;
    const detail = `Do not use ARG or ENV instructions for sensitive data (${instruction.kind.toUpperCase()} ${quote(name)})`;
    report.add("SecretsUsedInArgOrEnv", instruction.location, detail);
  }
}

/** The comment before a stage or an argument begins with its name. */
function describe(instruction: Instruction, report: LintReport): void {
  const names = namesOf(instruction);
  const comment = instruction.comments?.at(-1);
  const [first] = names;
  if (comment === undefined || first === undefined) return;
  const word = comment.split(" ", 1)[0] ?? "";
  if (names.includes(word)) return;
  const name = names.length > 1 ? "<arg_key>" : first;
  const detail = `Comment for ${instruction.kind.toUpperCase()} should follow the format: \`# ${name} <description>\``;
  report.add("InvalidDefinitionDescription", instruction.location, detail);
}

function namesOf(instruction: Instruction): readonly string[] {
  if (instruction.kind === "arg") return instruction.args.map(({ name }) => name);
  if (instruction.kind !== "from" || instruction.stage === undefined) return [];
  return [instruction.stage];
}

/** The place told is that of the one that has no effect. */
function lintRepeated(stage: Stage, report: LintReport): void {
  const last = new Map<string, Instruction>();
  for (const instruction of stage.instructions) {
    const { kind } = instruction;
    if (kind !== "cmd" && kind !== "entrypoint" && kind !== "healthcheck") continue;
    const before = last.get(kind);
    last.set(kind, instruction);
    if (before === undefined) continue;
    const detail = `Multiple ${writtenName(instruction)} instructions should not be used in the same stage because only the last one will be used`;
    report.add("MultipleInstructionsDisallowed", before.location, detail);
  }
}

/** RUN by a shell that was not chosen, with what only bash understands. */
function lintShells(stage: Stage, report: LintReport): void {
  let isDefault = true;
  for (const instruction of stage.instructions) {
    if (instruction.kind === "shell") isDefault = false;
    if (instruction.kind !== "run" || !isDefault || instruction.command.form !== "shell") continue;
    const word = findBraces(instruction.command.text);
    if (word === undefined) continue;
    const detail = `sh takes '${word.slice(0, 100)}' as it stands; SHELL ["/bin/bash", "-c"] would expand it`;
    report.add("TugBraceExpansion", instruction.location, detail);
  }
}

function lintStageNames({ stages }: Dockerfile, report: LintReport): void {
  const known = new Set<string>();
  for (const { name, from } of stages) {
    if (name === undefined) continue;
    if (reservedNames.includes(name)) {
      const detail = `Stage name should not use the same name as reserved stage ${quote(name)}`;
      report.add("ReservedStageName", from.location, detail);
    }
    if (known.has(name)) {
      const detail = `Duplicate stage name ${quote(name)}, stage names should be unique`;
      report.add("DuplicateStageName", from.location, detail);
    }
    known.add(name);
  }
}

function lintCasing({ stages }: Dockerfile, report: LintReport): void {
  const instructions = stages.flatMap(({ from, instructions: rest }): Instruction[] => [
    from,
    ...rest,
  ]);
  const names = instructions.map(writtenName);
  const lower = names.filter((name) => name === name.toLowerCase()).length;
  const upper = names.filter((name) => name === name.toUpperCase()).length;
  const isLower = lower > upper;
  for (const [index, instruction] of instructions.entries()) {
    const name = names[index] ?? "";
    if (name === (isLower ? name.toLowerCase() : name.toUpperCase())) continue;
    const casing = isLower ? "lowercase" : "uppercase";
    const detail = `Command '${name}' should match the case of the command majority (${casing})`;
    report.add("ConsistentInstructionCasing", instruction.location, detail);
  }
}
