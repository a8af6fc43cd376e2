/**
 * Finds images by what people call them.
 */
import { readFileSync } from "node:fs";
import type { ContentStore } from "../content/content-store.ts";
import { noSuchImage, platformMismatch } from "../lib/docker-messages.ts";
import { EngineError, messageOf } from "../lib/errors.ts";
import { nowNs } from "../lib/time.ts";
import { type Digest, isDigest } from "../oci/digest.ts";
import { decodeImageConfig, type ImageConfig, imagePlatform } from "../oci/image-config.ts";
import { formatPlatform, matchPlatform, type Platform } from "../oci/platform.ts";
import {
  familiarString,
  findReference,
  formatReference,
  isIdPrefix,
  parseReference,
  type Reference,
  withDefaultTag,
  withDigest,
  withTag,
} from "../oci/reference.ts";
import type { Snapshotter } from "../snapshot/snapshotter.ts";
import type { ImageRecord, ImageTables, NameRecord, NameTarget } from "./image-records.ts";
import type { ResolvedImage } from "./image-service.ts";

/** What one image is called, in the order of the names. */
interface Called {
  readonly tags: readonly string[];
  readonly digests: readonly string[];
}

/** Image records, their names and configs. Its changes are durable once the caller commits or flushes. */
export class ImageIndex {
  readonly #tables: ImageTables;
  readonly #content: ContentStore;
  /** Decoded configs of images in use; a config never changes. */
  readonly #configs = new Map<Digest, ImageConfig>();
  /** What images are called, as of one state of the names. */
  #calledBy: { readonly names: object; readonly images: ReadonlyMap<Digest, Called> } | undefined;

  constructor(tables: ImageTables, content: ContentStore) {
    this.#tables = tables;
    this.#content = content;
  }

  /** All images, in no order that means anything. */
  list(): readonly ImageRecord[] {
    return this.#tables.images.list().map(([, record]) => record);
  }

  /** By ID. */
  findById(id: Digest): ImageRecord | undefined {
    return this.#tables.images.find(id);
  }

  /** By ID. @throws not-found */
  getById(id: Digest): ImageRecord {
    const record = this.findById(id);
    if (record === undefined) throw noSuchImage(id);
    return record;
  }

