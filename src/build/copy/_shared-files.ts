import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import { writeFileAtomic } from "../../sys/fs.ts";
import type { FileAttributes } from "./_calls.ts";
import type { TreeNode } from "./_merged-tree.ts";

/** Lies beside the folder of a layer: inodes that it shares with the tree they were copied from. */
const listName = "shared-inodes";

/**
 * Files that a layer has in common with where they came from: one inode, two names, no copy.
 *
 * That is sound as long as nobody changes such a file in place: layers are never changed, and a
 * frozen tree says the same of itself. No inode comes twice into one stack of layers: two files of a
 * container would look like hard links to each other.
 */
export class SharedFiles {
  readonly #listPath: string;
  readonly #layers: readonly string[];
  readonly #device: bigint;
  readonly #new = new Set<bigint>();
  #taken: Set<bigint> | undefined;

  /** @param layers of the target, uppermost first, as absolute paths */
  constructor(layers: readonly string[], device: bigint) {
    this.#layers = layers;
    this.#device = device;
    this.#listPath = join(dirname(layers[0] ?? "/"), listName);
  }

  /** Whether the layers of a source may be shared with: not those that the target stands on. */
  isFree(sourceLayers: readonly string[]): boolean {
    return !sourceLayers.some((layer) => this.#layers.includes(layer));
  }

  /** Whether a file is to look exactly as it does, and is not in the target's layers yet. */
  canShare({ stat }: TreeNode, wanted: FileAttributes): boolean {
    if (stat.dev !== this.#device || stat.size === 0n) return false;
    const isSame =
      Number(stat.uid) === wanted.uid &&
      Number(stat.gid) === wanted.gid &&
      (Number(stat.mode) & 0o7777) === wanted.mode;
    if (!isSame || this.#new.has(stat.ino)) return false;
    this.#taken ??= readLists(this.#layers);
    return !this.#taken.has(stat.ino);
  }

  /** Notes that a file is shared now. */
  add({ stat }: TreeNode): void {
    this.#new.add(stat.ino);
  }

  /** Writes down what the target shares, for copies into layers above it. */
  save(): void {
    if (this.#new.size === 0) return;
    const all = new Set([...readList(this.#listPath), ...this.#new]);
    writeFileAtomic(this.#listPath, [...all].join("\n"), { mode: 0o600, durable: false });
  }
}

function readLists(layers: readonly string[]): Set<bigint> {
  return new Set(layers.flatMap((layer) => readList(join(dirname(layer), listName))));
}

function readList(path: string): bigint[] {
  try {
    const text = readFileSync(path, "latin1");
    return text.split("\n").flatMap((line) => (/^\d{1,20}$/.test(line) ? [BigInt(line)] : []));
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw error;
  }
}
