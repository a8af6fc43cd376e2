/** Progress of loads, imports and pulls on the terminal or as lines. */
import type { JsonMessage } from "../../api/image.ts";
import { EngineError } from "../../lib/errors.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { listSize } from "../format/human.ts";
import type { Output } from "../output.ts";
import { openProgressLines, type ProgressLines } from "./progress-lines.ts";

const barWidth = 50;
/** A bar is worth a look when the work takes longer. */
const barDelayMs = 1000;
const redrawMs = 100;

/**
 * Prints progress: on a terminal a line a layer, which is written over; else a line a message.
 *
 * @param options.isQuiet keep all but what the work itself prints to itself
 * @throws internal with the engine's sentence when the work has failed
 */
export async function showProgress(
  messages: AsyncIterable<JsonMessage>,
  options: { readonly output: Output; readonly isQuiet?: boolean },
): Promise<void> {
  const { output, isQuiet = false } = options;
  const lines = openProgressLines(output);
  for await (const message of messages) {
    const failure = message.errorDetail?.message ?? message.error;
    if (failure !== undefined) throw new EngineError("internal", failure);
    if (message.stream !== undefined) {
      lines.finish();
      output.out(escapeControls(message.stream, { keep: "\n\t" }));
    } else if (message.status !== undefined && !isQuiet) {
      showStatus(message, { lines, output });
    }
  }
}

function showStatus(
  message: JsonMessage,
  { lines, output }: { readonly lines: ProgressLines; readonly output: Output },
): void {
  const { id, status = "", progressDetail: { current, total = 0 } = {} } = message;
  const isMoving = current !== undefined;
  if (output.isTerminal && id !== undefined) {
    lines.set(id, isMoving ? `${status} ${renderBar(current, total)}` : status);
  } else if (!isMoving) {
    lines.finish();
    output.out(`${escapeControls(id === undefined ? status : `${id}: ${status}`)}\n`);
  }
}

/** One line that is drawn over. */
export interface ProgressBar {
  /** Draws, if it is time to. */
  show(label: string, progress: { readonly current?: number; readonly total?: number }): void;
  /** Takes the line away. */
  clear(): void;
}

/** Opens a bar; it draws nothing when `isOn` is false. */
export function openBar(output: Output, isOn: boolean): ProgressBar {
  const startMs = performance.now();
  let drawnMs = 0;
  let isDrawn = false;
  return {
    show(label, { current = 0, total = 0 }) {
      const nowMs = performance.now();
      if (!isOn || nowMs - startMs < barDelayMs || nowMs - drawnMs < redrawMs) return;
      drawnMs = nowMs;
      isDrawn = true;
      output.out(`\r\x1b[K${escapeControls(label)} ${renderBar(current, total)}`);
    },
    clear() {
      if (isDrawn) output.out("\r\x1b[K");
      isDrawn = false;
    },
  };
}

/** `[====>    ]  1.2MB/3.4MB`; sizes alone when the whole is not known. */
export function renderBar(current: number, total: number): string {
  if (total <= 0) return listSize(current);
  const filled = Math.min(barWidth, Math.floor((current / total) * barWidth));
  const head = filled < barWidth ? ">" : "";
  const bar = `${"=".repeat(filled)}${head}`.padEnd(barWidth);
  return `[${bar}]  ${listSize(Math.min(current, total))}/${listSize(total)}`;
}
