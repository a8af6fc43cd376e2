/**
 * From a Dockerfile to a graph of steps: the target's stage and what it needs, and nothing else.
 *
 * 1. Meta arguments are settled; the bases of all stages are named.
 * 2. The stages that the target needs are found; a circle among them is refused.
 * 3. Their base images are resolved, all at the same time.
 * 4. Each stage is read in order, every word expanded with what is known there (`stage-planner.ts`).
 */
import { EngineError } from "../../lib/errors.ts";
import type { Platform } from "../../oci/platform.ts";
import { formatPlatform, parsePlatform } from "../../oci/platform.ts";
import type { ImageLayers } from "../../image/image-service.ts";
import type { Dockerfile, Location, Stage } from "../dockerfile/instruction.ts";
import { platformArgs, settleMetaArgs } from "../dockerfile/arguments.ts";
import { expandWord, type Scope } from "../dockerfile/expand.ts";
import { atPlace, placedError } from "../failure.ts";
import type { StageImage } from "./stage-image.ts";
import { planStage, type StagePlan } from "./stage-planner.ts";
import type { Step } from "../step.ts";

/** What the graph of one platform is made from. */
export interface GraphInput {
  readonly dockerfile: Dockerfile;
  readonly target?: string;
  /** What is built for, and what this machine is. */
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  /** `--build-arg`. */
  readonly args: ReadonlyMap<string, string>;
  readonly labels: ReadonlyMap<string, string>;
  readonly hasNoCache: boolean;
  readonly noCacheStages: readonly string[];
  readonly network: "default" | "none" | "host";
  readonly extraHosts: readonly string[];
  readonly allows: ReadonlySet<string>;
  /** Whether names of steps say the platform: there are several. */
  readonly showsPlatform: boolean;
  readonly sources: GraphSources;
}

/** What the graph asks the world for. */
export interface GraphSources {
  /** A base image. Asked at most once for a reference and a platform. */
  image(
    reference: string,
    options: { readonly platform: Platform; readonly location: Location },
  ): Promise<{ readonly image: ImageLayers; readonly shownName: string }>;
  /** The main context; one step, whoever asks. */
  mainContext(options: { readonly paths: readonly string[] }): Step;
  /** A named context, or undefined when there is none of that name. */
  namedContext(
    name: string,
    options: { readonly platform: Platform; readonly location: Location },
  ): Promise<NamedBase | undefined>;
  /** A source of ADD behind a URL. */
  remote(
    url: string,
    options: {
      readonly checksum?: string;
      readonly keepsGitDir: boolean;
      readonly platform: Platform;
    },
  ): { readonly step: Step; readonly isGit: boolean };
}

/** What a named context stands for. */
export type NamedBase =
  | { readonly kind: "image"; readonly image: ImageLayers; readonly shownName: string }
  | { readonly kind: "step"; readonly step: Step }
  | { readonly kind: "stage"; readonly name: string };

/** The plan of a build for one platform. */
export interface Graph {
  readonly platform: Platform;
  /** The step whose result is the image's file system; undefined for nothing at all. */
  readonly last: Step | undefined;
  readonly draft: StageImage;
  /** Base images of stages in use, by the stage's index. */
  readonly baseImages: ReadonlyMap<number, ImageLayers>;
  /** All steps of the stages in use, each after those it needs. */
  readonly steps: readonly Step[];
  /** The target's stages in order, as the classic builder tells them. */
  readonly narration: readonly NarratedStep[];
}

/** One instruction, as the classic builder tells it. */
export interface NarratedStep {
  /** `FROM busybox AS base`. */
  readonly text: string;
  /** The step that does it; absent for changes of the configuration alone. */
  readonly step?: Step;
  readonly hasCommand: boolean;
  /** FROM: it names what is there, and makes nothing. */
  readonly beginsStage: boolean;
  /** The last step so far. */
  readonly last: Step | undefined;
  readonly draft: StageImage;
}

