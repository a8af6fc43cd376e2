import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../lib/concurrency/retry.ts";
import { EngineError } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";

const nameLength = 16;
const nameForm = /^[\da-f]{1,64}$/;
const removeAttemptCountMax = 10;

/** The folders of a pool's shims: `<exec-root>/shims/<name>`. */
export class ShimFolders {
  readonly #root: string;
  /** Of all shims that this pool has started, ready or not. */
  readonly #own = new Set<string>();

  constructor(execRoot: string) {
    this.#root = join(execRoot, "shims");
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
  }

  /** Makes one with a name of its own. */
  make(): { readonly name: string; readonly directory: string } {
    const name = createId().slice(0, nameLength);
    const directory = this.path(name);
    this.#own.add(name);
    mkdirSync(directory, { mode: 0o700 });
    return { name, directory };
  }

  /** @throws invalid-argument for what is no name of a shim */
  path(name: string): string {
    if (!nameForm.test(name)) {
      throw new EngineError("invalid-argument", `shim name ${JSON.stringify(name)}: not a name`);
    }
    return join(this.#root, name);
  }

  /** Those that neither this pool has made nor `known` names. */
  unknown(known: readonly string[]): readonly string[] {
    const kept = new Set([...known, ...this.#own]);
    return readdirSync(this.#root).filter((name) => nameForm.test(name) && !kept.has(name));
  }

  /** Notes that the shim goes, and removes its folder by itself. */
  leave(name: string): void {
    this.#own.delete(name);
  }

  /** A shim that is just leaving removes its socket at the same time, which stops a removal early. */
  async remove(name: string): Promise<void> {
    this.#own.delete(name);
    const path = this.path(name);
    for (let attempt = 1; attempt <= removeAttemptCountMax; attempt += 1) {
      rmSync(path, { recursive: true, force: true });
      if (!existsSync(path)) return;
      await sleep(attempt);
    }
  }
}
