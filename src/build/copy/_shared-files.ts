import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import { writeFileAtomic } from "../../sys/fs/fs.ts";
import type { FileAttributes } from "../../snapshot/tree/tree-syscalls.ts";
import type { TreeNode } from "../tree/merged-tree.ts";

/** Lies beside the folder of a layer: inodes that it shares, and the folder that each is from. */
const listName = "shared-inodes";
/**
 * Smaller files are copied: a container sees the number of names, and there are programs that refuse
 * settings with more than one (cron its tables). A copy of a small file costs little.
 */
const sharedSizeMinBytes = 32_768n;
const setIdBits = 0o6000n;

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
  readonly #new = new Map<bigint, string>();
  #taken: ReadonlyMap<bigint, string> | undefined;

  /** @param layers of the target, uppermost first, as absolute paths */
  constructor(layers: readonly string[], device: bigint) {
    this.#layers = layers;
    this.#device = device;
    this.#listPath = listOf(layers[0] ?? "/");
  }

  /** The files of one source. @param layers its own, uppermost first, as absolute paths */
  from(layers: readonly string[]): SharedSource {
    const origins = layers.map((layer) => ({ layer, shared: readList(listOf(layer)) }));
    const originOf = ({ stat, places }: TreeNode): string => {
      const own = origins[places[0].layer];
      return own?.shared.get(stat.ino) ?? own?.layer ?? "";
    };
    return {
      canShare: (node, wanted) => {
        const { stat, places } = node;
        if (stat.dev !== this.#device || stat.size < sharedSizeMinBytes) return false;
        if ((stat.mode & setIdBits) !== 0n) return false;
        const isSame =
          Number(stat.uid) === wanted.uid &&
          Number(stat.gid) === wanted.gid &&
          (Number(stat.mode) & 0o7777) === wanted.mode;
        if (!isSame || this.#isTaken(stat.ino)) return false;
        // What the target stands on has the inode already, as a file of its own.
        const from = [layers[places[0].layer] ?? "", originOf(node)];
        return !from.some((layer) => this.#layers.includes(layer));
      },
      add: (node) => void this.#new.set(node.stat.ino, originOf(node)),
    };
  }

  /** Writes down what the target shares, for copies into layers above it. */
  save(): void {
    if (this.#new.size === 0) return;
    const all = new Map([...readList(this.#listPath), ...this.#new]);
    const lines = [...all].map(([inode, origin]) => `${inode} ${origin}`);
    writeFileAtomic(this.#listPath, lines.join("\n"), { mode: 0o600, durable: false });
  }

  #isTaken(inode: bigint): boolean {
    if (this.#new.has(inode)) return true;
    this.#taken ??= new Map(this.#layers.flatMap((layer) => [...readList(listOf(layer))]));
    return this.#taken.has(inode);
  }
}

/** One source of shared files. */
export interface SharedSource {
  /** Whether a file is to look exactly as it does, and is not in the target's layers yet. */
  canShare(node: TreeNode, wanted: FileAttributes): boolean;
  /** Notes that a file is shared now. */
  add(node: TreeNode): void;
}

function listOf(layer: string): string {
  return join(dirname(layer), listName);
}

function readList(path: string): ReadonlyMap<bigint, string> {
  const list = new Map<bigint, string>();
  for (const line of readText(path).split("\n")) {
    const [, inode, origin] = /^(\d{1,20}) (.*)$/.exec(line) ?? [];
    if (inode !== undefined) list.set(BigInt(inode), origin ?? "");
  }
  return list;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return "";
    throw error;
  }
}