  /** By name, `name@digest`, ID or unambiguous ID prefix. @throws not-found, conflict */
  find(text: string): ImageRecord {
    const found = this.#findById(text) ?? this.#findByName(text) ?? this.#findByPrefix(text);
    if (found !== undefined) return found;
    // What can be no name at all is refused as such.
    if (!isIdPrefix(text)) parseReference(text);
    throw noSuchImage(this.#asked(text));
  }

  /** Whether `text` is (a prefix of) the ID of the image it finds. */
  isById(text: string): boolean {
    return this.#findById(text) !== undefined || this.#findByName(text) === undefined;
  }

  /** Whether `text` is the whole ID of an image, or a prefix of one that no name is. */
  isFullOrShortId(text: string): boolean {
    if (this.#findById(text) !== undefined) return true;
    return this.#findByName(text) === undefined && this.#findByPrefix(text) !== undefined;
  }

  /** The image of a platform among those that a name is bound to. */
  findPlatform(text: string, platform: Platform): ImageRecord | undefined {
    return this.#ofPlatform(text, platform);
  }

  /** Whole references with a tag that are bound to an image, sorted. */
  namesOf(id: Digest): readonly string[] {
    return this.#called().get(id)?.tags ?? [];
  }

  /** Whole references with a digest (`docker.io/library/busybox@sha256:…`) of an image, sorted. */
  digestsOf(id: Digest): readonly string[] {
    return this.#called().get(id)?.digests ?? [];
  }

  /** What a name as people write it is bound to; undefined for an ID. */
  findBound(text: string): NameRecord | undefined {
    const reference = this.#findById(text) === undefined ? findReference(text) : undefined;
    return reference === undefined ? undefined : this.#tables.names.find(keyOf(reference));
  }

  /** Whether a name stands for the image beside one of another platform. */
  isFurtherPlatform(id: Digest): boolean {
    return this.#tables.names.list().some(([, record]) => record.others?.includes(id) === true);
  }

  /** What a whole reference is bound to. */
  findName(name: string): NameRecord | undefined {
    return this.#tables.names.find(name);
  }

  /** All names with what they are bound to. */
  listNames(): readonly (readonly [name: string, record: NameRecord])[] {
    return this.#tables.names.list();
  }

  /** A name as people write it. */
  show(name: string): string {
    return familiarString(parseReference(name));
  }

  /** The whole reference of a tag target. @throws invalid-argument */
  parseTarget(target: { readonly repo: string; readonly tag: string }): string {
    const reference = parseReference(target.repo);
    if (reference.digest !== undefined) {
      throw new EngineError("invalid-argument", "cannot import digest reference");
    }
    const tagged = target.tag === "" ? withDefaultTag(reference) : withTag(reference, target.tag);
    return formatReference(tagged);
  }

  /** Stores an image and the names it has; names move here from other images. */
  put(record: ImageRecord): void {
    const known = this.#tables.images.find(record.id);
    const storedNs = known?.storedNs ?? record.storedNs;
    this.#tables.images.put(record.id, { ...record, storedNs }, { durable: false });
  }

  /**
   * Binds a name to an image.
   *
   * @param options.target what the name stands for in a registry; images that it had for other
   * platforms of the same index stay reachable by it
   * @param options.others images of further platforms that become reachable by it
   * @param options.attachments blobs of the target that are no image's, kept with the name
   */
  bind(
    name: string,
    id: Digest,
    options: {
      readonly target?: NameTarget;
      readonly others?: readonly Digest[];
      readonly attachments?: readonly Digest[];
    } = {},
  ): void {
    const { target } = options;
    const before = this.#tables.names.find(name);
    const isSame = target !== undefined && before?.target?.digest === target.digest;
    const known = isSame ? [before.id, ...(before.others ?? [])] : [];
    const others = [...new Set([...known, ...(options.others ?? [])])].filter((it) => it !== id);
    const attachments = options.attachments ?? (isSame ? before.attachments : undefined) ?? [];
    const bound = {
      id,
      ...(target === undefined ? {} : { target }),
      ...(others.length === 0 ? {} : { others }),
      ...(attachments.length === 0 ? {} : { attachments }),
    };
    this.#tables.names.put(name, bound, { durable: false });
    if (name.includes("@")) return;
    const record = this.#tables.images.find(id);
    if (record !== undefined) {
      const tagged = { ...record, lastTaggedNs: nowNs().toString() };
      this.#tables.images.put(id, tagged, { durable: false });
    }
  }

  /** Takes a name away; with `id`, from that image alone when images of other platforms have it. */
  unbind(name: string, id?: Digest): void {
    const record = id === undefined ? undefined : this.#tables.names.find(name);
    if (record === undefined || id === undefined) {
      this.#tables.names.remove(name, { durable: false });
    } else this.#release(name, { record, id });
  }

  remove(id: Digest): void {
    for (const [name, record] of this.#tables.names.list()) {
      if (isBoundTo(record, id)) this.#release(name, { record, id });
    }
    this.#tables.images.remove(id, { durable: false });
    this.#configs.delete(id);
  }

  /** Reads an image's config. @throws data-loss when it is damaged */
  config(record: ImageRecord): ImageConfig {
    const known = this.#configs.get(record.id);
    if (known !== undefined) return known;
    const config = decodeImageConfig(readFileSync(this.#content.get(record.id).path));
    this.#configs.set(record.id, config);
    return config;
  }

  /** @throws not-found, also when the platform asked for is another */
  async resolve(
    text: string,
    options: { readonly platform?: Platform } = {},
  ): Promise<ResolvedImage> {
    const record = this.#ofPlatform(text, options.platform) ?? this.find(text);
    const config = this.config(record);
    const platform = imagePlatform(config);
    if (options.platform !== undefined && !matchPlatform(options.platform, platform)) {
      throw platformMismatch(text, {
        found: formatPlatform(platform),
        wanted: formatPlatform(options.platform),
      });
    }
    const chainId = record.layers.at(-1)?.chainId;
    await Promise.resolve();
    return {
      id: record.id,
      config,
      platform,
      ...(chainId === undefined ? {} : { chainId }),
      manifestDigest: record.manifestDigest,
      names: this.namesOf(record.id).map((name) => this.show(name)),
    };
  }

  /** Forgets images that lack a blob or a layer; the rest is served. @returns what was dropped */
  dropDamaged(snapshots: Snapshotter): readonly string[] {
    const damaged: string[] = [];
    for (const record of this.list()) {
      const reason = this.#damageOf(record, snapshots);
      if (reason === undefined) continue;
      damaged.push(`${record.id}: ${reason}`);
      this.remove(record.id);
    }
    return damaged;
  }

  #damageOf(record: ImageRecord, snapshots: Snapshotter): string | undefined {
    for (const digest of [record.id, record.manifestDigest]) {
      if (this.#content.find(digest) === undefined) return `the blob ${digest} is missing`;
    }
    const layer = record.layers.find(({ chainId }) => snapshots.find(chainId) === undefined);
    if (layer !== undefined) return `the layer ${layer.chainId} is missing`;
    try {
      this.config(record);
    } catch (error) {
      return messageOf(error);
    }
    return undefined;
  }

  #findById(text: string): ImageRecord | undefined {
    const id = text.includes(":") ? text : `sha256:${text}`;
    return isDigest(id) ? this.#tables.images.find(id) : undefined;
  }

  #findByName(text: string): ImageRecord | undefined {
    const reference = findReference(text);
    if (reference === undefined) return undefined;
    const bound = this.#tables.names.find(keyOf(reference));
    const record = bound === undefined ? undefined : this.#tables.images.find(bound.id);
    return record ?? (reference.digest === undefined ? undefined : this.#findByDigest(reference));
  }

  /** The image of a platform among those that a name is bound to. */
  #ofPlatform(text: string, platform: Platform | undefined): ImageRecord | undefined {
    const reference = platform === undefined ? undefined : findReference(text);
    if (platform === undefined || reference === undefined) return undefined;
    const bound = this.#tables.names.find(keyOf(reference));
    const records = [bound?.id, ...(bound?.others ?? [])].map((id) =>
      id === undefined ? undefined : this.#tables.images.find(id),
    );
    return records.find(
      (record) =>
        record !== undefined && matchPlatform(platform, imagePlatform(this.config(record))),
    );
  }

  /** What each image is called; made anew after a name has changed. */
  #called(): ReadonlyMap<Digest, Called> {
    const names = this.#tables.names.list();
    if (this.#calledBy?.names === names) return this.#calledBy.images;
    const images = new Map<Digest, { tags: string[]; digests: string[] }>();
    for (const [name, record] of names) {
      const isDigestName = name.includes("@");
      const ids = isDigestName ? [record.id, ...(record.others ?? [])] : [record.id];
      for (const id of ids) {
        const called = images.get(id) ?? { tags: [], digests: [] };
        (isDigestName ? called.digests : called.tags).push(name);
        images.set(id, called);
      }
    }
    this.#calledBy = { names, images };
    return images;
  }

  /** Takes an image from a name: the name goes on with another platform, or goes. */
  #release(name: string, bound: { readonly record: NameRecord; readonly id: Digest }): void {
    const { record, id } = bound;
    const [next, ...others] = [record.id, ...(record.others ?? [])].filter((one) => one !== id);
    // A tag means its image: it goes with it. A digest means the index, and all of its images.
    if (next === undefined || (record.id === id && !name.includes("@"))) this.unbind(name);
    else this.#tables.names.put(name, { ...record, id: next, others }, { durable: false });
  }

  /** `name@digest`: the digest of a manifest or config of an image that has the name. */
  #findByDigest(reference: Reference): ImageRecord | undefined {
    const repository = `${reference.domain}/${reference.path}`;
    return this.list().find(
      (record) =>
        (record.manifestDigest === reference.digest || record.id === reference.digest) &&
        this.namesOf(record.id).some((name) => name.startsWith(`${repository}:`)),
    );
  }

  #findByPrefix(text: string): ImageRecord | undefined {
    const prefix = text.replace(/^sha256:/, "");
    if (!isIdPrefix(prefix)) return undefined;
    const matches = this.list().filter((record) => record.id.startsWith(`sha256:${prefix}`));
    if (matches.length > 1) {
      throw new EngineError(
        "conflict",
        `ambiguous reference: ${JSON.stringify(text)} is the prefix of ${matches.length} image IDs`,
      );
    }
    return matches[0];
  }

  /** What was asked for, as Docker repeats it: with the tag that is meant. */
  #asked(text: string): string {
    const reference = findReference(text);
    return reference === undefined ? text : familiarString(withDefaultTag(reference));
  }
}

function isBoundTo(record: NameRecord, id: Digest): boolean {
  return record.id === id || record.others?.includes(id) === true;
}

/** The key of a name: a digest says all, whatever the tag beside it. */
function keyOf(reference: Reference): string {
  const { digest } = reference;
  if (digest !== undefined) return formatReference(withDigest(reference, digest));
  return formatReference(withDefaultTag(reference));
}
