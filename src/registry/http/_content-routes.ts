import { readAll } from "../../lib/stream-limit.ts";
import { isKind } from "../../lib/errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { manifestSizeMaxBytes } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import {
  bodyOf,
  contentLength,
  type Exchange,
  isUnchanged,
  linkTo,
  pageOf,
  sendBytes,
  sendEmpty,
  sendBlob,
  sendJson,
} from "./_exchange.ts";
import { refusal } from "../errors.ts";
import type { ManifestName } from "../names.ts";
import { formatContentRange, parseRange } from "../ranges.ts";

/** Tags of one page; more need a second request. */
const tagsPageMax = 10_000;
/** Repositories of one page. */
const catalogPageMax = 1_000;
/** How often a blob is looked for that goes each time. */
const blobAttemptsMax = 5;
/** A digest's bytes never change. */
const blobCacheControl = "max-age=31536000";

/** What stands in the path of a manifest. */
export interface ManifestTarget {
  readonly repository: string;
  readonly name: ManifestName;
}

/** What stands in the path of a blob. */
export interface DigestTarget {
  readonly repository: string;
  readonly digest: Digest;
}

/** GET and HEAD of a blob, whole or a part. */
export async function getBlob(exchange: Exchange, target: DigestTarget): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await serveBlob(exchange, target);
    } catch (error) {
      const isGone = isKind(error, "not-found") && error.cause !== undefined;
      if (!isGone || attempt === blobAttemptsMax || exchange.response.headersSent) throw error;
      // Removed while it was looked for: a cache fetches it again, others say that it is not there.
    }
  }
}

async function serveBlob(exchange: Exchange, target: DigestTarget): Promise<void> {
  const { request, response, registry } = exchange;
  const { digest } = target;
  const blob = await registry.getBlob(target.repository, digest);
  const headers = {
    "Content-Type": "application/octet-stream",
    "Docker-Content-Digest": digest,
    "Accept-Ranges": "bytes",
    "Cache-Control": blobCacheControl,
    ETag: `"${digest}"`,
  };
  if (isUnchanged(exchange, digest)) return sendEmpty(exchange, 304, headers);
  const ifRange = request.headers["if-range"];
  const isWhole = ifRange !== undefined && ifRange !== `"${digest}"`;
  const part = isWhole ? undefined : parseRange(request.headers.range, blob.sizeBytes);
  const range = part ?? { offset: 0, length: blob.sizeBytes };
  const head = (): void =>
    void response.writeHead(part === undefined ? 200 : 206, {
      ...headers,
      "Content-Length": String(range.length),
      ...(part === undefined ? {} : { "Content-Range": formatContentRange(part, blob.sizeBytes) }),
    });
  if (request.method === "HEAD" || range.length === 0) {
    head();
    response.end();
    return;
  }
  await sendBlob(exchange, { blob, range, head });
}

/** DELETE of a blob. */
export async function deleteBlob(exchange: Exchange, target: DigestTarget): Promise<void> {
  exchange.registry.removeBlob(target.repository, target.digest);
  sendEmpty(exchange, 202);
}

/** GET and HEAD of a manifest. */
export async function getManifest(exchange: Exchange, target: ManifestTarget): Promise<void> {
  const { registry, request, response } = exchange;
  const manifest = await registry.getManifest(target.repository, target.name);
  const headers = {
    "Content-Type": manifest.mediaType,
    "Docker-Content-Digest": manifest.digest,
    ETag: `"${manifest.digest}"`,
  };
  if (isUnchanged(exchange, manifest.digest)) return sendEmpty(exchange, 304, headers);
  if (request.method === "HEAD") {
    response.writeHead(200, { ...headers, "Content-Length": String(manifest.sizeBytes) });
    response.end();
    return;
  }
  sendBytes(exchange, { bytes: await registry.readManifest(manifest), headers });
}

/** PUT of a manifest. */
export async function putManifest(exchange: Exchange, target: ManifestTarget): Promise<void> {
  const sizeBytes = contentLength(exchange) ?? manifestSizeMaxBytes;
  if (sizeBytes > manifestSizeMaxBytes) throw tooLarge();
  await exchange.manifestSpace.run(sizeBytes, async () => await storeManifest(exchange, target));
}

async function storeManifest(exchange: Exchange, target: ManifestTarget): Promise<void> {
  const { registry, request } = exchange;
  const { repository, name } = target;
  const { digest, subject } = await registry.putManifest(repository, {
    name,
    mediaType: request.headers["content-type"],
    bytes: await readManifestBody(exchange),
  });
  sendEmpty(exchange, 201, {
    Location: `/v2/${repository}/manifests/${digest}`,
    "Docker-Content-Digest": digest,
    ...(subject === undefined ? {} : { "OCI-Subject": subject }),
  });
}

/** DELETE of a tag, or of a manifest with all its tags. */
export async function deleteManifest(exchange: Exchange, target: ManifestTarget): Promise<void> {
  exchange.registry.removeManifest(target.repository, target.name);
  sendEmpty(exchange, 202);
}

/** GET of what names a digest as its subject. */
export async function getReferrers(exchange: Exchange, target: DigestTarget): Promise<void> {
  const { registry, query } = exchange;
  const { repository, digest } = target;
  const artifactType = query.get("artifactType") ?? undefined;
  const after = query.get("last") ?? undefined;
  const page = await registry.listReferrers(repository, {
    digest,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(after === undefined ? {} : { after }),
  });
  const last = page.manifests.at(-1);
  sendJson(
    exchange,
    { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: page.manifests },
    {
      "Content-Type": ociMediaTypes.index,
      ...(artifactType === undefined ? {} : { "OCI-Filters-Applied": "artifactType" }),
      ...(page.hasMore && last !== undefined
        ? linkTo(`/v2/${repository}/referrers/${digest}`, {
            last: last.digest,
            ...(artifactType === undefined ? {} : { artifactType }),
          })
        : {}),
    },
  );
}

/** GET of a repository's tags. */
export async function getTags(
  exchange: Exchange,
  target: { readonly repository: string },
): Promise<void> {
  const { repository } = target;
  const page = pageOf(exchange.query, { countMax: tagsPageMax });
  const { names, hasMore } = await exchange.registry.listTags(repository, page);
  const last = names.at(-1);
  const headers =
    hasMore && last !== undefined
      ? linkTo(`/v2/${repository}/tags/list`, { last, n: String(page.countMax) })
      : {};
  sendJson(exchange, { name: repository, tags: names }, headers);
}

/** GET of the repositories that the caller may pull from. */
export async function getCatalog(exchange: Exchange): Promise<void> {
  const page = pageOf(exchange.query, { countMax: catalogPageMax });
  const { names, hasMore } = exchange.registry.listRepositories({
    ...page,
    isVisible: (repository) => exchange.caller.may("pull", repository),
  });
  const last = names.at(-1);
  const headers =
    hasMore && last !== undefined ? linkTo("/v2/_catalog", { last, n: String(page.countMax) }) : {};
  sendJson(exchange, { repositories: names }, headers);
}

async function readManifestBody(exchange: Exchange): Promise<Uint8Array> {
  try {
    const limit = { sizeMaxBytes: manifestSizeMaxBytes, what: "read manifest" };
    return await readAll(bodyOf(exchange), limit);
  } catch (error) {
    if (isKind(error, "invalid-argument")) throw tooLarge();
    throw error;
  }
}

function tooLarge(): Error {
  return refusal("MANIFEST_INVALID", {
    message: `a manifest may have ${manifestSizeMaxBytes} bytes`,
    status: 413,
  });
}
