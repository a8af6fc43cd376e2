/** Rules that need values: a stage is gone through as a build would, without running anything. */
import { posix } from "node:path";
import type { IgnoreMatcher } from "../../lib/pattern/ignore-patterns.ts";
import { quote } from "../dockerfile/go-text.ts";
import type { LintReport } from "./_lint-report.ts";
import { lintSecretNames, writtenName } from "./_lint-written.ts";
import { placed } from "../dockerfile/refusal.ts";
import { hint } from "../dockerfile/suggest.ts";
import { settleArg } from "../dockerfile/arguments.ts";
import { expandInstruction, type Scope } from "../dockerfile/expand.ts";
import type { CommandLine, Instruction, Stage } from "../dockerfile/instruction.ts";

/** Names that are arguments of the build alone. */
const builderNames = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/** Patterns that leave nothing of a context. */
const everything = ["*", "**", "**/*"];

/** What a stage has come to. */
export interface StageState {
  readonly env: ReadonlyMap<string, string>;
  /** False below an image that nobody has looked at. */
  readonly isEnvKnown: boolean;
  readonly shell: readonly string[] | undefined;
  /** Whether this file has set a working directory already. */
  readonly hasWorkdir: boolean;
}

interface StageFacts {
  readonly escape: "\\" | "`";
  readonly given: ReadonlyMap<string, string>;
  readonly meta: ReadonlyMap<string, string>;
  readonly report: LintReport;
  readonly ignore: IgnoreMatcher | undefined;
}

/** Goes through one stage. */
export class StageLinter {
  readonly #facts: StageFacts;
  readonly #isEnvKnown: boolean;
  /** What the image keeps. */
  readonly #env: Map<string, string>;
  /** That and the arguments. */
  readonly #values: Map<string, string>;
  readonly #declared = new Set<string>();
  #shell: readonly string[] | undefined;
  #hasWorkdir: boolean;

  constructor(state: StageState, facts: StageFacts) {
    this.#facts = facts;
    this.#isEnvKnown = state.isEnvKnown;
    this.#env = new Map(state.env);
    this.#values = new Map(state.env);
    this.#shell = state.shell;
    this.#hasWorkdir = state.hasWorkdir;
  }

  /** @throws invalid-argument for a word that cannot be expanded */
  run(stage: Stage): StageState {
    for (const instruction of stage.instructions) {
      if (instruction.kind === "arg") this.#declare(instruction);
      else this.#see(instruction, expandInstruction(instruction, this.#scope(instruction)));
    }
    return {
      env: this.#env,
      isEnvKnown: this.#isEnvKnown,
      shell: this.#shell,
      hasWorkdir: this.#hasWorkdir,
    };
  }

  #scope(instruction: Instruction): Scope {
    const { report } = this.#facts;
    const onUndefined = (name: string): void => {
      if (!this.#isEnvKnown || this.#declared.has(name) || builderNames.includes(name)) return;
      const detail = `Usage of undefined variable '$${name}'${hint(name, this.#values.keys(), "$")}`;
      report.add("UndefinedVar", instruction.location, detail);
    };
    return { env: this.#values, escape: this.#facts.escape, onUndefined };
  }

  #declare(instruction: Extract<Instruction, { kind: "arg" }>): void {
    const { given, meta, report } = this.#facts;
    const scope = this.#scope(instruction);
    for (const arg of instruction.args) {
      lintSecretNames(instruction, [arg.name], report);
      try {
        const value = settleArg(arg, { scope, given, meta });
        if (value !== undefined) this.#values.set(arg.name, value);
      } catch (error) {
        throw placed(error, instruction.location);
      }
      this.#declared.add(arg.name);
    }
  }

  #see(written: Instruction, instruction: Instruction): void {
    const { report } = this.#facts;
    switch (instruction.kind) {
      case "env":
        lintSecretNames(
          instruction,
          instruction.pairs.map(({ key }) => key),
          report,
        );
        for (const { key, value } of instruction.pairs) {
          this.#env.set(key, value);
          this.#values.set(key, value);
        }
        return;
      case "shell":
        this.#shell = instruction.args;
        return;
      case "cmd":
      case "entrypoint":
        this.#lintCommand(instruction, instruction.command);
        return;
      case "workdir":
        if (!this.#hasWorkdir && !instruction.value.startsWith("/")) {
          const detail = `Relative workdir ${quote(instruction.value)} can have unexpected results if the base image changes`;
          report.add("WorkdirRelativePath", written.location, detail);
        }
        this.#hasWorkdir = true;
        return;
      case "copy":
      case "add":
        if (instruction.from === undefined) this.#lintSources(instruction);
        return;
      case "expose":
        for (const port of instruction.ports) lintPort(port, { at: written, report });
        return;
      case "from":
      case "run":
      case "arg":
      case "label":
      case "volume":
      case "user":
      case "stopsignal":
      case "maintainer":
      case "healthcheck":
      case "onbuild":
        return;
    }
  }

  #lintCommand(instruction: Instruction, command: CommandLine): void {
    if (command.form === "exec" || (this.#shell ?? []).length > 0) return;
    const detail = `JSON arguments recommended for ${writtenName(instruction)} to prevent unintended behavior related to OS signals`;
    this.#facts.report.add("JSONArgsRecommended", instruction.location, detail);
  }

  /** With exceptions in the ignore file, part of an ignored folder may be wanted. */
  #lintSources(instruction: Extract<Instruction, { kind: "copy" | "add" }>): void {
    const { ignore, report } = this.#facts;
    if (ignore === undefined || ignore.hasExceptions) return;
    const verb = instruction.kind === "copy" ? "Copy" : "Add";
    for (const path of instruction.sources.paths) {
      if (/^[a-z+]+:\/\//.test(path)) continue;
      const source = posix.normalize(path).replace(/(?<=.)\/$/, "");
      const isRoot = source === "." || source === "/";
      const isAll = isRoot && ignore.patterns.some((pattern) => everything.includes(pattern));
      if (!isAll && !ignore.isIgnored(source.replace(/^\/(?=.)/, ""))) continue;
      const detail = `Attempting to ${verb} file ${quote(source)} that is excluded by .dockerignore`;
      report.add("CopyIgnoredFile", instruction.location, detail);
    }
  }
}

function lintPort(
  port: string,
  { at, report }: { readonly at: Instruction; readonly report: LintReport },
): void {
  const [range = "", protocol = ""] = port.slice(port.lastIndexOf(":") + 1).split("/", 2);
  if (range === "") return;
  if (protocol !== protocol.toLowerCase()) {
    const detail = `Defined protocol '${port}' in EXPOSE instruction should be lowercase`;
    report.add("ExposeProtoCasing", at.location, detail);
  }
  if (!port.includes(":")) return;
  const detail = `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`;
  report.add("ExposeInvalidFormat", at.location, detail);
}
