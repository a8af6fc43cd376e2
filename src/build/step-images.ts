/**
 * Results of a build's instructions, to be run by name: `step/IMAGE:3` is what IMAGE was after its
 * third instruction, `step/IMAGE:TAG-3` of another tag than `latest`.
 *
 * What a build's instructions came to is noted under the names of its result, whether it succeeds or
 * not; of one without a name under its ID, or its own when there is none. Nothing is held by that: the
 * layers are the build cache's. Only who asks for such a name has an image made of it, which stays
 * like any image until it is removed, or the next build of the same name takes its place.
 *
 * ```
 * <root>/<digest of the name>    JSON, packed
 * ```
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import type { ImageService } from "../image/image-service.ts";
import { codeOf, EngineError, isKind } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Leases } from "../metadata/leases.ts";
import { type Digest, digestHex, digestOf } from "../oci/digest.ts";
import type { ImageConfig } from "../oci/image-config.ts";
import {
  defaultDomain,
  defaultTag,
  familiarName,
  findReference,
  parseReference,
  type Reference,
  withDefaultTag,
} from "../oci/reference.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import { writeFileAtomic } from "../sys/fs/fs.ts";
import type { BuiltLayer } from "./step.ts";

/** What one instruction came to. */
export interface StepImage {
  /** From 1, in the order in which the classic builder tells them. */
  readonly number: number;
  readonly text: string;
  readonly config: ImageConfig;
  readonly layers: readonly BuiltLayer[];
}

/** Steps of one name. */
interface StepRecord {
  readonly steps: readonly StepImage[];
}

const repositoryPrefix = "step/";
const recordsMax = 500;
const stepsMax = 500;
/** Names of one result under which its steps are noted. */
const namesMax = 100;
const recordMaxBytes = 32 * 1024 * 1024;
/** Hexadecimal digits of an ID that stands for a name. */
const idDigits = 12;

/** Where steps of a result are found. */
interface StepPlace {
  /** `step/app`. */
  readonly repository: string;
  /** Of the result, not of the step. */
  readonly tag: string;
}

