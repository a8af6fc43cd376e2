import { createHash, type Hash } from "node:crypto";
import { type BigIntStats, closeSync, fstatSync, readSync, statSync } from "node:fs";
import { EngineError } from "../../lib/errors.ts";
import { decodeByteString, encodeByteString } from "../../lib/tar/tar-header.ts";
import { parseDigest } from "../../oci/digest.ts";
import { getXattr, listXattr } from "../../sys/fs/fs.ts";
import { systemCode } from "../../sys/libc.ts";
import type { Checksum, ChecksumHow, ChecksumRequest, Match } from "../copy/copy.ts";
import type { HashCache, HashCaches } from "./hash-cache.ts";
import { isFrozen, MergedTree, type TreeNode, vanished } from "./merged-tree.ts";
import { resolveSelection, type SourceMatch } from "./selection.ts";
import { type Visited, type Visitor, walkMatch } from "./walk.ts";
import { PatternList } from "../../lib/pattern/name-pattern.ts";

const readChunkBytes = 1024 * 1024;
const chunk = Buffer.alloc(readChunkBytes);

/** Reads a selection and hashes it; see `Copier.checksum`. Blocks: for a helper process. */
export function checksumOf(request: ChecksumRequest, caches: HashCaches): Checksum {
  const tree = MergedTree.of(request.tree);
  try {
    const matches = resolveSelection(tree, request, (path) => notFound(path, request));
    const excludes = new PatternList(request.excludes.map(encodeByteString));
    const sum = new SelectionSum(tree, { ...request, isFrozen: isFrozen(request.tree), caches });
    for (const match of matches) walkMatch(tree, match, { excludes, visitor: sum.of(match) });
    return sum.end();
  } finally {
    tree.close();
  }
}

/** The sum of a selection that somebody walks through. */
export class SelectionSum {
  readonly #sum: TreeSum;
  readonly #caches: HashCaches;
  readonly #cachePath: string | undefined;
  readonly #cache: HashCache | undefined;
  readonly #matches: Match[] = [];

  constructor(tree: MergedTree, options: SumRequest) {
    const { hashCachePath: path, caches, isFrozen: hasFrozenFiles } = options;
    this.#caches = caches;
    this.#cachePath = path;
    this.#cache = path === undefined ? undefined : caches.open(path, mtimeOf(path));
    this.#cache?.setFrozen(hasFrozenFiles);
    this.#sum = new TreeSum(tree, {
      ignoresOwners: options.ignoresOwners === true,
      cache: this.#cache,
      listedFilesMax: options.listedFilesMax ?? 0,
    });
  }

  /** Who is to walk through the next match. */
  of(match: SourceMatch): Visitor {
    this.#matches.push(matchOf(match.path, match.node));
    this.#sum.begin(match);
    return this.#sum;
  }

  /** What all matches came to; the last call. */
  end(): Checksum {
    if (this.#cachePath !== undefined && this.#cache !== undefined) {
      this.#cache.save();
      this.#caches.written(this.#cachePath, mtimeOf(this.#cachePath));
    }
    return { ...this.#sum.end(), matches: this.#matches };
  }
}

/** How a selection is summed. */
export interface SumRequest extends ChecksumHow {
  /** Of the tree. */
  readonly isFrozen: boolean;
  readonly caches: HashCaches;
}

/** What a tree without a path says, in BuildKit's words. */
export function notFound(path: string, request: { readonly refName?: string }): EngineError {
  const ref = request.refName ?? "context";
  const sentence = `failed to calculate checksum of ref ${ref}: ${JSON.stringify(decodeByteString(path))}`;
  return new EngineError("not-found", `failed to compute cache key: ${sentence}: not found`, {
    details: { path: decodeByteString(path) },
  });
}

function matchOf(path: string, { stat }: TreeNode): Match {
  const kind = stat.isDirectory() ? "directory" : stat.isFile() ? "file" : "other";
  return { path: decodeByteString(path), kind };
}

function mtimeOf(path: string): bigint {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n;
}

interface SumOptions {
  readonly ignoresOwners: boolean;
  readonly cache: HashCache | undefined;
  readonly listedFilesMax: number;
}

/** Digits of a digest that a list of files has: to see a change, not to prove one. */
const listedDigits = 12;

/** Hashes a walk. Each record ends where its kind says, so that no two walks read alike. */
class TreeSum implements Visitor {
  readonly #tree: MergedTree;
  readonly #options: SumOptions;
  /** Undefined when there are too many, or nobody asks. */
  #listed: string[] | undefined;
  readonly #hash: Hash = createHash("sha256");
  /** Device and inode of a file with several names → the first of them, of one match. */
  #links = new Map<string, string>();
  #match = "";
  #entryCount = 0;
  #sizeBytes = 0;
  #hashedBytes = 0;

