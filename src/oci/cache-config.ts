/**
 * What a build cache elsewhere knows: layers, and the content keys of the steps that made them.
 *
 * The container is BuildKit's, the keys are the engine's own: another builder reads such a cache and
 * finds nothing of its own in it, as this one does in theirs.
 *
 * @see BuildKit, cache/remotecache/v1/spec.go
 */
import { formatTime, parseTime } from "../lib/time.ts";
import { decodeDocument, decodeJson, encodeDocument, Fields, isObject } from "./_json.ts";
import { type Digest, isDigest } from "./digest.ts";

/** Media type of the config of a cache. */
export const cacheConfigType = "application/vnd.buildkit.cacheconfig.v0";
/** Field of an image config that has the keys of the image's own layers, as base64. */
export const inlineCacheField = "moby.buildkit.cache.v0";
/** Largest document. */
export const cacheConfigMaxBytes: number = 4 * 1024 * 1024;
/** Layers, or records, that a cache may have. */
export const cacheEntriesMax = 10_000;

/** One layer of a cache. */
export interface CacheLayer {
  /** Of the blob as it is stored. */
  readonly blob: Digest;
  readonly diffId: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Number of the layer below; absent for what stands on a base image or on nothing. */
  readonly parent?: number;
}

/** What one step came to. */
export interface CacheRecord {
  /** The step's content key. */
  readonly digest: Digest;
  /** Number of its layer: in the cache's list, or among those of the image. */
  readonly layer: number;
  /** Nanoseconds since 1970 as digits. */
  readonly createdNs: string;
  /** Numbers of the records that it stands on. */
  readonly inputs: readonly number[];
}

/** A cache. */
export interface CacheConfig {
  readonly layers: readonly CacheLayer[];
  readonly records: readonly CacheRecord[];
}

/** Encodes a cache; the same one gives the same bytes. */
export function encodeCacheConfig({ layers, records }: CacheConfig): Uint8Array {
  return encodeDocument({
    layers: layers.map(({ blob, diffId, mediaType, sizeBytes, parent }) => ({
      blob,
      parent: parent ?? -1,
      annotations: { mediaType, diffID: diffId, size: sizeBytes },
    })),
    records: records.map(encodeRecord),
  });
}

/** Encodes the records of an image's own layers, for `inlineCacheField`. */
export function encodeInlineCache(records: readonly CacheRecord[]): string {
  return Buffer.from(JSON.stringify(records.map(encodeRecord))).toString("base64");
}

function encodeRecord({ digest, layer, createdNs, inputs }: CacheRecord): object {
  return {
    layers: [{ layer, createdAt: formatTime(BigInt(createdNs)) }],
    digest,
    ...(inputs.length === 0 ? {} : { inputs: [inputs.map((link) => ({ link }))] }),
  };
}

/**
 * Decodes a cache. Records and layers that do not make sense are left out; what other builders say
 * of theirs comes along, under keys that no step has.
 *
 * @throws invalid-argument for what is no such document
 */
export function decodeCacheConfig(bytes: Uint8Array): CacheConfig {
  const fields = decodeDocument(bytes, {
    sizeMaxBytes: cacheConfigMaxBytes,
    what: "cache config",
  });
  const layers = (fields.objects("layers") ?? []).map(decodeLayer);
  // Records count the layers by their place: of one that makes no sense the place stays empty.
  const numbers = new Map<number, number>();
  const whole: CacheLayer[] = [];
  for (const [number, layer] of layers.entries()) {
    if (layer !== undefined) numbers.set(number, whole.push(layer) - 1);
  }
  const records = decodeRecords(fields.objects("records") ?? []).flatMap((record) => {
    const layer = numbers.get(record.layer);
    return layer === undefined ? [] : [{ ...record, layer }];
  });
  return { layers: whole.map((layer) => withParent(layer, numbers)), records };
}

/** The records that an image's config has; undefined for one without. @throws invalid-argument */
export function decodeInlineCache(imageConfig: Uint8Array): readonly CacheRecord[] | undefined {
  const what = "image config";
  const limits = { sizeMaxBytes: 2 * cacheConfigMaxBytes, what };
  const text = decodeDocument(imageConfig, limits).text(inlineCacheField);
  if (text === undefined) return undefined;
  const list = decodeJson(Buffer.from(text, "base64"), {
    sizeMaxBytes: cacheConfigMaxBytes,
    what: inlineCacheField,
  });
  const items = Array.isArray(list) ? list.slice(0, cacheEntriesMax) : [];
  return decodeRecords(items.filter(isObject).map((item) => new Fields(item, inlineCacheField)));
}

function withParent(layer: CacheLayer, numbers: ReadonlyMap<number, number>): CacheLayer {
  const { parent: given, ...rest } = layer;
  const parent = given === undefined ? undefined : numbers.get(given);
  return parent === undefined ? rest : { ...rest, parent };
}

function decodeLayer(fields: Fields): CacheLayer | undefined {
  const annotations = fields.object("annotations");
  const blob = fields.text("blob") ?? "";
  const diffId = annotations?.text("diffID") ?? "";
  const sizeBytes = annotations?.integer("size") ?? 0;
  const parent = fields.integer("parent") ?? -1;
  if (!isDigest(blob) || !isDigest(diffId) || sizeBytes < 0) return undefined;
  const mediaType = annotations?.text("mediaType") ?? "";
  return { blob, diffId, mediaType, sizeBytes, ...(parent < 0 ? {} : { parent }) };
}

function decodeRecords(items: readonly Fields[]): readonly CacheRecord[] {
  return items.flatMap((item) => {
    const digest = item.text("digest") ?? "";
    const [result] = item.objects("layers") ?? [];
    const layer = result?.integer("layer") ?? -1;
    const createdNs = decodeTime(result?.text("createdAt") ?? "");
    if (!isDigest(digest) || layer < 0 || createdNs === undefined) return [];
    return [{ digest, layer, createdNs, inputs: [] }];
  });
}

function decodeTime(text: string): string | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/.test(text)) {
    return undefined;
  }
  const ns = parseTime(text);
  return ns < 0n ? undefined : ns.toString();
}
