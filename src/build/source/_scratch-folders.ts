import { mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { removeTree } from "../../sys/fs/fs.ts";
import type { ContextFolder } from "../build-service.ts";

/** Folders that last as long as somebody holds them. Those of an earlier run go at the start. */
export class ScratchFolders {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    mkdirSync(root, { recursive: true, mode: 0o700 });
  }

  /** Removes what an earlier run left. */
  async clear(): Promise<void> {
    for (const name of readdirSync(this.#root)) await removeTree(join(this.#root, name));
  }

  /** A new, empty folder of mode 0755, removed when it is closed. */
  make(): ContextFolder {
    const outer = mkdtempSync(join(this.#root, "f-"));
    const path = join(outer, "files");
    mkdirSync(path, { mode: 0o755 });
    return { path, [Symbol.asyncDispose]: () => removeTree(outer) };
  }
}
