import { randomInt } from "node:crypto";
import {
  ambiguousId,
  containerNameInUse,
  invalidContainerName,
  noSuchContainer,
} from "../../lib/docker-messages.ts";
import { adjectives, surnames } from "./_name-words.ts";

/** Longest name of a container; Docker has no bound, a file system has this one. */
export const nameMaxLength = 255;
/** After so many names in use a made-up one gets a digit. */
const plainAttemptsMax = 6;
const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/**
 * Reads a container name as given: a leading slash is dropped.
 *
 * @throws invalid-argument in Docker's words
 */
export function parseName(given: string): string {
  const name = given.startsWith("/") ? given.slice(1) : given;
  if (!nameForm.test(name) || name.length > nameMaxLength) throw invalidContainerName(given);
  return name;
}

/** Which container has which name; the names that are promised included. */
export class NameIndex {
  readonly #ids = new Map<string, string>();

  /** Takes a name. @throws conflict when another container has it */
  reserve(name: string, id: string): void {
    const holder = this.#ids.get(name);
    if (holder !== undefined && holder !== id) throw containerNameInUse(name, holder);
    this.#ids.set(name, id);
  }

  /** Takes a made-up name that nobody has. @param random a number from 0 up to `below` */
  reserveAny(id: string, random: (below: number) => number = randomInt): string {
    for (let attempt = 0; ; attempt += 1) {
      const bare = `${pick(adjectives, random)}_${pick(surnames, random)}`;
      const suffix = attempt < plainAttemptsMax ? "" : String(random(10 ** (attempt - 5)));
      const name = bare + suffix;
      if (this.#ids.has(name)) continue;
      this.#ids.set(name, id);
      return name;
    }
  }

  /** Gives a name back, unless another container has it. */
  release(name: string, id: string): void {
    if (this.#ids.get(name) === id) this.#ids.delete(name);
  }

  find(name: string): string | undefined {
    return this.#ids.get(name);
  }
}

/**
 * The ID that a reference means: a full ID, a name, else an unambiguous beginning of an ID.
 *
 * @throws not-found, invalid-argument when the beginning fits several, in Docker's words
 */
export function resolveId(
  reference: string,
  known: {
    readonly ids: { has(id: string): boolean; keys(): Iterable<string> };
    readonly names: NameIndex;
  },
): string {
  if (known.ids.has(reference)) return reference;
  const named = known.names.find(reference.startsWith("/") ? reference.slice(1) : reference);
  if (named !== undefined) return named;
  if (reference === "" || !/^[0-9a-f]{1,64}$/.test(reference)) throw noSuchContainer(reference);
  let found: string | undefined;
  for (const id of known.ids.keys()) {
    if (!id.startsWith(reference)) continue;
    if (found !== undefined) throw ambiguousId(reference);
    found = id;
  }
  if (found === undefined) throw noSuchContainer(reference);
  return found;
}

function pick(words: readonly string[], random: (below: number) => number): string {
  return words[random(words.length)] ?? "plain";
}
