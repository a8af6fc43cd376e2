/**
 * Progress of a build on a terminal: a line a step that is drawn over as it goes on, with the last
 * output of those that run. When the build is over the steps stay, without their output.
 */
import type { StatusResponse } from "../../api/buildkit/control.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { nowNs } from "../../lib/time.ts";
import { listSize } from "../format/human.ts";
import type { Output } from "../output.ts";
import type { BuildProgress } from "./build-progress.ts";
import { BuildTrace, durationS, type TracedPart, type TracedStep } from "./build-trace.ts";

/** How often it is drawn. */
const drawIntervalMs = 80;
/** Lines of output shown of a step that runs. */
const outputLines = 6;
const timeWidth = 7;
const barWidth = 20;

/** What a terminal is asked for. */
export interface TerminalProgressOptions {
  readonly output: Pick<Output, "err" | "columns">;
  readonly rows: () => number;
  /** Colours are used. */
  readonly isColored: boolean;
  /** Whom the build is done by: stands at the right of the first line. */
  readonly builder: string;
  readonly now?: () => bigint;
}

/** Opens progress on a terminal. */
export function openTerminalProgress(options: TerminalProgressOptions): BuildProgress {
  return new TerminalProgress(options);
}

class TerminalProgress implements BuildProgress {
  readonly trace: BuildTrace = new BuildTrace();
  readonly #options: TerminalProgressOptions;
  readonly #startedNs: bigint;
  readonly #timer: ReturnType<typeof setInterval>;
  #drawnLines = 0;

  constructor(options: TerminalProgressOptions) {
    this.#options = options;
    this.#startedNs = this.#now();
    this.#timer = setInterval(() => this.#draw(false), drawIntervalMs);
    this.#timer.unref();
  }

  update(progress: StatusResponse): void {
    this.trace.apply(progress);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#draw(true);
  }

  #now(): bigint {
    return (this.#options.now ?? nowNs)();
  }

  #draw(isOver: boolean): void {
    const { output, rows } = this.#options;
    const all = this.#lines(isOver);
    // What does not fit could not be drawn over: the oldest steps are left out until the end.
    const room = Math.max(3, rows() - 1);
    const [head = "", ...steps] = all;
    const kept = isOver || all.length <= room ? all : [head, ...steps.slice(1 - room)];
    const up = this.#drawnLines > 0 ? `\x1b[${this.#drawnLines}A` : "";
    // In one piece, so that nothing flickers.
    output.err(`\x1b[?25l${up}\r\x1b[J${kept.join("\n")}\n\x1b[?25h`);
    this.#drawnLines = isOver ? 0 : kept.length;
  }

  #lines(isOver: boolean): readonly string[] {
    const { steps, doneCount } = this.trace;
    const elapsedS = Number(this.#now() - this.#startedNs) / 1e9;
    const hasFailed = steps.some(({ error }) => error !== "");
    const state = !isOver ? "Building" : hasFailed ? "Building" : "Built";
    const counts = `(${doneCount}/${steps.length})${isOver && !hasFailed ? " FINISHED" : ""}`;
    const head = this.#aligned(
      `[+] ${state === "Built" ? "Building" : state} ${elapsedS.toFixed(1)}s ${counts}`,
      this.#options.builder,
    );
    const lines = [head];
    for (const step of steps) {
      if (step.number === 0) continue;
      lines.push(...this.#stepLines(step, isOver));
    }
    return lines;
  }

  #stepLines(step: TracedStep, isOver: boolean): readonly string[] {
    const isDone = step.completedNs !== undefined;
    const prefix = step.error !== "" ? "ERROR " : step.isCached ? "CACHED " : "";
    const time = `${durationS(step, this.#now()).toFixed(1)}s`;
    const line = this.#aligned(` => ${prefix}${clean(step.name)}`, time);
    const colored = this.#colored(line, step.error !== "" ? 31 : isDone ? 34 : undefined);
    if (isDone || isOver) return [colored];
    const parts = [...step.parts.values()].map((part) =>
      this.#aligned(` => => ${clean(part.name)}${barOf(part)}`, partTime(part, this.#now())),
    );
    const output = [...step.lines.map(({ text }) => text), ...(step.rest === "" ? [] : [step.rest])]
      .slice(-outputLines)
      .map((text) => this.#fit(` => => # ${clean(text)}`));
    return [colored, ...parts, ...output];
  }

  /** Text at the left, a word at the right, in the terminal's width. */
  #aligned(left: string, right: string): string {
    const width = Math.max(20, this.#options.output.columns - 1);
    const room = width - Math.max(timeWidth, right.length + 1);
    const text = left.length > room ? `${left.slice(0, room - 1)}…` : left.padEnd(room);
    return text + right.padStart(width - room);
  }

  #fit(text: string): string {
    const width = Math.max(20, this.#options.output.columns - 1);
    return text.length > width ? text.slice(0, width) : text;
  }

  #colored(text: string, code: number | undefined): string {
    return code === undefined || !this.#options.isColored ? text : `\x1b[${code}m${text}\x1b[0m`;
  }
}

function barOf({ current, total, isDone }: TracedPart): string {
  if (total <= 0) return current > 0 ? ` ${listSize(current)}` : "";
  const filled = isDone ? barWidth : Math.min(barWidth, Math.floor((current / total) * barWidth));
  const bar = `${"█".repeat(filled)}${"░".repeat(barWidth - filled)}`;
  return ` ${bar} ${listSize(current)} / ${listSize(total)}`;
}

function partTime({ startedNs, completedNs }: TracedPart, now: bigint): string {
  if (startedNs === undefined) return "";
  return `${(Number((completedNs ?? now) - startedNs) / 1e9).toFixed(1)}s`;
}

function clean(text: string): string {
  return escapeControls(text).replaceAll("\t", " ");
}
