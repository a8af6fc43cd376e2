/** Explains the steps of one build, and notes what they are made of for the next one. */
import { nowNs } from "../../lib/time.ts";
import { formatPlatform } from "../../oci/platform.ts";
import type { BuildRequest } from "../build-service.ts";
import { type Explanation, explainHit, explainMiss, factsOf } from "./explain.ts";
import type { Progress } from "./progress.ts";
import type { MadeLayer, Step } from "../step.ts";
import type { StepHistory } from "./step-history.ts";

/** ID of the state of a step that says why it hit or missed. */
export const explainStatusId = "tug.explain";

/** What is known of a step when it is done. */
export interface ExplainedStep {
  readonly key: string;
  readonly below: string | undefined;
  readonly contents: readonly string[];
  /** By number of the source. */
  readonly files: ReadonlyMap<number, string>;
  /** Absent for a step that failed. */
  readonly layer?: MadeLayer;
  readonly isCached: boolean;
}

/** Explains one build. */
export class BuildExplainer {
  readonly #history: StepHistory;
  readonly #request: BuildRequest;
  readonly #progress: Progress;
  readonly #contextName: () => string;
  readonly #explanations: Explanation[] = [];

  constructor(
    history: StepHistory,
    build: {
      readonly request: BuildRequest;
      readonly progress: Progress;
      /** Names the context, the same from build to build. */
      readonly contextName: () => string;
    },
  ) {
    this.#history = history;
    this.#request = build.request;
    this.#progress = build.progress;
    this.#contextName = build.contextName;
  }

  /** Hears of a step that is done. */
  note(step: Step, made: ExplainedStep): void {
    const place = this.#placeOf(step);
    if (place === undefined) return;
    const request = this.#request;
    const build = request.id.slice(0, buildIdDigits);
    const facts = factsOf(step, { ...made, build, epochS: request.sourceDateEpoch });
    if (request.explains === true) {
      const before = this.#history.find(place);
      const reasons = made.isCached
        ? explainHit(before, { key: made.key, madeNs: made.layer?.createdNs, nowNs: nowNs() })
        : explainMiss(before, facts, {
            isIgnored: step.isCacheIgnored,
            isArgument: (name) => request.args.has(name),
          });
      this.#tell(step, { step: step.name, isHit: made.isCached, reasons });
    }
    if (made.layer !== undefined) this.#history.note(place, facts);
  }

  /** For the build's result; none when nobody asked. */
  get metadata(): Readonly<Record<string, string>> {
    if (this.#request.explains !== true) return {};
    return { [explainStatusId]: JSON.stringify(this.#explanations) };
  }

  #tell(step: Step, explanation: Explanation): void {
    this.#explanations.push(explanation);
    const { isHit, reasons } = explanation;
    const name = `${isHit ? "hit" : "miss"}: ${reasons.join("; ")}`;
    this.#progress.state(step.digest, { id: explainStatusId, name });
  }

  #placeOf(step: Step): string | undefined {
    const { place } = step;
    if (place === undefined) return undefined;
    const { target = "", dockerfileName = "" } = this.#request;
    const platform = formatPlatform(step.platform);
    return JSON.stringify([this.#contextName(), dockerfileName, target, platform, place]);
  }
}

const buildIdDigits = 12;
