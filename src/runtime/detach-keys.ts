import { EngineError } from "../lib/errors.ts";

/** What detaches a terminal unless told: ctrl-p, ctrl-q. */
export const detachKeysDefault: readonly number[] = [0x10, 0x11];

/**
 * Reads `ctrl-p,ctrl-q` and the like: letters, digits and signs for themselves, `ctrl-` with
 * a letter, `@`, `[`, `\`, `]`, `^` or `_`. Empty text: no keys.
 *
 * @throws invalid-argument with Docker's sentence
 */
export function parseDetachKeys(text: string): number[] {
  if (text === "") return [];
  return text.split(",").map((key) => {
    const code = key.length === 1 ? key.charCodeAt(0) : controlCode(key);
    if (code !== undefined && code < 0x80) return code;
    throw new EngineError("invalid-argument", `Invalid detach keys (${text}) provided`);
  });
}

function controlCode(key: string): number | undefined {
  const [, sign] = /^ctrl-([a-zA-Z@[\\\]^_])$/.exec(key) ?? [];
  return sign === undefined ? undefined : sign.toUpperCase().charCodeAt(0) & 0x1f;
}

/**
 * Looks for the detach keys in what is typed, however it is cut into chunks.
 *
 * A sequence that is begun and then broken is passed on whole.
 */
export class DetachMatcher {
  readonly #keys: readonly number[];
  #matched = 0;

  constructor(keys: readonly number[]) {
    this.#keys = keys;
  }

  /**
   * @returns what to pass on, and whether the keys are complete; what comes after them is dropped
   */
  push(chunk: Uint8Array): { readonly pass: Uint8Array; readonly isDetached: boolean } {
    if (this.#keys.length === 0) return { pass: chunk, isDetached: false };
    const pass: number[] = [];
    for (const byte of chunk) {
      // Begun keys that this byte breaks may hold the begin of another try.
      while (this.#matched > 0 && byte !== this.#keys[this.#matched]) this.#shift(pass);
      if (byte !== this.#keys[this.#matched]) {
        pass.push(byte);
        continue;
      }
      this.#matched += 1;
      if (this.#matched < this.#keys.length) continue;
      this.#matched = 0;
      return { pass: Uint8Array.from(pass), isDetached: true };
    }
    return { pass: Uint8Array.from(pass), isDetached: false };
  }

  /** Gives up the longest head of the begun keys such that the rest is a begin of the keys. */
  #shift(pass: number[]): void {
    const begun = this.#keys.slice(0, this.#matched);
    for (let drop = 1; drop <= begun.length; drop += 1) {
      const rest = begun.slice(drop);
      if (!rest.every((byte, index) => byte === this.#keys[index])) continue;
      pass.push(...begun.slice(0, drop));
      this.#matched = rest.length;
      return;
    }
  }
}
