import { writeSync } from "node:fs";
import { encodeByteString } from "../../lib/tar/tar-header.ts";
import * as calls from "../../snapshot/tree/tree-syscalls.ts";
import { must } from "../tree/calls.ts";
import { notFound, SelectionSum } from "../tree/checksum.ts";
import { HashCaches } from "../tree/hash-cache.ts";
import { type CopyPlace, copyMatch, type MatchCopy, type Written } from "./_copy-match.ts";
import { FileData } from "./_file-data.ts";
import { isFrozen, layersOf, layersOfTree, MergedTree, shown } from "../tree/merged-tree.ts";
import { parseMode } from "./_mode.ts";
import { type Owner, resolveOwner } from "../tree/owner.ts";
import { cleanParts, resolveSelection } from "../tree/selection.ts";
import { SharedFiles } from "./_shared-files.ts";
import { type FolderAttributes, type TargetFolder, TargetTree } from "./_target-tree.ts";
import { walkMatch } from "../tree/walk.ts";
import { unpackArchive } from "./_unpack.ts";
import type {
  Checksum,
  CopyRequest,
  CopyResult,
  CopySource,
  CopyStep,
  FolderStep,
} from "./copy.ts";
import { PatternList } from "../../lib/pattern/name-pattern.ts";

const root: Owner = { uid: 0, gid: 0 };
const folderMode = 0o755;
const contentMode = 0o644;

/** Writes the steps into the target; see `Copier.copy`. Blocks: for a helper process. */
export async function copySteps(
  request: CopyRequest,
  caches: HashCaches = new HashCaches(),
): Promise<CopyResult> {
  const target = new TargetTree(layersOf(request.target));
  const users = request.usersFrom === undefined ? undefined : MergedTree.of(request.usersFrom);
  const work: Work = {
    target,
    users: users ?? target.tree,
    shared: new SharedFiles(layersOf(request.target), target.tree.root.stat.dev),
    written: { fileCount: 0, sizeBytes: 0 },
    data: new FileData(),
    caches,
    checksums: [],
    nowNs: request.epochS === undefined ? undefined : BigInt(request.epochS) * 1_000_000_000n,
  };
  try {
    for (const step of request.steps) {
      if (step.kind === "folder") makeFolders(work, step);
      else await copyStep(work, step);
    }
    work.shared.save();
    if (work.nowNs !== undefined) target.setMadeTimes(work.nowNs);
    return { ...work.written, checksums: work.checksums };
  } finally {
    users?.close();
    target.close();
  }
}

interface Work {
  readonly target: TargetTree;
  readonly users: MergedTree;
  readonly shared: SharedFiles;
  readonly written: Written;
  readonly data: FileData;
  readonly caches: HashCaches;
  readonly checksums: Checksum[];
  /** The time of what has none of its own; undefined leaves it to the clock. */
  readonly nowNs: bigint | undefined;
}

function makeFolders(work: Work, step: FolderStep): void {
  const owner = step.chown === undefined ? root : resolveOwner(step.chown, work.users);
  const attributes = { ...owner, mode: step.mode ?? folderMode };
  work.target.makeFolders(`/${cleanParts(encodeByteString(step.path)).join("/")}`, attributes);
}

async function copyStep(work: Work, step: CopyStep): Promise<void> {
  const owner = step.chown === undefined ? undefined : resolveOwner(step.chown, work.users);
  const mode = step.chmod === undefined ? undefined : parseMode(step.chmod);
  const to: Destination = {
    parts: cleanParts(encodeByteString(step.destination)),
    isFolder: /(?:^|\/)\.?$/.test(step.destination),
    attributes: { ...(owner ?? root), mode: mode?.octal ?? folderMode },
  };
  for (const source of step.sources) {
    if (source.kind === "content") {
      const place = placeOf(work.target, to, {
        name: encodeByteString(source.name),
        isFolder: false,
      });
      const attributes = {
        ...(owner ?? root),
        mode: mode?.apply(contentMode, false) ?? contentMode,
      };
      writeContent(work, { place, bytes: source.bytes, attributes });
      continue;
    }
    const change = { owner: owner ?? (step.resetsOwners ? root : undefined), mode };
    await copyFiles(work, { source, to, change, owner });
  }
}

interface Destination {
  readonly parts: readonly string[];
  /** Written with a `/` at its end. */
  readonly isFolder: boolean;
  /** Of folders that are made on the way. */
  readonly attributes: FolderAttributes;
}

