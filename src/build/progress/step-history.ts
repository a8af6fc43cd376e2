/**
 * What steps were made of the last time, so that a later build can say why one is made anew.
 *
 * A *place* is where a step stands: context, Dockerfile, target, platform, stage and number. Of each
 * place the most recent step is kept, as digests: values of variables and content are not in it.
 *
 * It is a help and no more: a record that is missing or cannot be read explains less, and is never an
 * error. Records are files, the oldest of which go when there are too many.
 *
 * ```
 * <root>/<place>    JSON
 * ```
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { digestHex, digestOf } from "../../oci/digest.ts";
import { writeFileAtomic } from "../../sys/fs/fs.ts";

/** What a step's key was made of. */
export interface StepFacts {
  readonly key: string;
  /** Of the build that made or found it. */
  readonly build: string;
  /** `RUN make`. */
  readonly text: string;
  /** Of all that it does but for its variables. */
  readonly action: string;
  /** Short digests of values, by name. */
  readonly variables: Readonly<Record<string, string>>;
  /** ID of the image right below; absent on top of another step. */
  readonly base?: string;
  /** Chain ID of the file system below. */
  readonly below?: string;
  readonly sources: readonly SourceFacts[];
  readonly epochS?: number;
}

/** What a step reads. */
export interface SourceFacts {
  /** `COPY a b`, or the target of a mount. */
  readonly label: string;
  readonly digest: string;
  /** As `Checksum.files`. */
  readonly files?: string;
}

const recordsMax = 2000;
const sizeMaxBytes = 64 * 1024 * 1024;
/** Larger records are not kept. */
const recordMaxBytes = 2 * 1024 * 1024;
const placeDigits = 32;
/** Places whose last key is held in memory. */
const heldMax = 5000;

/** The records of one data root. */
export class StepHistory {
  readonly #root: string;
  readonly #logger: Logger;
  readonly #keys = new Map<string, string>();
  readonly #recordsMax: number;
  readonly #pending = new Map<string, StepFacts>();

  constructor(options: {
    readonly root: string;
    readonly logger: Logger;
    readonly recordsMax?: number;
  }) {
    this.#recordsMax = options.recordsMax ?? recordsMax;
    this.#root = options.root;
    this.#logger = options.logger;
  }

  /** The most recent step of a place; undefined when none is known. */
  find(place: string): StepFacts | undefined {
    const pending = this.#pending.get(place);
    if (pending !== undefined) return pending;
    const path = join(this.#root, nameOf(place));
    try {
      return decodeFacts(JSON.parse(readFileSync(path, "utf8")));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      this.#logger.debug("read what a step was made of", { error });
      return undefined;
    }
  }

  /** Notes a step; stored by `save`. */
  note(place: string, facts: StepFacts): void {
    if (this.#keys.get(place) === facts.key) return;
    this.#keys.delete(place);
    this.#keys.set(place, facts.key);
    for (const oldest of this.#keys.keys()) {
      if (this.#keys.size <= heldMax) break;
      this.#keys.delete(oldest);
    }
    this.#pending.set(place, facts);
  }

  /** Whether there is something to store. */
  get isChanged(): boolean {
    return this.#pending.size > 0;
  }

  /** Stores what was noted, and removes the oldest records when there are too many. */
  save(): void {
    if (this.#pending.size === 0) return;
    try {
      mkdirSync(this.#root, { recursive: true, mode: 0o700 });
      for (const [place, facts] of this.#pending) {
        const text = JSON.stringify(facts);
        if (text.length > recordMaxBytes) continue;
        writeFileAtomic(join(this.#root, nameOf(place)), text, { mode: 0o600, durable: false });
      }
      this.#removeOldest();
    } catch (error) {
      this.#logger.warn("keep what steps were made of", { error });
    } finally {
      this.#pending.clear();
    }
  }

  #removeOldest(): void {
    const files = readdirSync(this.#root).map((name) => {
      const path = join(this.#root, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      return { path, mtimeMs: stat?.mtimeMs ?? 0, sizeBytes: stat?.size ?? 0 };
    });
    let [count, sizeBytes] = [files.length, files.reduce((sum, file) => sum + file.sizeBytes, 0)];
    for (const file of files.toSorted((left, right) => left.mtimeMs - right.mtimeMs)) {
      if (count <= this.#recordsMax && sizeBytes <= sizeMaxBytes) return;
      rmSync(file.path, { force: true });
      count -= 1;
      sizeBytes -= file.sizeBytes;
    }
  }
}

function nameOf(place: string): string {
  return digestHex(digestOf(place)).slice(0, placeDigits);
}

function decodeFacts(document: unknown): StepFacts | undefined {
  const fields = Object(document) as Partial<Record<keyof StepFacts, unknown>>;
  const { key, build, text, action, variables, sources } = fields;
  const isWhole =
    [key, build, text, action].every((field) => typeof field === "string") &&
    typeof variables === "object" &&
    variables !== null &&
    Array.isArray(sources) &&
    sources.every((source) => {
      const { label, digest, files } = Object(source) as Record<string, unknown>;
      const hasFiles = files === undefined || typeof files === "string";
      return typeof label === "string" && typeof digest === "string" && hasFiles;
    });
  return isWhole ? (document as StepFacts) : undefined;
}
