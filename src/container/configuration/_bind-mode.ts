import { invalidMountMode } from "../../lib/docker-messages.ts";
import { EngineError } from "../../lib/errors.ts";

/** How mounts inside and outside are told to each other. @see man 7 mount_namespaces */
export const propagationModes: ReadonlySet<string> = new Set([
  "private",
  "rprivate",
  "slave",
  "rslave",
  "shared",
  "rshared",
]);

/** Words of a mode; of one line at most one may be used. */
const groups: readonly (readonly string[])[] = [
  ["rw", "ro"],
  ["z", "Z"],
  [...propagationModes],
  ["nocopy", "copy"],
  ["consistent", "cached", "delegated"],
];

/** The parts of a `-v`. */
export interface BindSpecification {
  /** Host path, volume name, or "" for a new volume. */
  readonly source: string;
  readonly target: string;
  readonly mode: string;
  readonly modes: readonly string[];
}

/** Cuts `[source:]target[:options]`. @throws invalid-argument in Docker's words */
export function bindSpecificationOf(text: string): BindSpecification {
  const parts = text.split(":");
  if (parts.length > 3 || parts.includes("") || parts.length === 0) throw invalidForm(text);
  const [first = "", second, mode = ""] = parts;
  if (second === undefined) return { source: "", target: first, mode: "", modes: [] };
  if (parts.length === 2 && isMode(second)) throw invalidForm(text);
  if (mode !== "" && !isMode(mode)) throw invalidMountMode(mode);
  return { source: first, target: second, mode, modes: wordsOf(mode) };
}

/** Whether `nocopy` (false) or `copy` (true) was said. */
export function copyModeOf(modes: readonly string[]): boolean | undefined {
  if (modes.includes("nocopy")) return false;
  return modes.includes("copy") ? true : undefined;
}

function isMode(text: string): boolean {
  const words = wordsOf(text);
  const isKnown = words.every((word) => groups.some((group) => group.includes(word)));
  const isOnce = groups.every((group) => words.filter((word) => group.includes(word)).length <= 1);
  return words.length > 0 && isKnown && isOnce;
}

function wordsOf(mode: string): readonly string[] {
  return mode === "" ? [] : mode.split(",");
}

function invalidForm(text: string): EngineError {
  return new EngineError("invalid-argument", `invalid volume specification: '${text}'`);
}
