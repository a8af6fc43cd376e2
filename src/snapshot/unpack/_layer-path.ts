import type { TarHeader } from "../../lib/tar/tar-header.ts";
import { refused, shown } from "../tree/entry-failure.ts";

/**
 * A path of a layer: relative, without empty, "." and ".." parts.
 *
 * Docker: a leading "/" is dropped, and ".." takes the part before it back whatever that is, seen in 28.5.
 *
 * @throws invalid-argument for one that leads out
 */
export function cleanPath(header: TarHeader, name: string): string {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  return parts.includes("..") ? takeBack(header, parts) : parts.join("/");
}

function takeBack(header: TarHeader, parts: readonly string[]): string {
  const kept: string[] = [];
  for (const part of parts) {
    if (part !== "..") kept.push(part);
    else if (kept.pop() === undefined) {
      throw refused(header, `${shown(parts.join("/"))} leads out of the layer`);
    }
  }
  return kept.join("/");
}

/** Where a file of a layer is. */
export interface Place {
  /** Its path; "" is the root. */
  readonly folder: string;
  readonly name: string;
}

/** A path as folder and name; the root is "" in "". */
export function split(path: string): Place {
  const slash = path.lastIndexOf("/");
  return { folder: slash < 0 ? "" : path.slice(0, slash), name: path.slice(slash + 1) };
}

/** Where a symbolic link in `folder` leads, read as names alone; never out of the root. */
export function linkedPath(folder: string, target: string): string {
  const kept: string[] = [];
  const from = target.startsWith("/") ? "" : folder;
  for (const part of `${from}/${target}`.split("/")) {
    if (part === "..") kept.pop();
    else if (part !== "" && part !== ".") kept.push(part);
  }
  return kept.join("/");
}
