import { decodeByteString, encodeByteString } from "../../lib/tar/tar-header.ts";
import type { EngineError } from "../../lib/errors.ts";
import type { Selection } from "../copy/copy.ts";
import { type MergedTree, partsOf, type TreeNode } from "./merged-tree.ts";
import {
  hasWildcard,
  type NamePattern,
  parseGoPattern,
  PatternList,
} from "../../lib/pattern/name-pattern.ts";

/** A file or folder that a path of a selection names. */
export interface SourceMatch {
  /** Byte string, from the root with a leading `/`; links as they stand. */
  readonly path: string;
  /** Its last part: the name in the target when that is a folder. */
  readonly name: string;
  /** What it leads to. */
  readonly node: TreeNode;
  /** `--parents`: only these, by path below `node`. */
  readonly includes?: PatternList;
  /** The parts that every path that `includes` may match begins with. */
  readonly prefix: readonly string[];
}

/** How the sentence of a missing path names it. */
type Missing = (path: string) => EngineError;

/**
 * Finds what a selection names, in the order of its paths and, for a wildcard, of the names' bytes.
 *
 * @throws what `missing` makes when a path without wildcards, or a link that matches, leads nowhere
 */
export function resolveSelection(
  tree: MergedTree,
  selection: Selection,
  missing: Missing,
): readonly SourceMatch[] {
  return selection.paths.flatMap((text) => {
    const path = encodeByteString(text);
    if (selection.isLiteral === true) return [literal(tree, cleanParts(path), missing)];
    if (selection.hasParents) return withParents(tree, path, missing);
    return matches(tree, cleanParts(path), missing);
  });
}

/** Go's path.Clean from the root: `..` goes back by name, and stops there. */
export function cleanParts(path: string): string[] {
  const parts: string[] = [];
  for (const part of partsOf(path)) {
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return parts;
}

function literal(tree: MergedTree, parts: readonly string[], missing: Missing): SourceMatch {
  const path = `/${parts.join("/")}`;
  const found = tree.resolve(path);
  if (found.missing.length > 0) throw missing(path);
  return { path, name: parts.at(-1) ?? "", node: found.node, prefix: [] };
}

function matches(tree: MergedTree, parts: readonly string[], missing: Missing): SourceMatch[] {
  const first = parts.findIndex(hasWildcard);
  if (first < 0) return [literal(tree, parts, missing)];
  const base = parts.slice(0, first);
  const found = tree.resolve(base.join("/"));
  const patterns = parts.slice(first).map((part) => parseGoPattern(part));
  if (found.missing.length > 0 || !found.node.stat.isDirectory()) return [];
  const paths: string[][] = [];
  expand(tree, { node: found.node, parts: base, patterns }, paths);
  return paths.map((path) => literal(tree, path, missing));
}

/** Follows no link on the way, as Go's filepath.Walk. */
function expand(
  tree: MergedTree,
  at: {
    readonly node: TreeNode;
    readonly parts: readonly string[];
    readonly patterns: readonly NamePattern[];
  },
  paths: string[][],
): void {
  const [pattern, ...rest] = at.patterns;
  if (pattern === undefined) return;
  for (const name of tree.names(at.node)) {
    if (!pattern.matches(name)) continue;
    const node = tree.child(at.node, name);
    if (node === undefined) continue;
    const parts = [...at.parts, name];
    if (rest.length === 0) paths.push(parts);
    else if (node.stat.isDirectory()) expand(tree, { node, parts, patterns: rest }, paths);
  }
}

/** `--parents a/./b*`: from the folder `a`, all that `b*` names, with the folders on the way. */
function withParents(tree: MergedTree, path: string, missing: Missing): SourceMatch[] {
  const { base, pattern } = splitPivot(path);
  const bases = matches(tree, cleanParts(base), missing);
  const parts = cleanParts(pattern);
  const wild = parts.findIndex((part) => hasWildcard(part));
  const prefix = wild < 0 ? parts : parts.slice(0, wild);
  return bases.flatMap((match) => {
    if (parts.length === 0) return [match];
    if (wild < 0 && !isThere(tree, match.node, parts)) {
      throw missing(`${match.path === "/" ? "" : match.path}/${parts.join("/")}`);
    }
    const includes = new PatternList([decodeByteString(parts.join("/"))].map(encodeByteString));
    return [{ ...match, includes, prefix }];
  });
}

function splitPivot(path: string): { readonly base: string; readonly pattern: string } {
  const rooted = path.startsWith("/") ? path : `/${path}`;
  const pivot = rooted.startsWith("/./") ? rooted.indexOf("/./", 2) : rooted.indexOf("/./");
  if (pivot < 0) return { base: "/", pattern: rooted };
  return { base: rooted.slice(0, pivot), pattern: rooted.slice(pivot + 3) };
}

function isThere(tree: MergedTree, base: TreeNode, parts: readonly string[]): boolean {
  let node: TreeNode | undefined = base;
  for (const part of parts) {
    if (!node?.stat.isDirectory()) return false;
    node = tree.child(node, part);
  }
  return node !== undefined;
}
