import type { ImageSummary } from "../../api/image.ts";
import { booleanFilter, checkFilterNames, matchesLabels } from "../../lib/filters.ts";
import { type NamePattern, parseGoPattern } from "../../lib/pattern/name-pattern.ts";
import { parseTime } from "../../lib/time.ts";
import type { ImageConfig } from "../../oci/image-config.ts";
import { familiarName, familiarString, findReference } from "../../oci/reference.ts";
import { type ImageRecord, sizeOf } from "../image-records.ts";
import type { FilterMap } from "../image-service.ts";
import { describeManifests } from "./manifest-summaries.ts";
import type { ImageContext } from "../context.ts";

/** What a list is asked for. */
export interface ListOptions {
  readonly all?: boolean;
  readonly filters?: FilterMap;
  readonly sharedSize?: boolean;
  readonly digests?: boolean;
  readonly manifests?: boolean;
}

const filterNames = ["dangling", "label", "before", "since", "reference", "until"];

/** Lists images, newest first. @throws invalid-argument for an unknown filter, not-found for an
 * image named in one */
export async function listImages(
  context: ImageContext,
  options: ListOptions,
): Promise<readonly ImageSummary[]> {
  const filters: FilterMap = options.filters ?? new Map();
  checkFilterNames(filters, filterNames);
  const { index } = context;
  const isWanted = createFilter(context, filters);
  const summaries: { readonly createdNs: bigint; readonly summary: ImageSummary }[] = [];
  const manifestsOf = async (record: ImageRecord): Promise<Partial<ImageSummary>> =>
    options.manifests === true ? { Manifests: await describeManifests(context, record) } : {};
  const sharedSize = options.sharedSize === true ? createSharedSize(index.list()) : () => -1;
  const parents = new Set(index.list().map((record) => record.parentId));
  for (const record of index.list()) {
    const config = index.config(record);
    const tags = index.namesOf(record.id).map((name) => index.show(name));
    const digests = index.digestsOf(record.id).map((name) => index.show(name));
    const shown = isWanted({ config, tags, digests });
    if (shown === undefined) continue;
    const isPart = parents.has(record.id) || index.isFurtherPlatform(record.id);
    const isNamed = tags.length + digests.length > 0;
    if (!isNamed && isPart && options.all !== true) continue;
    const summary: ImageSummary = {
      Containers: context.users().containersOf(record.id).length,
      Created: createdSeconds(config),
      Id: record.id,
      Labels: config.config?.Labels ?? null,
      ParentId: record.parentId ?? "",
      RepoDigests: shown.digests,
      RepoTags: shown.tags,
      SharedSize: sharedSize(record),
      Size: sizeOf(record),
      ...(await manifestsOf(record)),
    };
    summaries.push({ createdNs: createdNs(config), summary });
  }
  return summaries
    .toSorted((left, right) => Number(right.createdNs - left.createdNs))
    .map(({ summary }) => summary);
}

/** Seconds since 1970; 0 for a config that does not say. */
export function createdSeconds(config: ImageConfig): number {
  return Number(createdNs(config) / 1_000_000_000n);
}

function createdNs(config: ImageConfig): bigint {
  return config.created === undefined || config.created === "" ? 0n : parseTime(config.created);
}

/** Makes the function that tells how many of an image's bytes others have, too. */
function createSharedSize(records: readonly ImageRecord[]): (record: ImageRecord) => number {
  const users = new Map<string, number>();
  for (const { layers } of records) {
    for (const { chainId } of layers) users.set(chainId, (users.get(chainId) ?? 0) + 1);
  }
  return ({ layers }) =>
    layers
      .filter(({ chainId }) => (users.get(chainId) ?? 0) > 1)
      .reduce((sum, layer) => sum + layer.unpackedSizeBytes, 0);
}

/** What an image is called. */
interface Names {
  readonly tags: readonly string[];
  readonly digests: readonly string[];
}

interface Candidate extends Names {
  readonly config: ImageConfig;
}

/** Makes the function that says which names to show; undefined leaves the image out. */
function createFilter(
  { index }: ImageContext,
  filters: FilterMap,
): (candidate: Candidate) => Names | undefined {
  const dangling = booleanFilter(filters, "dangling");
  const valuesOf = (name: string): readonly string[] => filters.get(name) ?? [];
  const createdOf = (text: string): bigint => createdNs(index.config(index.find(text)));
  // Docker: of several the narrowest counts, seen in 28.5
  const untilsNs = valuesOf("until").map((text) => parseTime(text));
  const endsNs = [...valuesOf("before").map(createdOf), ...untilsNs];
  const sincesNs = valuesOf("since").map(createdOf);
  const patterns = filters.get("reference")?.map((pattern) => parseGoPattern(pattern));
  return ({ config, tags, digests }) => {
    const created = createdNs(config);
    // Docker: what has a digest alone is dangling and is not, seen in its source of 28
    if (dangling === true && tags.length > 0) return undefined;
    if (dangling === false && tags.length + digests.length === 0) return undefined;
    if (endsNs.some((endNs) => created >= endNs)) return undefined;
    if (sincesNs.some((sinceNs) => created <= sinceNs)) return undefined;
    if (!matchesLabels(config.config?.Labels, filters.get("label"))) return undefined;
    if (patterns === undefined) return { tags, digests };
    const isMatch = (name: string): boolean =>
      patterns.some((pattern) => matchesPattern(name, pattern));
    const matching = { tags: tags.filter(isMatch), digests: digests.filter(isMatch) };
    return matching.tags.length + matching.digests.length === 0 ? undefined : matching;
  };
}

/** Docker's reference filter: a pattern of the familiar name, with or without the tag. */
function matchesPattern(name: string, pattern: NamePattern): boolean {
  const reference = findReference(name);
  if (reference === undefined) return false;
  return pattern.matches(familiarName(reference)) || pattern.matches(familiarString(reference));
}
