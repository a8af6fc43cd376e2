/** Reads one stage: its base, then its instructions in order, each with what is known by then. */
import { EngineError } from "../../lib/errors.ts";
import { formatPlatform, type Platform } from "../../oci/platform.ts";
import type { ImageLayers } from "../../image/image-service.ts";
import { builderArgs, settleArg } from "../dockerfile/arguments.ts";
import { expandInstruction, type Scope } from "../dockerfile/expand.ts";
import { explainComment } from "../dockerfile/hints.ts";
import type { Instruction, Stage } from "../dockerfile/instruction.ts";
import { parseInstruction } from "../dockerfile/parse.ts";
import { shownText } from "./_shown-text.ts";
import { placed, placedError } from "../failure.ts";
import type { GraphPlanner, NarratedStep } from "./graph.ts";
import { type ConfigInstruction, StageImage } from "./stage-image.ts";
import { planCopy } from "./_plan-copy.ts";
import { planRun } from "./plan-run.ts";
import { imageStep, makeStep } from "./make-step.ts";
import type { Step, StepAction } from "../step.ts";

/** A stage that has been read. */
export interface StagePlan {
  readonly stage: Stage;
  readonly platform: Platform;
  /** Undefined for an empty file system. */
  readonly last: Step | undefined;
  readonly draft: StageImage;
  readonly narration: readonly NarratedStep[];
  /** Variables of its end, arguments included: what a stage on top of it begins with. */
  readonly env: ReadonlyMap<string, string>;
  /** Arguments that are declared at its end, with their values. */
  readonly declared: ReadonlyMap<string, string | undefined>;
}

type StageInstruction = Stage["instructions"][number];

/** Reads a stage. @param options.chain stages that wait for it, itself the last */
export async function planStage(
  planner: GraphPlanner,
  options: { readonly stage: Stage; readonly chain: readonly number[] },
): Promise<StagePlan> {
  const named = await namedStage(planner, options.stage);
  if (named !== undefined) return named;
  return await new StagePlanner(planner, options).plan();
}

/** A named context takes the place of the stage that has its name. */
async function namedStage(planner: GraphPlanner, stage: Stage): Promise<StagePlan | undefined> {
  if (stage.name === undefined) return undefined;
  const { platform } = planner.base(stage.index);
  const { location } = stage.from;
  const base = await planner.input.sources.namedContext(stage.name, { platform, location });
  if (base === undefined || base.kind === "stage") return undefined;
  const image = base.kind === "image" ? base.image : undefined;
  const draft = new StageImage(platform, image?.config);
  const last =
    base.kind === "step" ? base.step : imageStep(base, { name: base.shownName, platform });
  if (!planner.steps.includes(last)) planner.steps.push(last);
  return {
    stage,
    platform,
    last,
    draft,
    narration: [],
    env: envOf(draft.env),
    declared: new Map(),
  };
}

/** What a stage's instructions are read with. */
export class StagePlanner {
  readonly planner: GraphPlanner;
  readonly stage: Stage;
  readonly chain: readonly number[];
  readonly platform: Platform;
  /** Variables for words and commands: those of the image and the arguments in scope. */
  env: Map<string, string> = new Map();
  /** Arguments declared in this stage and those below, in order; undefined where none gave a value. */
  declared: Map<string, string | undefined> = new Map();
  draft: StageImage;
  last: Step | undefined;
  readonly #narration: NarratedStep[] = [];
  #commandCount = 0;
  #commandTotal = 0;

  constructor(
    planner: GraphPlanner,
    options: { readonly stage: Stage; readonly chain: readonly number[] },
  ) {
    this.planner = planner;
    this.stage = options.stage;
    this.chain = options.chain;
    this.platform = planner.base(options.stage.index).platform;
    this.draft = new StageImage(this.platform);
  }

  get scope(): Scope {
    return { env: this.env, escape: this.planner.input.dockerfile.directives.escape };
  }

  /** Whether the steps of this stage are to run even when their results are known. */
  get isCacheIgnored(): boolean {
    const { hasNoCache, noCacheStages } = this.planner.input;
    const { name, index } = this.stage;
    const isNamed = noCacheStages.some(
      (each) => each.toLowerCase() === name || each === String(index),
    );
    return hasNoCache || isNamed;
  }