/** The noted steps of one data root. */
export class StepImages {
  /** What was written last, by path. */
  readonly #noted = new Map<string, Digest>();
  readonly #options: {
    readonly root: string;
    readonly images: Pick<ImageService, "create" | "remove">;
    readonly snapshots: Pick<Snapshotter, "find">;
    readonly leases: Leases;
    readonly logger: Logger;
  };

  constructor(options: {
    readonly root: string;
    readonly images: Pick<ImageService, "create" | "remove">;
    readonly snapshots: Pick<Snapshotter, "find">;
    readonly leases: Leases;
    readonly logger: Logger;
  }) {
    this.#options = options;
  }

  /**
   * Notes what a build's instructions came to.
   *
   * @param names of the result; an ID's first digits where it has none
   * @returns the name of each step
   */
  async note(names: readonly string[], steps: readonly StepImage[]): Promise<readonly string[]> {
    const places = names.map(placeOfResult).slice(0, namesMax);
    const kept = steps.slice(0, stepsMax);
    try {
      const text = JSON.stringify({ steps: kept } satisfies StepRecord);
      const digest = digestOf(text);
      const changed = places.filter((place) => this.#noted.get(this.#pathOf(place)) !== digest);
      if (changed.length > 0) await this.#write(changed, { text, digest, steps: kept });
    } catch (error) {
      this.#options.logger.warn("note the steps of a build", { error });
    }
    const [first] = places;
    return first === undefined ? [] : kept.map(({ number }) => nameOfStep(first, number));
  }

  /**
   * Makes the image of a step that was asked for by name.
   *
   * @returns false when the name is none of a step that is known
   * @throws not-found when the layers of a known step are not in the cache any more
   */
  async make(reference: string): Promise<boolean> {
    const asked = placeOfStep(findReference(reference));
    if (asked === undefined) return false;
    const step = this.#read(asked.place)?.steps.find(({ number }) => number === asked.number);
    if (step === undefined) return false;
    const { images, snapshots, leases } = this.#options;
    const leaseId = leases.create();
    try {
      for (const { chainId } of step.layers) {
        leases.add(leaseId, `snapshot:${chainId}`);
        if (snapshots.find(chainId) !== undefined) continue;
        throw new EngineError(
          "not-found",
          `No such image: ${reference}: the result of this step is not in the build cache any more`,
        );
      }
      const name = parseReference(nameOfStep(asked.place, asked.number));
      await images.create({ config: step.config, layers: step.layers, names: [name] });
      return true;
    } finally {
      leases.remove(leaseId);
    }
  }

  async #write(
    places: readonly StepPlace[],
    record: {
      readonly text: string;
      readonly digest: Digest;
      readonly steps: readonly StepImage[];
    },
  ): Promise<void> {
    mkdirSync(this.#options.root, { recursive: true, mode: 0o700 });
    const bytes = gzipSync(record.text);
    for (const place of places) {
      await this.#forgetImages(place, record.steps);
      const path = this.#pathOf(place);
      writeFileAtomic(path, bytes, { mode: 0o600, durable: false });
      if (this.#noted.size >= recordsMax) this.#noted.clear();
      this.#noted.set(path, record.digest);
    }
    this.#removeOldest();
  }

  /** Takes the names of steps from images of an earlier build, but for those that are the same. */
  async #forgetImages(place: StepPlace, now: readonly StepImage[]): Promise<void> {
    const same = new Set(now.map(({ number, config }) => `${number} ${JSON.stringify(config)}`));
    for (const { number, config } of this.#read(place)?.steps ?? []) {
      if (same.has(`${number} ${JSON.stringify(config)}`)) continue;
      try {
        await this.#options.images.remove(nameOfStep(place, number), { force: true });
      } catch (error) {
        if (!isKind(error, "not-found") && !isKind(error, "conflict")) throw error;
      }
    }
  }

  #pathOf({ repository, tag }: StepPlace): string {
    return join(this.#options.root, digestHex(digestOf(`${repository}\n${tag}`)).slice(0, 32));
  }

  #read(place: StepPlace): StepRecord | undefined {
    try {
      const text = gunzipSync(readFileSync(this.#pathOf(place)), {
        maxOutputLength: recordMaxBytes,
      });
      return decodeRecord(JSON.parse(text.toString("utf8")));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") {
        this.#options.logger.debug("read the steps of a build", { error });
      }
      return undefined;
    }
  }

  #removeOldest(): void {
    const { root } = this.#options;
    const files = readdirSync(root);
    if (files.length <= recordsMax) return;
    const aged = files.map((name) => {
      const path = join(root, name);
      return { path, mtimeMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 };
    });
    const oldest = aged.toSorted((left, right) => left.mtimeMs - right.mtimeMs);
    for (const { path } of oldest.slice(0, files.length - recordsMax))
      rmSync(path, { force: true });
  }
}

/** Where the steps of a result are found. @param name a reference, or digits of an ID */
function placeOfResult(name: string): StepPlace {
  const digits = /^(?:sha256:)?([0-9a-f]{12,})$/.exec(name)?.[1];
  if (digits !== undefined) {
    return { repository: `${repositoryPrefix}${digits.slice(0, idDigits)}`, tag: defaultTag };
  }
  const reference = withDefaultTag(parseReference(name));
  // A port is no part of a path.
  const path = familiarName(reference).replaceAll(":", "_");
  return { repository: `${repositoryPrefix}${path}`, tag: reference.tag ?? defaultTag };
}

function placeOfStep(
  reference: Reference | undefined,
): { readonly place: StepPlace; readonly number: number } | undefined {
  if (reference === undefined || reference.domain !== defaultDomain) return undefined;
  const repository = familiarName(reference);
  const [, tag = defaultTag, digits] = /^(?:(.+)-)?(\d{1,4})$/.exec(reference.tag ?? "") ?? [];
  if (!repository.startsWith(repositoryPrefix) || digits === undefined) return undefined;
  return { place: { repository, tag }, number: Number(digits) };
}

function nameOfStep({ repository, tag }: StepPlace, number: number): string {
  return `${repository}:${tag === defaultTag ? "" : `${tag}-`}${number}`;
}

function decodeRecord(document: unknown): StepRecord | undefined {
  const { steps } = Object(document) as { readonly steps?: unknown };
  const isWhole =
    Array.isArray(steps) &&
    steps.every((step) => {
      const fields = Object(step) as Partial<Record<keyof StepImage, unknown>>;
      return (
        typeof fields.number === "number" &&
        typeof fields.text === "string" &&
        typeof fields.config === "object" &&
        Array.isArray(fields.layers)
      );
    });
  return isWhole ? (document as StepRecord) : undefined;
}
