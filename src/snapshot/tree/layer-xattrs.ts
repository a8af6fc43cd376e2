import { getXattr, listXattr } from "../../sys/fs/fs.ts";

const capability = "security.capability";
/** Who may do what with a file beside its owner and group. */
export const accessList = "system.posix_acl_access";
/** What files get as such a list that are made in a folder. */
export const defaultAccessList = "system.posix_acl_default";

/**
 * Tells whether an extended attribute is content of a layer: file capabilities, lists of access and what
 * users set, none that overlayfs obeys (`redirect`, `opaque`, …).
 */
export function isLayerXattr(name: string): boolean {
  if (name === capability || name === accessList || name === defaultAccessList) return true;
  return name.startsWith("user.") && !name.startsWith("user.overlay.");
}

const noXattrs: ReadonlyMap<string, Uint8Array> = new Map();

/**
 * The extended attributes of a file that are content of a layer; of a link itself.
 *
 * @param names of all that it has, for who knows them
 */
export function readLayerXattrs(
  path: Uint8Array,
  names: readonly string[] = listXattr(path),
): ReadonlyMap<string, Uint8Array> {
  if (names.length === 0) return noXattrs;
  const xattrs = new Map<string, Uint8Array>();
  for (const name of names) {
    if (!isLayerXattr(name)) continue;
    const value = getXattr(path, name);
    if (value !== undefined) xattrs.set(name, value);
  }
  return xattrs;
}

const opaqueNames = ["trusted.overlay.opaque", "user.overlay.opaque"];
const partialNames = [
  "trusted.overlay.redirect",
  "user.overlay.redirect",
  "trusted.overlay.metacopy",
  "user.overlay.metacopy",
];

/** Tells whether a folder of an overlay layer hides what is below it. */
export function isOpaqueFolder(path: Uint8Array): boolean {
  return opaqueNames.some((name) => Buffer.from(getXattr(path, name) ?? []).toString() === "y");
}

/** The attribute by which an overlay layer's file has its content elsewhere; undefined for none. */
export function findPartialMark(names: readonly string[]): string | undefined {
  return partialNames.find((name) => names.includes(name));
}
