/**
 * What is known of a build so far, put together from the pieces that its progress comes in.
 *
 * A step has a number from when it begins, in the order of beginnings. Output is kept by lines, the
 * last ones only: what went before has been shown.
 */
import {
  nsOfTimestamp,
  type StatusResponse,
  type Timestamp,
  type Vertex,
  type VertexLog,
  type VertexStatus,
  type VertexWarning,
} from "../../api/buildkit/control.ts";

/** One step. */
export interface TracedStep {
  readonly digest: string;
  /** From 1; 0 before it has begun. */
  number: number;
  name: string;
  isCached: boolean;
  error: string;
  startedNs: bigint | undefined;
  completedNs: bigint | undefined;
  readonly parts: Map<string, TracedPart>;
  /** What our engine says beside progress, by ID: not shown as it comes. */
  readonly notes: Map<string, string>;
  /** Last lines of its output, without their ends. */
  readonly lines: TracedLine[];
  /** Output after the last end of a line. */
  rest: string;
}

/** One part of a step: a layer that is fetched, a file that is written. */
export interface TracedPart {
  readonly id: string;
  readonly name: string;
  readonly current: number;
  readonly total: number;
  readonly isDone: boolean;
  readonly startedNs: bigint | undefined;
  readonly completedNs: bigint | undefined;
}

/** A line of output. */
export interface TracedLine {
  /** Seconds since the step began. */
  readonly atS: number;
  readonly text: string;
}

/** What a piece of progress changed. */
export type TraceChange =
  | { readonly kind: "step"; readonly step: TracedStep }
  | { readonly kind: "line"; readonly step: TracedStep; readonly line: TracedLine }
  | { readonly kind: "part"; readonly step: TracedStep; readonly part: TracedPart };

/** Lines that are kept of a step, and how long one may be. */
const linesKept = 200;
const lineMaxLength = 16_384;
/** Begins the IDs of states that are notes. */
const notePrefix = "tug.";
const nsPerS = 1_000_000_000;

/** A build as it goes on. */
export class BuildTrace {
  readonly #steps = new Map<string, TracedStep>();
  readonly warnings: VertexWarning[] = [];
  #begunCount = 0;

  /** All steps, those that have begun in the order of their numbers. */
  get steps(): readonly TracedStep[] {
    const rank = ({ number }: TracedStep): number =>
      number === 0 ? Number.POSITIVE_INFINITY : number;
    return [...this.#steps.values()].sort((left, right) => rank(left) - rank(right));
  }

  get doneCount(): number {
    return [...this.#steps.values()].filter(({ completedNs }) => completedNs !== undefined).length;
  }

  /** Takes a piece of progress. @returns what it changed, in order */
  apply(progress: StatusResponse): readonly TraceChange[] {
    const changes: TraceChange[] = [];
    for (const vertex of progress.vertexes) {
      const step = this.#step(vertex.digest);
      if (this.#applyVertex(step, vertex)) changes.push({ kind: "step", step });
    }
    for (const status of progress.statuses) {
      const step = this.#step(status.vertex);
      if (status.id.startsWith(notePrefix)) {
        step.notes.set(status.id, status.name);
        continue;
      }
      const part = partOf(status);
      step.parts.set(part.id, part);
      changes.push({ kind: "part", step, part });
    }
    for (const log of progress.logs) {
      const step = this.#step(log.vertex);
      for (const line of takeLines(step, log)) changes.push({ kind: "line", step, line });
    }
    this.warnings.push(...progress.warnings);
    // The end of a step comes after its output, which may have come in the same piece.
    return changes.filter(isNoEnd).concat(changes.filter((change) => !isNoEnd(change)));
  }

  #step(digest: string): TracedStep {
    const known = this.#steps.get(digest);
    if (known !== undefined) return known;
    const step: TracedStep = {
      digest,
      number: 0,
      name: "",
      isCached: false,
      error: "",
      startedNs: undefined,
      completedNs: undefined,
      parts: new Map(),
      notes: new Map(),
      lines: [],
      rest: "",
    };
    this.#steps.set(digest, step);
    return step;
  }

  #applyVertex(step: TracedStep, vertex: Vertex): boolean {
    const before = JSON.stringify([step.number, step.name, step.isCached, step.error]);
    const wasDone = step.completedNs !== undefined;
    if (vertex.name !== "") step.name = vertex.name;
    step.isCached ||= vertex.cached;
    step.error = vertex.error === "" ? step.error : vertex.error;
    step.startedNs = nsOf(vertex.started) ?? step.startedNs;
    step.completedNs = nsOf(vertex.completed) ?? step.completedNs;
    const hasBegun = step.startedNs !== undefined || step.completedNs !== undefined;
    if (hasBegun && step.number === 0) {
      this.#begunCount += 1;
      step.number = this.#begunCount;
    }
    const after = JSON.stringify([step.number, step.name, step.isCached, step.error]);
    return before !== after || wasDone !== (step.completedNs !== undefined);
  }
}

/** How long a step has taken, or takes so far, in seconds. */
export function durationS(step: TracedStep, nowNs: bigint): number {
  if (step.startedNs === undefined) return 0;
  return Math.max(0, Number((step.completedNs ?? nowNs) - step.startedNs) / nsPerS);
}

function isNoEnd(change: TraceChange): boolean {
  return change.kind !== "step" || change.step.completedNs === undefined;
}

function nsOf(time: Timestamp | undefined): bigint | undefined {
  return time === undefined ? undefined : nsOfTimestamp(time);
}

function partOf(status: VertexStatus): TracedPart {
  const completedNs = nsOf(status.completed);
  return {
    id: status.id,
    name: status.name === "" ? status.id : status.name,
    current: status.current,
    total: status.total,
    isDone: completedNs !== undefined,
    startedNs: nsOf(status.started),
    completedNs,
  };
}

function takeLines(step: TracedStep, log: VertexLog): readonly TracedLine[] {
  const atNs = nsOf(log.timestamp) ?? step.startedNs ?? 0n;
  const atS = step.startedNs === undefined ? 0 : Number(atNs - step.startedNs) / nsPerS;
  const texts = (step.rest + Buffer.from(log.msg).toString("utf8")).split("\n");
  step.rest = (texts.pop() ?? "").slice(-lineMaxLength);
  const lines = texts.map((text) => ({
    atS: Math.max(0, atS),
    // A line that is written over shows what it said last.
    text: (text.replace(/\r+$/, "").split("\r").at(-1) ?? "").slice(0, lineMaxLength),
  }));
  step.lines.push(...lines);
  if (step.lines.length > linesKept) step.lines.splice(0, step.lines.length - linesKept);
  return lines;
}
