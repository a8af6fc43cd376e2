import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { refused, shown } from "../tree/entry-failure.ts";

/** A path of a layer: relative, without empty and "." parts. Docker: a leading "/" is dropped. */
export function cleanPath(header: TarHeader, name: string): string {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refused(header, `${shown(name)} leads out of the layer`);
  return parts.join("/");
}

/** A path as folder and name; the root is "" in "". */
export function split(path: string): { readonly folder: string; readonly name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: slash < 0 ? "" : path.slice(0, slash), name: path.slice(slash + 1) };
}