  constructor(tree: MergedTree, options: SumOptions) {
    this.#tree = tree;
    this.#options = options;
    if (options.listedFilesMax > 0) this.#listed = [];
  }

  begin({ name, path }: { readonly name: string; readonly path: string }): void {
    this.#links = new Map();
    this.#match = path.replace(/^\/+/, "");
    this.#record("match", name);
  }

  enter(folder: Visited): void {
    this.#entryCount += 1;
    // The top folder's own attributes go nowhere: its content is copied.
    if (folder.path === "") this.#record("top");
    else
      this.#record(
        "folder",
        folder.path,
        this.#attributes(folder.node.stat),
        xattrsOf(this.#tree, folder.node),
      );
  }

  leave(_folder: Visited): void {}

  file({ path, node }: Visited): void {
    this.#entryCount += 1;
    const { stat } = node;
    const attributes = this.#attributes(stat);
    if (stat.isFile()) {
      this.#sizeBytes += Number(stat.size);
      const content = this.#content(node);
      this.#record("file", path, attributes, content, this.#linkOf(path, stat));
      this.#list(path, { attributes, content });
    } else if (stat.isSymbolicLink()) {
      const content = this.#tree.readLink(node);
      this.#record("link", path, attributes, content);
      this.#list(path, { attributes, content: createHash("sha256").update(content).digest("hex") });
    } else this.#record("node", path, attributes, String(stat.rdev));
  }

  /** The file that a match names has no path below it. */
  #list(path: string, file: { readonly attributes: string; readonly content: string }): void {
    if (this.#listed === undefined || path.includes("\n")) return;
    if (this.#listed.length >= this.#options.listedFilesMax) {
      this.#listed = undefined;
      return;
    }
    const attributes = file.attributes.replaceAll(" ", ":");
    const name = decodeByteString(
      path === "" || this.#match === "" ? this.#match + path : `${this.#match}/${path}`,
    );
    this.#listed.push(`${file.content.slice(0, listedDigits)} ${attributes} ${name}`);
  }

  end(): Omit<Checksum, "matches"> {
    return {
      digest: parseDigest(`sha256:${this.#hash.digest("hex")}`),
      entryCount: this.#entryCount,
      sizeBytes: this.#sizeBytes,
      hashedBytes: this.#hashedBytes,
      ...(this.#listed === undefined ? {} : { files: this.#listed.join("\n") }),
    };
  }

  /** No field can hold a NUL. */
  #record(...fields: readonly string[]): void {
    this.#hash.update(`${fields.join("\0")}\0\n`, "latin1");
  }

  #attributes(stat: BigIntStats): string {
    const mode = stat.mode.toString(8);
    return this.#options.ignoresOwners ? mode : `${mode} ${stat.uid} ${stat.gid}`;
  }

  #linkOf(path: string, stat: BigIntStats): string {
    if (stat.nlink < 2n) return "";
    const key = `${stat.dev}:${stat.ino}`;
    const first = this.#links.get(key);
    if (first === undefined) this.#links.set(key, path);
    return first ?? "";
  }

  #content(node: TreeNode): string {
    const known = this.#options.cache?.find(node.stat);
    if (known !== undefined) return known;
    const fd = this.#open(node);
    try {
      const before = fstatSync(fd, { bigint: true });
      if (!before.isFile()) throw vanished(node.places[0].path);
      const hash = createHash("sha256");
      for (;;) {
        const count = readSync(fd, chunk, 0, readChunkBytes, null);
        if (count === 0) break;
        this.#hashedBytes += count;
        hash.update(count === readChunkBytes ? chunk : chunk.subarray(0, count));
      }
      hash.update(xattrsOf(this.#tree, node), "latin1");
      const digest = hash.digest("hex");
      const after = fstatSync(fd, { bigint: true });
      const isSame = after.ctimeNs === before.ctimeNs && after.size === before.size;
      if (isSame) this.#options.cache?.put(after, digest);
      return digest;
    } finally {
      closeSync(fd);
    }
  }

  #open(node: TreeNode): number {
    try {
      return this.#tree.open(node);
    } catch (error) {
      const code = systemCode(error);
      if (code !== "ENOENT" && code !== "ELOOP" && code !== "ENOTDIR") throw error;
      throw vanished(node.places[0].path, error);
    }
  }
}

/** Whether a copy brings an extended attribute; none that overlayfs obeys. */
export function isKeptAttribute(name: string): boolean {
  if (name === "security.capability") return true;
  return name.startsWith("user.") && !name.startsWith("user.overlay.");
}

function xattrsOf(tree: MergedTree, node: TreeNode): string {
  const path = tree.hostPath(node);
  const names = listXattr(path).filter(isKeptAttribute).toSorted();
  if (names.length === 0) return "";
  return names
    .map((name) => `${name}=${Buffer.from(getXattr(path, name) ?? []).toString("hex")}`)
    .join(" ");
}