async function copyFiles(
  work: Work,
  files: {
    readonly source: CopySource & { readonly kind: "files" };
    readonly to: Destination;
    readonly change: MatchCopy["change"];
    /** Of `--chown` alone: what an archive says of owners holds otherwise. */
    readonly owner: Owner | undefined;
  },
): Promise<void> {
  const { source, to, change } = files;
  const { selection } = source;
  const tree = MergedTree.of(selection.tree);
  try {
    const excludes = new PatternList(selection.excludes.map(encodeByteString));
    const layers = layersOfTree(selection.tree);
    const shared = isFrozen(selection.tree) ? work.shared.from(layers) : undefined;
    const copy: MatchCopy = { ...work, source: tree, change, excludes, shared };
    const sum = openSum(work, { source, tree });
    for (const match of resolveSelection(tree, selection, (path) => notFound(path, {}))) {
      let beside = sum?.of(match);
      if (source.unpack === "archives" && match.node.stat.isFile()) {
        if (beside !== undefined) walkMatch(tree, match, { excludes, visitor: beside });
        beside = undefined;
        const openFolder = (): TargetFolder => archiveFolder(work, to);
        if (await unpackArchive(copy, { match, openFolder, owner: files.owner })) continue;
      }
      const isFolder = match.node.stat.isDirectory();
      const place = placeOf(work.target, to, { name: match.name, isFolder });
      copyMatch({ ...copy, beside }, match, place);
    }
    if (sum !== undefined) work.checksums.push(sum.end());
  } finally {
    tree.close();
  }
}

function openSum(
  { caches }: Work,
  from: { readonly source: CopySource & { readonly kind: "files" }; readonly tree: MergedTree },
): SelectionSum | undefined {
  const { sum, selection } = from.source;
  if (sum === undefined) return undefined;
  return new SelectionSum(from.tree, { ...sum, isFrozen: isFrozen(selection.tree), caches });
}

/** Docker: the folder of an archive has mode 0755, whatever `--chmod` says, seen in 28.5. */
function archiveFolder(work: Work, to: Destination): TargetFolder {
  const path = `/${to.parts.join("/")}`;
  return work.target.makeFolders(path, { ...to.attributes, mode: folderMode });
}

/** Where something goes, by Docker's rules for destinations; makes the folders on the way. */
function placeOf(
  target: TargetTree,
  to: Destination,
  source: { readonly name: string; readonly isFolder: boolean },
): CopyPlace {
  const parents = to.isFolder ? to.parts : to.parts.slice(0, -1);
  target.makeFolders(`/${parents.join("/")}`, to.attributes);
  // The last link of a destination is followed as well, also one that leads to nothing yet.
  const found = target.resolve(`/${to.parts.join("/")}`);
  const parts = [...found.parts, ...found.missing];
  const isFolder = found.missing.length === 0 && found.node.stat.isDirectory();
  if (source.isFolder) return { folder: contentFolder(target, parts, to), name: "" };
  if (isFolder) return { folder: target.folder(parts), name: source.name };
  const folder = target.makeFolders(`/${parts.slice(0, -1).join("/")}`, to.attributes);
  return { folder, name: parts.at(-1) ?? "" };
}

/** The folder that a folder's content goes into. */
function contentFolder(
  target: TargetTree,
  parts: readonly string[],
  to: Destination,
): TargetFolder {
  const name = parts.at(-1);
  if (name === undefined) return target.folder([]);
  const parent = target.makeFolders(`/${parts.slice(0, -1).join("/")}`, to.attributes);
  // Refuses a file in its place.
  if (target.find(parent, name) !== undefined) return target.makeFolder(parent, name).folder;
  return target.makeMissing(parent, name, to.attributes);
}

function writeContent(
  work: Work,
  content: {
    readonly place: CopyPlace;
    readonly bytes: Uint8Array;
    readonly attributes: FolderAttributes;
  },
): void {
  const { place, bytes, attributes } = content;
  const fd = work.target.makeFile(place.folder, place.name, (folder) =>
    calls.createFile(folder, place.name),
  );
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
    const mtimeNs = work.nowNs ?? BigInt(Date.now()) * 1_000_000n;
    const what = `write ${shown(place.name)}`;
    must(calls.setOwnerAndMode(fd, { ...attributes, mtimeNs }), what);
    if (work.nowNs !== undefined) must(calls.setTimesOf(fd, mtimeNs), what);
  } finally {
    calls.closeFd(fd);
  }
  work.written.fileCount += 1;
  work.written.sizeBytes += bytes.length;
}
