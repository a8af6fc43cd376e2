/** Tells a build's progress as events: vertices with their beginnings, ends, states and output. */
import { createId } from "../../lib/id.ts";
import { nowNs } from "../../lib/time.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import type { BuildEvent, VertexInfo } from "../build-service.ts";

/** What one vertex says about itself. */
export interface VertexProgress {
  readonly digest: Digest;
  /** Says how far a part of it is; `total` 0 where nobody knows. */
  status(state: {
    readonly id: string;
    readonly current: number;
    readonly total?: number;
    readonly isCompleted?: boolean;
  }): void;
  log(stream: "stdout" | "stderr", bytes: Uint8Array): void;
}

/** Tells what happens in one build. */
export class Progress {
  readonly #tell: (event: BuildEvent) => void;
  readonly #announced = new Set<Digest>();
  /** Keeps apart what builds do each for itself, for clients that watch several. */
  readonly #salt = createId();

  constructor(tell: (event: BuildEvent) => void) {
    this.#tell = tell;
  }

  tell(event: BuildEvent): void {
    this.#tell(event);
  }

  /** Makes a vertex known, once. */
  announce(vertex: VertexInfo): void {
    if (this.#announced.has(vertex.digest)) return;
    this.#announced.add(vertex.digest);
    this.#tell({ kind: "vertex", vertex });
  }

  started(digest: Digest): void {
    this.#tell({ kind: "started", digest, atNs: now() });
  }

  completed(
    digest: Digest,
    how: { readonly isCached?: boolean; readonly error?: string } = {},
  ): void {
    this.#tell({
      kind: "completed",
      digest,
      atNs: now(),
      isCached: how.isCached === true,
      ...(how.error === undefined ? {} : { error: how.error }),
    });
  }

  /** Tells what is neither progress nor output: for clients that know the ID. */
  state(digest: Digest, { id, name }: { readonly id: string; readonly name: string }): void {
    const part = { id, name, current: 0, total: 0, isCompleted: true };
    this.#tell({ kind: "status", digest, ...part, atNs: now() });
  }

  of(digest: Digest): VertexProgress {
    return {
      digest,
      status: ({ id, current, total = 0, isCompleted = false }) =>
        this.#tell({
          kind: "status",
          digest,
          id,
          name: id,
          current,
          total,
          atNs: now(),
          isCompleted,
        }),
      log: (stream, bytes) => this.#tell({ kind: "log", digest, stream, bytes, atNs: now() }),
    };
  }

  /** Shows `work` as a vertex of its own. */
  async during<T>(name: string, work: (vertex: VertexProgress) => Promise<T>): Promise<T> {
    const digest = digestOf(`${this.#salt} ${name} ${this.#announced.size}`);
    this.announce({ digest, name, inputs: [] });
    this.started(digest);
    try {
      const result = await work(this.of(digest));
      this.completed(digest);
      return result;
    } catch (error) {
      this.completed(digest, { error: error instanceof Error ? error.message : String(error) });
      throw error;
    }
  }
}

function now(): string {
  return nowNs().toString();
}
