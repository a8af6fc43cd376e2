/**
 * Finds images by what people call them.
 */
import { readFileSync } from "node:fs";
import type { ContentStore } from "../content/content-store.ts";
import { noSuchImage, platformMismatch } from "../lib/docker-messages.ts";
import { EngineError, isKind } from "../lib/errors.ts";
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
import {
  boundName,
  type Called,
  callImages,
  imagesOf,
  isBoundTo,
  shrunkName,
} from "./bound-names.ts";
import type { ImageRecord, ImageTables, NameRecord } from "./image-records.ts";
import type { ResolvedImage } from "./image-service.ts";
import { tagName } from "./tag-name.ts";

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
    const reference = findReference(text);
    const bound = reference === undefined ? undefined : this.#tables.names.find(keyOf(reference));
    const records =
      bound === undefined ? [] : imagesOf(bound).flatMap((id) => this.findById(id) ?? []);
    return records.find((record) => matchPlatform(platform, imagePlatform(this.config(record))));
  }

  /** Whole references with a tag that are bound to an image, sorted. */
  namesOf(id: Digest): readonly string[] {
    return this.#called().get(id)?.tags ?? [];
  }

  /** Whole references with a digest (`docker.io/library/busybox@sha256:…`) of an image, sorted. */
  digestsOf(id: Digest): readonly string[] {
    return this.#called().get(id)?.digests ?? [];
  }

  /** Whether what people write stands for that image, of whatever platform. */
  isCalled(text: string, id: string): boolean {
    const bound = this.findBound(text);
    if (bound !== undefined) return imagesOf(bound).some((one) => one === id);
    try {
      return this.find(text).id === id;
    } catch (error) {
      if (isKind(error, "not-found", "conflict", "invalid-argument")) return false;
      throw error;
    }
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
    return tagName(target.tag === "" ? reference : withTag(reference, target.tag));
  }

  /** Stores an image and the names it has; names move here from other images. */
  put(record: ImageRecord): void {
    const known = this.#tables.images.find(record.id);
    const storedNs = known?.storedNs ?? record.storedNs;
    this.#tables.images.put(record.id, { ...record, storedNs });
  }

  /**
   * Binds a name to an image.
   *
   * @param options.target what the name stands for in a registry; images that it had for other
   * platforms of the same index stay reachable by it
   * @param options.others images of further platforms that become reachable by it
   * @param options.attachments blobs of the target that are no image's, kept with the name
   */
  bind(name: string, id: Digest, options: Omit<NameRecord, "id"> = {}): void {
    this.#tables.names.put(name, boundName({ ...options, id }, this.#tables.names.find(name)));
    if (name.includes("@")) return;
    const record = this.#tables.images.find(id);
    if (record !== undefined) {
      this.#tables.images.put(id, { ...record, lastTaggedNs: nowNs().toString() });
    }
  }

  /** Notes that the registry calls an image so, if that is what the name stands for here. */
  markPublished(name: string, id: Digest): void {
    const record = this.#tables.names.find(name);
    if (record?.id === id) this.#tables.names.put(name, { ...record, isPublished: true });
  }

  /**
   * Takes a name from an image. A tag means its image, and goes; a digest means the index: it stays
   * with the images of other platforms.
   */
  unbind(name: string, id: Digest): void {
    const isTagOf = !name.includes("@") && this.#tables.names.find(name)?.id === id;
    if (isTagOf) this.#tables.names.remove(name);
    else this.release(name, id);
  }

  /** Takes one platform's image from a name, which goes on with another's or, without one, goes. */
  release(name: string, id: Digest): void {
    const record = this.#tables.names.find(name);
    const left = record === undefined ? undefined : shrunkName(record, id);
    if (left === undefined) this.#tables.names.remove(name);
    else this.#tables.names.put(name, left);
  }

  remove(id: Digest): void {
    for (const [name, record] of this.#tables.names.list()) {
      if (isBoundTo(record, id)) this.unbind(name, id);
    }
    this.#tables.images.remove(id);
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
    const { platform: wanted } = options;
    const ofPlatform = wanted === undefined ? undefined : this.findPlatform(text, wanted);
    const record = ofPlatform ?? this.find(text);
    const config = this.config(record);
    const platform = imagePlatform(config);
    if (wanted !== undefined && !matchPlatform(wanted, platform)) {
      throw platformMismatch(text, {
        found: formatPlatform(platform),
        wanted: formatPlatform(wanted),
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

  /** What each image is called; made anew after a name has changed. */
  #called(): ReadonlyMap<Digest, Called> {
    const names = this.#tables.names.list();
    if (this.#calledBy?.names !== names) this.#calledBy = { names, images: callImages(names) };
    return this.#calledBy.images;
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

/** The key of a name: a digest says all, whatever the tag beside it. */
function keyOf(reference: Reference): string {
  const { digest } = reference;
  if (digest !== undefined) return formatReference(withDigest(reference, digest));
  return formatReference(withDefaultTag(reference));
}