/** Plans a build. @throws invalid-argument with the place in the Dockerfile */
export async function planGraph(input: GraphInput): Promise<Graph> {
  const bases = nameBases(input);
  const target = findTarget(input);
  const needed = findNeeded(input, { bases, target });
  await prefetch(input, { bases, needed });
  const planner = new GraphPlanner(input, bases);
  const plan = await planner.stage(target.index, []);
  for (const [key, value] of input.labels) plan.draft.setLabel(key, value);
  return {
    platform: plan.platform,
    last: plan.last,
    draft: plan.draft,
    baseImages: planner.baseImages,
    steps: planner.steps,
    narration: planner.plans.flatMap((each) => each.narration),
  };
}

/** What a stage begins with. */
export interface BaseName {
  readonly platform: Platform;
  /** As FROM says it, expanded. */
  readonly name: string;
  /** The stage it is. */
  readonly stage?: number;
}

/** Plans stages on demand, each once. */
export class GraphPlanner {
  readonly input: GraphInput;
  readonly steps: Step[] = [];
  readonly plans: StagePlan[] = [];
  readonly baseImages: Map<number, ImageLayers> = new Map();
  readonly meta: ReadonlyMap<string, string>;
  readonly #bases: readonly BaseName[];
  readonly #byStage = new Map<number, StagePlan>();

  constructor(input: GraphInput, bases: readonly BaseName[]) {
    this.input = input;
    this.#bases = bases;
    this.meta = settleMeta(input);
  }

