/** Operations on images. */
import type {
  HistoryResponseItem,
  ImageDeleteResponseItem,
  ImagePruneResponse,
  ImageSearchItem,
  ImageSummary,
  JsonMessage,
} from "../api/image.ts";
import type { BodyStream } from "./exchange.ts";
import { linesOf } from "./lines.ts";
import { decodeJson, encodeFilters, pathSegment, type Transport } from "./transport.ts";

type FilterMap = ReadonlyMap<string, readonly string[]>;
/** Such as carry credentials (`X-Registry-Auth`). */
type Headers = Readonly<Record<string, string>>;

/** @see Engine API v1.51, ImageList */
export function listImages(
  transport: Transport,
  options: {
    readonly all?: boolean;
    readonly digests?: boolean;
    readonly manifests?: boolean;
    readonly filters?: FilterMap;
  } = {},
): Promise<readonly ImageSummary[]> {
  const { all, manifests, filters = new Map() } = options;
  const query = { all, manifests, filters: encodeFilters(filters) };
  return transport.json("GET /images/json", { query });
}

/** @see Engine API v1.51, ImageHistory */
export function imageHistory(
  transport: Transport,
  image: string,
  options: { readonly platform?: string } = {},
): Promise<readonly HistoryResponseItem[]> {
  return transport.json(`GET /images/${pathSegment(image)}/history`, { query: { ...options } });
}

/** @see Engine API v1.51, ImageTag */
export async function tagImage(
  transport: Transport,
  image: string,
  target: { readonly repo: string; readonly tag: string },
): Promise<void> {
  await transport.send(`POST /images/${pathSegment(image)}/tag`, { query: { ...target } });
}

/** @see Engine API v1.51, ImageDelete */
export function removeImage(
  transport: Transport,
  image: string,
  options: {
    readonly force?: boolean;
    readonly noprune?: boolean;
    readonly platforms?: readonly string[];
  } = {},
): Promise<readonly ImageDeleteResponseItem[]> {
  return transport.json(`DELETE /images/${pathSegment(image)}`, { query: { ...options } });
}

/** @see Engine API v1.51, ImagePrune */
export function pruneImages(transport: Transport, filters: FilterMap): Promise<ImagePruneResponse> {
  return transport.json("POST /images/prune", { query: { filters: encodeFilters(filters) } });
}

/** A tar of images, to be read to its end or closed. */
export function saveImages(
  transport: Transport,
  names: readonly string[],
  options: { readonly platform?: string; readonly signal?: AbortSignal } = {},
): Promise<BodyStream> {
  const { platform, signal } = options;
  const abort = signal === undefined ? {} : { signal };
  const [only = ""] = names;
  if (names.length === 1) {
    return transport.stream(`GET /images/${pathSegment(only)}/get`, {
      query: { platform },
      ...abort,
    });
  }
  return transport.stream("GET /images/get", { query: { names, platform }, ...abort });
}

/** Sends a tar of images; the answer is progress. */
export function loadImages(
  transport: Transport,
  upload: AsyncIterable<Uint8Array>,
  options: {
    readonly quiet?: boolean;
    readonly platform?: string;
    readonly signal?: AbortSignal;
  } = {},
): Promise<BodyStream> {
  const { quiet = false, platform, signal } = options;
  return transport.stream("POST /images/load", {
    query: { quiet: quiet ? 1 : 0, platform },
    upload,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** What `images/create` makes an image of. */
export interface ImageCreateQuery {
  readonly fromImage?: string;
  readonly fromSrc?: string;
  readonly repo?: string;
  readonly tag?: string;
  readonly message?: string;
  readonly platform?: string;
  readonly changes?: readonly string[];
}

/** Imports a filesystem or pulls; the answer is progress. */
export function createImage(
  transport: Transport,
  query: ImageCreateQuery,
  options: {
    readonly upload?: AsyncIterable<Uint8Array>;
    readonly headers?: Headers;
    readonly signal?: AbortSignal;
  } = {},
): Promise<BodyStream> {
  const { upload, headers, signal } = options;
  return transport.stream("POST /images/create", {
    query: { ...query },
    ...(headers === undefined ? {} : { headers }),
    ...(upload === undefined ? {} : { upload }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Sends an image to its registry; the answer is progress. @see Engine API v1.51, ImagePush */
export function pushImage(
  transport: Transport,
  repository: string,
  options: { readonly tag?: string; readonly platform?: string; readonly headers: Headers },
): Promise<BodyStream> {
  const { headers, ...query } = options;
  return transport.stream(`POST /images/${pathSegment(repository)}/push`, { query, headers });
}

/** @see Engine API v1.51, ImageSearch */
export function searchImages(
  transport: Transport,
  options: {
    readonly term: string;
    readonly limit?: number;
    readonly filters: FilterMap;
    readonly headers: Headers;
  },
): Promise<readonly ImageSearchItem[]> {
  const { term, limit, filters, headers } = options;
  const query = { term, limit, filters: encodeFilters(filters) };
  return transport.json("GET /images/search", { query, headers });
}

/** The progress in an answer, one message at a time. */
export async function* progressOf(stream: BodyStream): AsyncGenerator<JsonMessage> {
  for await (const line of linesOf(stream.bytes())) {
    if (line.trim() !== "") yield decodeJson<JsonMessage>(line);
  }
}