  async plan(): Promise<StagePlan> {
    const triggers = await this.#begin();
    const triggered = triggers.map((text) => this.#parseTrigger(text));
    const instructions = [...triggered, ...this.stage.instructions];
    this.#commandTotal += instructions.filter(({ kind }) =>
      ["run", "copy", "add", "workdir"].includes(kind),
    ).length;
    this.#nameBase();
    for (const instruction of instructions) {
      try {
        await this.#dispatch(instruction);
      } catch (error) {
        throw placed(error, instruction.location);
      }
    }
    const { stage, platform, last, draft, env, declared } = this;
    return { stage, platform, last, draft, narration: this.#narration, env, declared };
  }

  #parseTrigger(text: string): StageInstruction {
    const { location } = this.stage.from;
    try {
      const instruction = parseInstruction(text);
      // Docker: a trigger with one of these is refused when it is written, seen in 28.5
      if (instruction.kind === "from" || instruction.kind === "onbuild") {
        throw new EngineError(
          "invalid-argument",
          `${instruction.kind.toUpperCase()} isn't allowed as an ONBUILD trigger`,
        );
      }
      return { ...instruction, location };
    } catch (error) {
      // It counts its own lines, which are not the file's.
      if (!(error instanceof EngineError)) throw error;
      throw placedError(new EngineError(error.kind, error.message, { cause: error }), location);
    }
  }

