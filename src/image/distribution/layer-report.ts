import { formatSize } from "../../lib/size.ts";
import type { Progress, ProgressMessage } from "../image-service.ts";

/** Time between two messages of one layer while its bytes pass. */
const periodMs = 100;

/** How long a layer waits before it says so. */
const waitingAfterMs = 100;

/** Cells of a bar. */
const barWidth = 50;

/** How far a transfer is, as Docker's daemon draws it: `[====>    ]  1.2MB/3MB`. */
export function progressBar(currentBytes: number, totalBytes: number): string {
  if (currentBytes <= 0 && totalBytes <= 0) return "";
  const current = formatSize(currentBytes).padStart(8);
  if (totalBytes <= 0) return current;
  const filled = Math.min(barWidth, Math.trunc((currentBytes / totalBytes) * 50));
  const bar = `[${"=".repeat(filled)}>${" ".repeat(barWidth - filled)}] `;
  // Docker: no total once more has passed than was announced, seen in 28.5
  if (currentBytes > totalBytes) return `${bar}${current}`;
  return `${bar}${current}/${formatSize(totalBytes)}`;
}

/**
 * Tells how one layer gets on, in Docker's messages.
 *
 * Nothing is told before `show`; what was to be told until then is, by its last message.
 */
export class LayerReport {
  readonly #id: string;
  readonly #progress: Progress;
  #isShown = false;
  #last: ProgressMessage | undefined;
  #bytesToldMs = Number.NEGATIVE_INFINITY;
  #waiting: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string, progress: Progress) {
    this.#id = id;
    this.#progress = progress;
  }

  /** The layer's first message, and what has happened until now. */
  show(status: string): void {
    const pending = this.#last;
    this.#isShown = true;
    this.#last = undefined;
    this.status(status);
    if (pending !== undefined) this.#tell(pending);
  }

  /** What follows is told, without a first message. */
  begin(): void {
    this.#isShown = true;
  }

  /** The layer's first message and its last: what else was to be told is not. */
  showOnly(status: string): void {
    this.#last = undefined;
    this.#isShown = true;
    this.status(status);
  }

  /** A message without figures; the same twice in a row is told once. */
  status(status: string): void {
    if (this.#last?.status === status && this.#last.progress === undefined) return;
    this.#tell({ status, progressDetail: {}, id: this.#id });
  }

  /** A message with a bar, at most ten a second. */
  bytes(status: string, passed: { readonly current: number; readonly total: number }): void {
    const nowMs = performance.now();
    const isSame = this.#last?.status === status;
    if (isSame && nowMs - this.#bytesToldMs < periodMs) return;
    this.#bytesToldMs = nowMs;
    const { current, total } = passed;
    const progress = progressBar(current, total);
    this.#tell({ status, progressDetail: { current, total }, progress, id: this.#id });
  }

  /** The layer waits for others; told when that takes a while. */
  waiting(): void {
    this.#waiting ??= setTimeout(() => this.status("Waiting"), waitingAfterMs);
  }

  /** As Docker says that it waits before another attempt. */
  retrying(seconds: number): void {
    const whole = Math.max(1, Math.ceil(seconds));
    this.status(`Retrying in ${whole} second${whole === 1 ? "" : "s"}`);
  }

  /** Nothing more is told. */
  end(): void {
    clearTimeout(this.#waiting);
  }

  #tell(message: ProgressMessage): void {
    clearTimeout(this.#waiting);
    this.#waiting = undefined;
    this.#last = message;
    if (this.#isShown) this.#progress(message);
  }
}
