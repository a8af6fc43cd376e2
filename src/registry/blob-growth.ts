import { EngineError } from "../lib/errors.ts";

/**
 * A blob that is still being fetched: its file grows, and is read behind the writer.
 *
 * Its last byte is not for anybody before the whole was checked, so that nobody has all of a blob that
 * is not what its digest says.
 */
export class BlobGrowth {
  readonly #done: Promise<void>;
  #state: "growing" | "whole" | "broken" = "growing";
  #cause: unknown;
  #wholePath: string | undefined;
  #changed = Promise.withResolvers<void>();

  /** @param done settles when the blob is whole and checked, or never will be */
  constructor(done: Promise<{ readonly path: string } | undefined>) {
    this.#done = done.then(
      (blob) => {
        this.#wholePath = blob?.path;
        this.#end(blob === undefined ? "broken" : "whole");
      },
      (error: unknown) => {
        this.#cause = error;
        this.#end("broken");
      },
    );
  }

  /** There are more bytes. */
  grow(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }

  /** Where the blob is, once it is whole; undefined before, and when it never will be. */
  get wholePath(): string | undefined {
    return this.#wholePath;
  }

  /** Bytes that may be read now, of a file that has `sizeBytes` and is to have `totalBytes`. */
  readable(sizeBytes: number, totalBytes: number): number {
    return this.#state === "whole" ? sizeBytes : Math.min(sizeBytes, totalBytes - 1);
  }

  /**
   * Waits for more; to be asked for before the file's size is, so that nothing is missed.
   *
   * @throws unavailable when no more will come
   */
  next(): Promise<void> {
    if (this.#state === "broken") {
      const message = "the other registry broke off in the middle of a blob";
      throw new EngineError("unavailable", message, { cause: this.#cause });
    }
    return this.#state === "whole" ? Promise.resolve() : this.#changed.promise;
  }

  /** Resolves when it is over, however. */
  async ended(): Promise<void> {
    await this.#done;
  }

  #end(state: "whole" | "broken"): void {
    this.#state = state;
    this.grow();
  }
}
