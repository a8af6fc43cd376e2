import { noSuchExec } from "../../lib/docker-messages.ts";
import { valueWithin } from "../../lib/concurrency/deadline.ts";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import type { ExecConfig } from "../../api/exec.ts";
import type { LiveContainer } from "../record/live-container.ts";

/** Execs that have ended, kept for those who ask how; in all containers together. */
export const endedExecCountMax = 1000;
/** Execs of one container that have not ended. */
export const execCountMax = 10_000;

/** How an exec stands. */
export type ExecState =
  | { readonly kind: "created" }
  | { readonly kind: "starting" }
  | { readonly kind: "running"; readonly pid: number }
  | { readonly kind: "ended"; readonly exitCode: number; readonly pid: number };

/** A process added to a container, or to be added. */
export class Exec {
  readonly id: string = createId();
  readonly container: LiveContainer;
  readonly config: ExecConfig;
  /** Its output has ended; resolves when its end is told too, or seems not to come. */
  settling?: Promise<void>;
  #state: ExecState = { kind: "created" };
  #change = Promise.withResolvers<void>();

  constructor(container: LiveContainer, config: ExecConfig) {
    this.container = container;
    this.config = config;
  }

  get state(): ExecState {
    return this.#state;
  }

  set state(state: ExecState) {
    this.#state = state;
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** Waits for one of some states. @returns whether it came in time */
  async reaches(
    kinds: readonly ExecState["kind"][],
    options: { waitMaxMs: number },
  ): Promise<boolean> {
    const endMs = performance.now() + options.waitMaxMs;
    while (!kinds.includes(this.#state.kind)) {
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return false;
      await valueWithin(this.#change.promise, leftMs);
    }
    return true;
  }
}

/** The execs of all containers; in memory alone, as in Docker. */
export class ExecStore {
  readonly #execs = new Map<string, Exec>();
  readonly #ended: string[] = [];

  add(exec: Exec): void {
    const { container } = exec;
    if (container.execIds.size >= execCountMax) {
      throw new EngineError(
        "unavailable",
        `exec in container ${container.id}: it has ${execCountMax} already`,
      );
    }
    this.#execs.set(exec.id, exec);
    container.execIds.add(exec.id);
  }

  /** @throws not-found */
  get(id: string): Exec {
    const exec = this.#execs.get(id);
    if (exec === undefined) throw noSuchExec(id);
    return exec;
  }

  find(id: string): Exec | undefined {
    return this.#execs.get(id);
  }

  /** Notes the end; the oldest of too many ended ones is forgotten. */
  end(exec: Exec, exitCode: number): void {
    const pid = exec.state.kind === "running" ? exec.state.pid : 0;
    exec.state = { kind: "ended", exitCode, pid };
    exec.container.execIds.delete(exec.id);
    this.#ended.push(exec.id);
    while (this.#ended.length > endedExecCountMax) this.#execs.delete(this.#ended.shift() ?? "");
  }

  /** Forgets all of a removed container. */
  removeOf(container: LiveContainer): void {
    for (const [id, exec] of this.#execs) if (exec.container === container) this.#execs.delete(id);
    container.execIds.clear();
  }
}
