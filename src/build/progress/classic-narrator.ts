/**
 * A build told as the classic builder told it: instruction by instruction, in the order of the file.
 *
 * Steps run in parallel all the same; what a later one prints waits for its turn.
 */
import { type Digest, digestHex, digestOf } from "../../oci/digest.ts";
import type { BuildEvent } from "../build-service.ts";
import type { ImageConfig } from "../../oci/image-config.ts";
import type { Graph } from "../graph/graph.ts";
import { imageIdOf, makeImageConfig } from "../graph/image-config.ts";
import type { BuiltLayer, Step, StepResult } from "../step.ts";

const shownIdLength = 12;

/** What an instruction has come to. */
export interface NarratedImage {
  /** Of the instruction, from 1. */
  readonly number: number;
  readonly text: string;
  /** What a stage begins with: an image that was there before, or what another stage came to. */
  readonly isBase: boolean;
  readonly id: Digest;
  readonly config: ImageConfig;
  readonly layers: readonly BuiltLayer[];
}

interface Heard {
  readonly output: { readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }[];
  hasBegun: boolean;
}

/** Tells one build. */
export class ClassicNarrator {
  readonly #tell: (event: BuildEvent) => void;
  readonly #heard = new Map<Digest, Heard>();
  readonly #decoder = new TextDecoder();
  #current: Digest | undefined;

  constructor(tell: (event: BuildEvent) => void) {
    this.#tell = tell;
  }

  /** Hears what steps print. */
  hear(event: BuildEvent): void {
    if (event.kind !== "log") return;
    if (event.digest === this.#current) this.#output(event);
    else this.#of(event.digest).output.push({ stream: event.stream, bytes: event.bytes });
  }

  /** Hears that a step is really done, not found. */
  begun(step: Step): void {
    const heard = this.#of(step.digest);
    if (heard.hasBegun) return;
    heard.hasBegun = true;
    if (step.digest === this.#current) this.#running(step);
  }

  /** Tells all instructions, each when it is done. @throws what a step throws */
  async narrate(
    graph: Graph,
    how: {
      readonly solve: (step: Step) => Promise<StepResult>;
      /** Makes what is told runnable by its ID. */
      readonly keep: (made: NarratedImage) => void;
    },
  ): Promise<void> {
    const total = graph.narration.length;
    let isCached = true;
    for (const [index, instruction] of graph.narration.entries()) {
      this.#say(`Step ${index + 1}/${total} : ${instruction.text}\n`);
      const { step, last } = instruction;
      if (step !== undefined && step.action.kind !== "image") {
        isCached = await this.#step(step, how.solve);
        if (isCached) this.#say(" ---> Using cache\n");
        else if (instruction.hasCommand) {
          this.#say(` ---> Removed intermediate container ${containerIdOf(step)}\n`);
        }
      }
      const layers = last === undefined ? [] : (await how.solve(last)).layers;
      const config = makeImageConfig(instruction.draft, { layers });
      const id =
        last?.action.kind === "image" && step === last ? last.action.image.id : imageIdOf(config);
      this.#say(` ---> ${digestHex(id).slice(0, shownIdLength)}\n`);
      const { text, beginsStage: isBase } = instruction;
      how.keep({ number: index + 1, text, isBase, id, config, layers });
    }
  }

  async #step(step: Step, solve: (step: Step) => Promise<StepResult>): Promise<boolean> {
    this.#current = step.digest;
    const heard = this.#of(step.digest);
    if (heard.hasBegun) this.#running(step);
    for (const output of heard.output.splice(0)) this.#output(output);
    try {
      return (await solve(step)).isCached;
    } finally {
      this.#current = undefined;
    }
  }

  #running(step: Step): void {
    if (step.action.kind === "run") this.#say(` ---> Running in ${containerIdOf(step)}\n`);
  }

  #output(output: { readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }): void {
    const text = this.#decoder.decode(output.bytes);
    // Docker: what goes to stderr is red, seen in 28.5
    this.#say(output.stream === "stderr" ? `\u001b[91m${text}\u001b[0m` : text);
  }

  #say(text: string): void {
    this.#tell({ kind: "classic", text });
  }

  #of(digest: Digest): Heard {
    const known = this.#heard.get(digest);
    if (known !== undefined) return known;
    const heard: Heard = { output: [], hasBegun: false };
    this.#heard.set(digest, heard);
    return heard;
  }
}

function containerIdOf(step: Step): string {
  return digestHex(digestOf(`container of ${step.digest}`)).slice(0, shownIdLength);
}
