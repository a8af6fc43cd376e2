import type { Digest } from "../../oci/digest.ts";

/**
 * Keeps blobs from the collector for a while: those that were pushed, mounted or asked for just now,
 * because a manifest that names them is on its way.
 *
 * In memory alone: a new process holds everything until it has run for as long as a hold lasts.
 */
export class Holds {
  readonly #untilMs = new Map<string, number>();
  readonly #options: { readonly graceMs: number; readonly nowMs: () => number };
  readonly #startMs: number;

  /** @param options.isServing false when nobody can have come before: records alone tell then */
  constructor(options: {
    readonly graceMs: number;
    readonly nowMs: () => number;
    readonly isServing: boolean;
  }) {
    this.#options = options;
    this.#startMs = options.isServing ? options.nowMs() : Number.NEGATIVE_INFINITY;
  }

  /** How long a hold lasts. */
  get graceMs(): number {
    return this.#options.graceMs;
  }

  /** Holds a digest in a repository from now on; only ever one that is there, which bounds the map. */
  hold(repository: string, digest: Digest): void {
    this.#untilMs.set(`${repository}@${digest}`, this.#options.nowMs() + this.#options.graceMs);
  }

  /** @param held.sinceMs when it came, as its record tells */
  isHeld(repository: string, held: { readonly digest: Digest; readonly sinceMs: number }): boolean {
    const nowMs = this.#options.nowMs();
    const { graceMs } = this.#options;
    // A clock that was set back must not end a hold.
    if (nowMs - this.#startMs < graceMs || nowMs - held.sinceMs < graceMs) return true;
    const untilMs = this.#untilMs.get(`${repository}@${held.digest}`);
    return untilMs !== undefined && untilMs > nowMs;
  }

  /** When a digest was held last; undefined when that is over. */
  heldMs(repository: string, digest: Digest): number | undefined {
    const untilMs = this.#untilMs.get(`${repository}@${digest}`);
    return untilMs === undefined ? undefined : untilMs - this.#options.graceMs;
  }

  /** Forgets what is over. */
  expire(): void {
    const nowMs = this.#options.nowMs();
    for (const [key, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(key);
  }
}
