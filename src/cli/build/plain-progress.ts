/** Progress of a build as lines of text, each begun by the number of its step. */
import type { StatusResponse } from "../../api/buildkit/control.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { listSize } from "../format/human.ts";
import type { BuildProgress } from "./build-progress.ts";
import {
  BuildTrace,
  durationS,
  type TraceChange,
  type TracedPart,
  type TracedStep,
} from "./build-trace.ts";

/** Opens plain progress. @param write takes whole lines, with their ends */
export function openPlainProgress(write: (text: string) => void): BuildProgress {
  return new PlainProgress(write);
}

class PlainProgress implements BuildProgress {
  readonly trace: BuildTrace = new BuildTrace();
  readonly #write: (text: string) => void;
  #current: TracedStep | undefined;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  update(progress: StatusResponse): void {
    for (const change of this.trace.apply(progress)) this.#show(change);
  }

  close(): void {
    if (this.#current !== undefined) this.#write("\n");
    this.#current = undefined;
  }

  #show(change: TraceChange): void {
    const { step } = change;
    if (step.number === 0) return;
    if (change.kind === "line") {
      this.#turnTo(step);
      this.#line(step, `${change.line.atS.toFixed(3)} ${shown(change.line.text)}`);
    } else if (change.kind === "part") {
      if (!change.part.isDone) return;
      this.#turnTo(step);
      this.#line(step, describePart(change.part));
    } else if (step.completedNs !== undefined) {
      this.#turnTo(step);
      this.#end(step);
    } else if (this.#current === undefined) {
      this.#turnTo(step);
    }
  }

  #turnTo(step: TracedStep): void {
    if (this.#current === step) return;
    if (this.#current !== undefined) {
      if (this.#current.completedNs === undefined) this.#line(this.#current, "...");
      this.#write("\n");
    }
    this.#current = step;
    this.#line(step, shown(step.name));
  }

  #end(step: TracedStep): void {
    if (step.rest !== "") this.#line(step, shown(step.rest));
    step.rest = "";
    this.#line(step, endOf(step));
    this.#write("\n");
    this.#current = undefined;
  }

  #line(step: TracedStep, text: string): void {
    this.#write(`#${step.number} ${text}\n`);
  }
}

function endOf(step: TracedStep): string {
  if (step.error !== "") {
    return /context canceled|canceled$/.test(step.error)
      ? "CANCELED"
      : `ERROR: ${shown(step.error)}`;
  }
  return step.isCached ? "CACHED" : `DONE ${durationS(step, 0n).toFixed(1)}s`;
}

function describePart({ name, current, total, startedNs, completedNs }: TracedPart): string {
  const size = total > 0 ? ` ${listSize(current)} / ${listSize(total)}` : "";
  const isTimed = startedNs !== undefined && completedNs !== undefined;
  const seconds = isTimed ? ` ${(Number(completedNs - startedNs) / 1e9).toFixed(1)}s` : "";
  return `${shown(name)}${size}${seconds} done`;
}

function shown(text: string): string {
  return escapeControls(text, { keep: "\t" });
}