  base(index: number): BaseName {
    return at(this.#bases, index);
  }

  /** @param chain stages that wait for this one */
  async stage(index: number, chain: readonly number[]): Promise<StagePlan> {
    const known = this.#byStage.get(index);
    if (known !== undefined) return known;
    const stage = at(this.input.dockerfile.stages, index);
    if (chain.includes(index)) throw circular(stage);
    const plan = await planStage(this, { stage, chain: [...chain, index] });
    this.#byStage.set(index, plan);
    this.plans.push(plan);
    return plan;
  }

  /** The stage that `COPY --from` or a mount names; undefined for an image. */
  findStage(reference: string, current: number): number | undefined {
    return findStage(this.input.dockerfile, reference, current);
  }
}

function findStage(dockerfile: Dockerfile, reference: string, current: number): number | undefined {
  const name = reference.toLowerCase();
  const { stages } = dockerfile;
  // Of two stages of one name the last before this one counts.
  const before = stages.findLast((stage) => stage.name === name && stage.index < current);
  const found = before ?? stages.find((stage) => stage.name === name);
  if (found !== undefined) return found.index;
  if (!/^\d+$/.test(reference)) return undefined;
  const index = Number(reference);
  if (index < current) return index;
  throw new EngineError("invalid-argument", `invalid stage index ${reference}`);
}

function nameBases(input: GraphInput): readonly BaseName[] {
  const scope: Scope = {
    env: settleMeta(input),
    escape: input.dockerfile.directives.escape,
  };
  const { stages } = input.dockerfile;
  return stages.map((stage) => {
    const { location } = stage.from;
    return atPlace(location, () => {
      const name = expandWord(stage.from.image, scope);
      if (name === "") {
        throw new EngineError(
          "invalid-argument",
          `base name (${stage.from.image}) should not be blank`,
        );
      }
      const wanted = stage.from.platform ?? "";
      const text = wanted === "" ? "" : expandWord(wanted, scope);
      if (wanted !== "" && text === "") {
        throw new EngineError("invalid-argument", `empty platform value from expression ${wanted}`);
      }
      const platform = text === "" ? input.platform : parsePlatform(text);
      const lower = name.toLowerCase();
      const base = stages.findLast((other) => other.index < stage.index && other.name === lower);
      return { platform, name, ...(base === undefined ? {} : { stage: base.index }) };
    });
  });
}

function findTarget(input: GraphInput): Stage {
  const { stages } = input.dockerfile;
  const last = stages.at(-1);
  if (last === undefined)
    throw new EngineError("invalid-argument", "dockerfile contains no stages to build");
  const { target } = input;
  if (target === undefined || target === "") return last;
  const found = stages.findLast((stage) => stage.name === target.toLowerCase());
  if (found !== undefined) return found;
  const names = stages.flatMap(({ name }) => (name === undefined ? [] : [name]));
  const near = nearest(target, names);
  throw new EngineError(
    "invalid-argument",
    `target stage ${JSON.stringify(target)} could not be found` +
      (near === undefined ? "" : ` (did you mean ${near}?)`),
  );
}

/** The stages that the target needs, by what can be read without expanding a word. */
function findNeeded(
  input: GraphInput,
  options: { readonly bases: readonly BaseName[]; readonly target: Stage },
): ReadonlySet<number> {
  const { dockerfile } = input;
  const done = new Set<number>();
  const visit = (index: number, chain: readonly number[]): void => {
    const stage = at(dockerfile.stages, index);
    if (chain.includes(index)) throw circular(stage);
    if (done.has(index)) return;
    const below = [...chain, index];
    const base = at(options.bases, index).stage;
    if (base !== undefined) visit(base, below);
    for (const reference of referencesOf(stage)) {
      const found = findStage(dockerfile, reference, index);
      if (found !== undefined) visit(found, below);
    }
    done.add(index);
  };
  // A circle is refused wherever it is, as BuildKit does.
  for (const { index } of dockerfile.stages) visit(index, []);
  done.clear();
  visit(options.target.index, []);
  return done;
}

function referencesOf(stage: Stage): readonly string[] {
  return stage.instructions.flatMap((instruction) => {
    const { kind } = instruction;
    if (kind === "run") {
      return instruction.mounts.flatMap(({ from }) => (from === undefined ? [] : [from]));
    }
    const isCopy = kind === "copy" || kind === "add";
    return isCopy && instruction.from !== undefined ? [instruction.from] : [];
  });
}

/** Resolves the base images of all needed stages at the same time; the sources keep the answers. */
async function prefetch(
  input: GraphInput,
  options: { readonly bases: readonly BaseName[]; readonly needed: ReadonlySet<number> },
): Promise<void> {
  const wanted = new Map<string, Promise<unknown>>();
  for (const index of options.needed) {
    const base = at(options.bases, index);
    if (base.stage !== undefined || base.name === "scratch") continue;
    const key = `${base.name} ${formatPlatform(base.platform)}`;
    if (wanted.has(key)) continue;
    const { location } = at(input.dockerfile.stages, index).from;
    wanted.set(
      key,
      (async () => {
        const where = { platform: base.platform, location };
        const named = await input.sources.namedContext(base.name, where);
        if (named === undefined) await input.sources.image(base.name, where);
      })(),
    );
  }
  const ends = await Promise.allSettled(wanted.values());
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

/** Arguments before the first FROM, and those that every build has. */
function settleMeta(input: GraphInput): Map<string, string> {
  const { platform, buildPlatform, target } = input;
  return settleMetaArgs(input.dockerfile, {
    given: input.args,
    platform: platformArgs(
      { platform, buildPlatform, ...(target === undefined ? {} : { target }) },
      input.args,
    ),
  });
}

function circular(stage: Stage): EngineError {
  const error = new EngineError(
    "invalid-argument",
    `circular dependency detected on stage: ${stage.name ?? stage.index}`,
  );
  return placedError(error, stage.from.location);
}

function nearest(word: string, names: readonly string[]): string | undefined {
  const distances = names.map((name) => ({ name, distance: editDistance(word, name) }));
  const best = distances.toSorted((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= 2 && best.distance < best.name.length + 1
    ? best.name
    : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...b].entries()) {
      const cost = left === right ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + cost, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new EngineError("internal", `plan build: no stage ${index}`);
  return found;
}
