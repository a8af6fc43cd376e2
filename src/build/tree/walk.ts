import { EngineError } from "../../lib/errors.ts";
import type { MergedTree, TreeNode } from "./merged-tree.ts";
import type { SourceMatch } from "./selection.ts";
import type { ParentMatch, PatternList } from "../../lib/pattern/name-pattern.ts";

/** Folders within each other. */
const depthMax = 2000;

/** Something below a match, or the match itself. Byte strings. */
export interface Visited {
  /** Path below the match; "" is the match itself. */
  readonly path: string;
  readonly name: string;
  readonly node: TreeNode;
  /** A folder that comes only because something in it does. */
  readonly isImplied: boolean;
}

/** Who is told. `enter` and `leave` of a folder stand around all that is in it. */
export interface Visitor {
  enter(folder: Visited): void;
  leave(folder: Visited): void;
  file(file: Visited): void;
}

/**
 * Goes through a match: folders before what is in them, names in order of their bytes, no link
 * followed. What `excludes` says stays out, but a folder that holds an exception is implied by it.
 */
export function walkMatch(
  tree: MergedTree,
  match: SourceMatch,
  options: { readonly excludes: PatternList; readonly visitor: Visitor },
): void {
  const top: Visited = { path: "", name: match.name, node: match.node, isImplied: false };
  if (!match.node.stat.isDirectory()) {
    options.visitor.file(top);
    return;
  }
  const walk: Walk = { tree, match, ...options, pending: [] };
  options.visitor.enter(top);
  walkFolder(walk, top, { included: [], excluded: [], depth: 0 });
  options.visitor.leave(top);
}

interface Walk {
  readonly tree: MergedTree;
  readonly match: SourceMatch;
  readonly excludes: PatternList;
  readonly visitor: Visitor;
  /** Folders on the way that nobody was told of yet, outermost first. */
  readonly pending: Visited[];
}

interface State {
  readonly included: ParentMatch;
  readonly excluded: ParentMatch;
  readonly depth: number;
}

function walkFolder(walk: Walk, folder: Visited, state: State): void {
  if (state.depth > depthMax) {
    throw new EngineError("invalid-argument", `copy: deeper than ${depthMax} folders`);
  }
  const { prefix } = walk.match;
  const only = prefix[state.depth];
  const names = only === undefined ? walk.tree.names(folder.node) : [only];
  for (const name of names) {
    const node = walk.tree.child(folder.node, name);
    if (node === undefined) continue;
    const path = folder.path === "" ? name : `${folder.path}/${name}`;
    walkEntry(walk, { path, name, node, isImplied: false }, state);
  }
}

function walkEntry(walk: Walk, entry: Visited, state: State): void {
  const { includes } = walk.match;
  const included = includes?.match(entry.path, state.included);
  const excluded = walk.excludes.isEmpty
    ? undefined
    : walk.excludes.match(entry.path, state.excluded);
  const isIn = included?.isMatch !== false && excluded?.isMatch !== true;
  if (isIn) {
    for (const folder of walk.pending) walk.visitor.enter(folder);
    walk.pending.length = 0;
  }
  if (!entry.node.stat.isDirectory()) {
    if (isIn) walk.visitor.file(entry);
    return;
  }
  const below = {
    included: included?.below ?? [],
    excluded: excluded?.below ?? [],
    depth: state.depth + 1,
  };
  if (isIn) {
    walk.visitor.enter(entry);
    walkFolder(walk, entry, below);
    walk.visitor.leave(entry);
    return;
  }
  // Nothing below an excluded folder comes back without an exception.
  if (excluded?.isMatch === true && !walk.excludes.hasExceptions) return;
  const implied = { ...entry, isImplied: true };
  walk.pending.push(implied);
  walkFolder(walk, implied, below);
  if (walk.pending.at(-1) === implied) walk.pending.pop();
  else walk.visitor.leave(implied);
}
