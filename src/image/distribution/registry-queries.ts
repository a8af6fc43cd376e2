/**
 * What registries are asked besides for images: searches, what a name stands for, credentials.
 */
import type { OciPlatform } from "../../api/image.ts";
import { EngineError } from "../../lib/errors.ts";
import { booleanFilter, checkFilterNames } from "../../lib/filters.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { decodeImageConfig, imageConfigMaxBytes, imagePlatform } from "../../oci/image-config.ts";
import { decodeIndex, decodeManifest } from "../../oci/manifest.ts";
import { dockerMediaTypes, isIndexType } from "../../oci/media-types.ts";
import { parseReference, type Reference, withDefaultTag } from "../../oci/reference.ts";
import type { Credentials, RegistryCall, SearchHit } from "../../remote/registry-client.ts";
import type { FilterMap } from "../image-service.ts";
import type { ImageContext } from "../context.ts";
import { registryOf } from "./pull.ts";

/** Hits of a search unless another number is wanted. @see Engine API v1.51, ImageSearch */
const searchCountDefault = 25;
const searchCountMax = 100;

const searchFilters = ["is-automated", "is-official", "stars"];

/** The registry that is meant by an empty server address. */
const defaultServer = "docker.io";

/** What a name stands for in its registry. @see Engine API v1.51, DistributionInspect */
export interface DistributionDescription {
  readonly descriptor: Descriptor;
  readonly platforms: readonly OciPlatform[];
}

/** Searches a registry. @throws invalid-argument for a limit or filter that cannot be */
export async function searchImages(
  context: ImageContext,
  options: RegistryCall & {
    readonly term: string;
    readonly limit?: number;
    readonly filters: FilterMap;
  },
): Promise<readonly SearchHit[]> {
  const { term, limit = 0, filters, ...call } = options;
  const countMax = limit === 0 ? searchCountDefault : limit;
  if (countMax < 1 || countMax > searchCountMax) {
    throw new EngineError(
      "invalid-argument",
      `limit ${limit} is outside the range of [1, ${searchCountMax}]`,
    );
  }
  checkFilterNames(filters, searchFilters);
  const isOfficial = booleanFilter(filters, "is-official");
  const isAutomated = booleanFilter(filters, "is-automated");
  const starsMin = Math.max(0, ...(filters.get("stars") ?? []).map(parseStars));
  const hits = await registryOf(context).search(term, { ...call, countMax });
  return hits.filter(
    (hit) =>
      (isOfficial === undefined || hit.isOfficial === isOfficial) &&
      // Docker: nothing counts as automated any more, seen in its source of 28
      isAutomated !== true &&
      hit.starCount >= starsMin,
  );
}

function parseStars(text: string): number {
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw new EngineError(
    "invalid-argument",
    `invalid filter 'stars=${text}': strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
  );
}

/** Asks what a name stands for. @throws what the registry says */
export async function describeDistribution(
  context: ImageContext,
  { reference: text, ...call }: RegistryCall & { readonly reference: string },
): Promise<DistributionDescription> {
  const reference = withDefaultTag(parseReference(text));
  const { descriptor, bytes } = await registryOf(context).fetchManifest(reference, call);
  const { mediaType, digest } = descriptor;
  const shown = { mediaType, digest, size: bytes.length };
  if (isIndexType(mediaType)) {
    const entries = decodeIndex(bytes).manifests;
    return { descriptor: shown, platforms: entries.flatMap(({ platform }) => platform ?? []) };
  }
  if (
    mediaType === dockerMediaTypes.manifestV1 ||
    mediaType === dockerMediaTypes.signedManifestV1
  ) {
    return { descriptor: shown, platforms: [] };
  }
  const { config } = decodeManifest(bytes);
  const platform = await platformOf(context, { ...call, reference, config });
  return { descriptor: shown, platforms: platform === undefined ? [] : [platform] };
}

/** The platform that an image's config tells; undefined for what is no image. */
async function platformOf(
  context: ImageContext,
  options: RegistryCall & { readonly reference: Reference; readonly config: Descriptor },
): Promise<OciPlatform | undefined> {
  const { content, leases } = context;
  const { reference, config, ...call } = options;
  if (config.size > imageConfigMaxBytes) return undefined;
  let isHere = false;
  const platform = await context.making(async (leaseId) => {
    leases.add(leaseId, `content:${config.digest}`);
    isHere = content.find(config.digest) !== undefined;
    if (!isHere) {
      await registryOf(context).fetchBlob(reference, { ...call, descriptor: config, content });
    }
    const bytes = await content.read(config.digest, { sizeMaxBytes: config.size });
    const found = imagePlatform(decodeImageConfig(bytes));
    return found.os === "" && found.architecture === "" ? undefined : found;
  });
  if (!isHere) await context.collect();
  return platform;
}

/**
 * Checks credentials.
 *
 * @param options.server an address as `docker login` has it: a host, or a URL; empty: Docker Hub
 * @throws unauthorized with what the registry says
 */
export async function logIn(
  context: ImageContext,
  options: {
    readonly server: string;
    readonly credentials: Credentials;
    readonly signal?: AbortSignal;
  },
): Promise<{ readonly identityToken?: string }> {
  const { server, ...call } = options;
  return await registryOf(context).login(hostOf(server), call);
}

function hostOf(server: string): string {
  const host = server
    .trim()
    .replace(/^https?:\/\//, "")
    .replace(/\/.*$/, "");
  return host === "" || host === "index.docker.io" || host === "registry-1.docker.io"
    ? defaultServer
    : host;
}