  /** Sets the base. @returns the triggers that it brings */
  async #begin(): Promise<readonly string[]> {
    const base = this.planner.base(this.stage.index);
    if (base.stage !== undefined) {
      const below = await this.planner.stage(base.stage, this.chain);
      this.last = below.last;
      this.draft = below.draft.fork(this.platform);
      this.declared = new Map(below.declared);
      this.env = new Map([...below.env, ...envOf(this.draft.env)]);
      return below.draft.config.OnBuild ?? [];
    }
    const { location } = this.stage.from;
    const where = { platform: this.platform, location };
    const named = await this.planner.input.sources.namedContext(base.name, where);
    if (named?.kind === "step") {
      this.#beginWith(this.addStep(named.step));
      return [];
    }
    if (named?.kind !== "image" && base.name === "scratch") {
      this.env = envOf(this.draft.env);
      return [];
    }
    const found =
      named?.kind === "image" ? named : await this.planner.input.sources.image(base.name, where);
    this.#commandTotal = 1;
    this.draft = new StageImage(this.platform, found.image.config);
    this.env = envOf(this.draft.env);
    this.#base = found;
    this.planner.baseImages.set(this.stage.index, found.image);
    return found.image.config.config?.OnBuild ?? [];
  }

  /** A folder as the base: its files become the first layer. */
  #beginWith(folder: Step): void {
    this.env = envOf(this.draft.env);
    const action: StepAction = {
      kind: "copy",
      copy: {
        sources: [
          {
            kind: "files",
            from: folder,
            paths: ["/"],
            excludes: [],
            hasParents: false,
            isLiteral: true,
            unpack: "never",
            resetsOwners: true,
          },
        ],
        destination: "/",
      },
    };
    this.change(action, { instruction: this.stage.from, reads: [folder] });
    this.draft.note(`${this.stage.from.original} # buildkit`, { hasLayer: true });
  }

  #base: { readonly image: ImageLayers; readonly shownName: string } | undefined;

  /** The step of the base image, named once it is known how many steps follow. */
  #nameBase(): void {
    if (this.#base !== undefined) {
      const name = this.nameStep(`FROM ${this.#base.shownName}`);
      this.last = this.addStep(imageStep(this.#base, { name, platform: this.platform }));
    }
    this.#narrate(this.stage.from, this.#base === undefined ? undefined : this.last);
  }

  async #dispatch(instruction: StageInstruction): Promise<void> {
    if (instruction.kind === "arg") {
      this.#declare(instruction);
      this.#narrate(instruction, undefined);
      return;
    }
    const before = this.last;
    const expanded = expandInstruction(instruction, this.scope);
    switch (expanded.kind) {
      case "run":
        await planRun(this, expanded);
        break;
      case "copy":
      case "add":
        await planCopy(this, expanded);
        break;
      case "workdir":
        this.#workdir(expanded);
        break;
      case "from":
      case "arg":
        break;
      case "cmd":
      case "entrypoint":
      case "env":
      case "expose":
      case "healthcheck":
      case "label":
      case "maintainer":
      case "onbuild":
      case "shell":
      case "stopsignal":
      case "user":
      case "volume":
        this.#configure(expanded);
    }
    this.#narrate(instruction, this.last === before ? undefined : this.last);
  }

  #configure(instruction: ConfigInstruction): void {
    this.draft.apply(instruction);
    if (instruction.kind !== "env") return;
    for (const { key, value } of instruction.pairs) this.env.set(key, value);
  }

  #workdir(instruction: Extract<Instruction, { readonly value: string }>): void {
    const path = this.draft.setWorkingDir(instruction.value);
    if (path === "/") {
      this.draft.note(`WORKDIR ${path}`, { hasLayer: false });
      return;
    }
    const action: StepAction = { kind: "workdir", path, user: this.draft.user };
    this.change(action, { instruction, reads: [] });
    this.draft.note(`WORKDIR ${path}`, { hasLayer: true });
  }

  #declare(instruction: Extract<Instruction, { kind: "arg" }>): void {
    const texts = instruction.args.map(({ name, value }) => {
      const settled = settleArg(
        { name, ...(value === undefined ? {} : { value }) },
        { scope: this.scope, given: this.planner.input.args, meta: this.planner.meta },
      );
      if (settled !== undefined && !builderArgs.includes(name)) this.env.set(name, settled);
      this.declared.set(name, settled);
      return settled === undefined ? name : `${name}=${settled}`;
    });
    this.draft.note(`ARG ${texts.join(" ")}`, { hasLayer: false });
  }

  /** Adds a step that changes the stage's file system. */
  change(
    action: StepAction,
    options: {
      readonly instruction: Instruction;
      readonly reads: readonly Step[];
      /** What progress shows; the instruction when absent. */
      readonly shown?: string;
    },
  ): Step {
    const { instruction, reads } = options;
    const hint = explainComment(instruction);
    const shown = shownText(options.shown ?? instruction.original, this.env);
    const step = makeStep({
      action,
      name: this.nameStep(shown),
      description: options.shown ?? instruction.original,
      place: `${this.stage.name ?? this.stage.index}/${this.#commandCount}`,
      reads,
      ...(hint === undefined ? {} : { hint }),
      ...(this.last === undefined ? {} : { below: this.last }),
      isCacheIgnored: this.isCacheIgnored,
      location: instruction.location,
      platform: this.platform,
    });
    this.last = this.addStep(step);
    return step;
  }

  addStep(step: Step): Step {
    const { steps } = this.planner;
    if (!steps.includes(step)) steps.push(step);
    return step;
  }

  /** The file system that `COPY --from` or a mount names. Undefined for an empty one. */
  async resolveFrom(reference: string): Promise<Step | undefined> {
    const { planner, platform, stage } = this;
    const { location } = stage.from;
    const index = planner.findStage(reference, stage.index);
    if (index !== undefined) {
      if (this.chain.includes(index)) {
        const name = planner.input.dockerfile.stages[index]?.name ?? index;
        throw new EngineError("invalid-argument", `circular dependency detected on stage: ${name}`);
      }
      return (await planner.stage(index, this.chain)).last;
    }
    const where = { platform: planner.input.platform, location };
    const named = await planner.input.sources.namedContext(reference, where);
    if (named?.kind === "step") return this.addStep(named.step);
    if (named?.kind === "stage") {
      if (planner.findStage(named.name, stage.index) !== undefined) {
        return await this.resolveFrom(named.name);
      }
      throw new EngineError("not-found", `context ${reference}: there is no stage ${named.name}`);
    }
    if (named === undefined && reference.toLowerCase() === "scratch") return undefined;
    const found =
      named?.kind === "image" ? named : await planner.input.sources.image(reference, where);
    return this.addStep(imageStep(found, { name: `FROM ${found.shownName}`, platform }));
  }

  /** `[build 2/5] RUN make`, as BuildKit writes it. */
  nameStep(text: string): string {
    if (this.#commandTotal === 0) return text;
    const { planner, stage } = this;
    this.#commandCount += 1;
    const isAlone = planner.input.dockerfile.stages.length === 1;
    const stageName = stage.name ?? (isAlone ? "" : `stage-${stage.index}`);
    const prefix = [platformPrefix(planner, this.platform), stageName].filter(
      (part) => part !== "",
    );
    const width = String(this.#commandTotal).length;
    const count = `${String(this.#commandCount).padStart(width)}/${this.#commandTotal}`;
    return `[${[...prefix, count].join(" ")}] ${text}`;
  }

  #narrate(instruction: Instruction, step: Step | undefined): void {
    this.#narration.push({
      text: instruction.original,
      ...(step === undefined ? {} : { step }),
      hasCommand: instruction.kind === "run",
      beginsStage: instruction === this.stage.from,
      last: this.last,
      draft: this.draft.copy(),
    });
  }
}

function platformPrefix(planner: GraphPlanner, platform: Platform): string {
  const { input } = planner;
  if (!input.showsPlatform) return "";
  const own = formatPlatform(platform);
  const target = formatPlatform(input.platform);
  return own === target ? own : `${own}->${input.platform.architecture}`;
}

/** Variables from `NAME=value` entries. */
export function envOf(entries: readonly string[]): Map<string, string> {
  return new Map(
    entries.map((entry) => {
      const split = entry.indexOf("=");
      return split < 0
        ? ([entry, ""] as const)
        : ([entry.slice(0, split), entry.slice(split + 1)] as const);
    }),
  );
}
