import { findInLayers, type LowerFile, namesInLayers } from "../tree/lower-layers.ts";

/** The layers below the one that is written, and whether it asked for anything of theirs. */
export class LayersBelow {
  /** Uppermost first. */
  readonly #dirs: readonly string[];
  #wasAsked = false;

  constructor(dirs: readonly string[]) {
    this.#dirs = dirs;
  }

  /** Whether the layer depends on them; true also when there are none. */
  get wasAsked(): boolean {
    return this.#wasAsked;
  }

  /** What they show at a path. */
  find(path: string): LowerFile | undefined {
    this.#wasAsked = true;
    return findInLayers(this.#dirs, path);
  }

  /** The names that they show at the root. */
  rootNames(): ReturnType<typeof namesInLayers> {
    this.#wasAsked = true;
    return namesInLayers(this.#dirs, "");
  }
}
