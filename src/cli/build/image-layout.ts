/** Names in OCI image layouts on this machine: folders with an `index.json`. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import {
  annotationKeys,
  encodeLayout,
  layoutFile,
  layoutIndexFile,
  layoutName,
} from "../../oci/layout.ts";
import { decodeIndex, encodeIndex, type Index } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";

/**
 * What a layout has under a tag; what it has at all where it has one thing without a name.
 *
 * @throws invalid-argument for an index that is none
 */
export function findInLayout(folder: string, tag: string): Descriptor | undefined {
  const { manifests } = readIndex(folder) ?? { manifests: [] };
  const named = manifests.findLast((each) => namesOf(each).includes(tag));
  const [only, ...others] = manifests;
  if (named !== undefined || only === undefined || others.length > 0) return named;
  return layoutName(only) === undefined ? only : undefined;
}

/** Names a manifest in a layout; what had the name is still there, without it. */
export function bindInLayout(
  folder: string,
  bound: { readonly descriptor: Descriptor; readonly names: readonly LayoutName[] },
): void {
  const { descriptor, names } = bound;
  const before = readIndex(folder)?.manifests ?? [];
  const tags = new Set(names.map(({ tag }) => tag));
  const kept = before.filter(
    (each) =>
      each.digest !== descriptor.digest && !tags.has(each.annotations?.[annotationKeys.refName]),
  );
  const added = names.map(({ tag, name }) => ({
    ...descriptor,
    annotations: {
      ...descriptor.annotations,
      ...(name === undefined ? {} : { [annotationKeys.containerdName]: name }),
      ...(tag === undefined ? {} : { [annotationKeys.refName]: tag }),
    },
  }));
  const manifests = [...kept, ...(added.length === 0 ? [descriptor] : added)];
  mkdirSync(folder, { recursive: true });
  replace(join(folder, layoutFile), encodeLayout());
  const index: Index = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests };
  replace(join(folder, layoutIndexFile), encodeIndex(index));
}

/** What a manifest is called in a layout. */
export interface LayoutName {
  readonly tag: string | undefined;
  /** The whole reference. */
  readonly name?: string;
}

function namesOf({ annotations = {} }: Descriptor): readonly (string | undefined)[] {
  return [annotations[annotationKeys.refName], annotations[annotationKeys.containerdName]];
}

function readIndex(folder: string): Index | undefined {
  try {
    return decodeIndex(readFileSync(join(folder, layoutIndexFile)));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Readers see the old file or the new one. */
function replace(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, bytes);
  renameSync(temporary, path);
}
