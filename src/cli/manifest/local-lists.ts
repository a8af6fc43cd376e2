/**
 * Manifest lists that are being made: one file each, in the folder `manifests` beside config.json,
 * until they are pushed.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OciDescriptor } from "../../api/image.ts";
import { codeOf, EngineError, isKind, messageOf } from "../../lib/errors.ts";
import { formatReference, parseReference, withDefaultTag } from "../../oci/reference.ts";
import type { Environment } from "../environment.ts";

/** One manifest of a list. */
export interface ListedManifest {
  /** As it was named, whole. */
  readonly name: string;
  /** With the platform that the list will say. */
  readonly descriptor: OciDescriptor;
}

/** A list in the making. */
export interface ManifestList {
  /** Whole: `localhost:5000/web:1`. */
  readonly name: string;
  readonly manifests: readonly ListedManifest[];
}

/** A list as people name it. @throws invalid-argument */
export function listName(text: string): string {
  return formatReference(withDefaultTag(parseReference(text)));
}

/** Reads a list; undefined when there is none. */
export function findList(environment: Environment, name: string): ManifestList | undefined {
  const path = pathOf(environment, name);
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ManifestList;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw new EngineError("invalid-argument", `read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Reads a list. @throws not-found in Docker's words */
export function getList(environment: Environment, name: string): ManifestList {
  const list = findList(environment, name);
  if (list !== undefined) return list;
  throw new EngineError("not-found", `No such manifest: ${name}`);
}

/** Asks for what a registry has. @throws not-found in Docker's words */
export async function orNoSuchManifest<T>(name: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    throw new EngineError("not-found", `no such manifest: ${name}`, { cause: error });
  }
}

/** Writes a list: whole, or not at all. */
export function putList(environment: Environment, list: ManifestList): void {
  const path = pathOf(environment, list.name);
  mkdirSync(join(environment.configDir, "manifests"), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(list, undefined, "\t")}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

/** Removes a list. @throws not-found */
export function removeList(environment: Environment, name: string): void {
  getList(environment, name);
  rmSync(pathOf(environment, name), { force: true });
}

/** Named by digest: a reference is no file name. */
function pathOf(environment: Environment, name: string): string {
  const digest = createHash("sha256").update(name).digest("hex");
  return join(environment.configDir, "manifests", `${digest}.json`);
}
