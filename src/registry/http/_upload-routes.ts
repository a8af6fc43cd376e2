import { isKind } from "../../lib/errors.ts";
import { type Digest, isDigest } from "../../oci/digest.ts";
import { bodyOf, contentLength, type Exchange, sendEmpty } from "./_exchange.ts";
import { isDiskFull, refusal } from "../errors.ts";
import { isRepositoryName, parseDigestName } from "../names.ts";
import { formatUploadRange, parseChunkRange } from "../ranges.ts";
import type { Chunk, UploadName, UploadStatus } from "../registry.ts";

/** Repositories that are looked at for a blob to mount when none is named. */
const mountCandidatesMax = 1_000;

/** POST: begins an upload, takes a whole blob, or mounts one that another repository has. */
export async function postUpload(
  exchange: Exchange,
  target: { readonly repository: string },
): Promise<void> {
  const { query, registry } = exchange;
  const { repository } = target;
  const mount = query.get("mount");
  if (mount !== null && isDigest(mount) && mountFrom(exchange, { repository, digest: mount })) {
    return sendBlob(exchange, { repository, digest: mount });
  }
  const given = query.get("digest");
  if (given === null) {
    const status = registry.startUpload(repository);
    return sendUpload(exchange, { status, repository, code: 202 });
  }
  const digest = parseDigestName(given);
  const name = { repository, id: registry.startUpload(repository).id };
  try {
    await registry.finishUpload(name, { ...chunkOf(exchange), digest });
  } catch (error) {
    await cancelIfThere(exchange, name);
    throw error;
  }
  sendBlob(exchange, { repository, digest });
}

/** PATCH: appends a chunk. */
export async function patchUpload(exchange: Exchange, target: UploadName): Promise<void> {
  const status = await exchange.registry.appendUpload(target, chunkOf(exchange));
  sendUpload(exchange, { status, repository: target.repository, code: 202 });
}

/** PUT: appends the last chunk, if any, and makes it a blob. */
export async function putUpload(exchange: Exchange, target: UploadName): Promise<void> {
  const given = exchange.query.get("digest");
  if (given === null) {
    throw refusal("DIGEST_INVALID", { message: "digest: the parameter is missing" });
  }
  const digest = parseDigestName(given);
  await exchange.registry.finishUpload(target, { ...chunkOf(exchange), digest });
  sendBlob(exchange, { repository: target.repository, digest });
}

/** GET: how far an upload is. */
export async function getUpload(exchange: Exchange, target: UploadName): Promise<void> {
  const status = await exchange.registry.getUpload(target);
  sendUpload(exchange, { status, repository: target.repository, code: 204 });
}

/** DELETE: cancels an upload. */
export async function deleteUpload(exchange: Exchange, target: UploadName): Promise<void> {
  await exchange.registry.cancelUpload(target);
  sendEmpty(exchange, 204, { "Docker-Upload-UUID": target.id });
}

/** Mounts from the repository that is named, or from any that the caller may pull from. */
function mountFrom(
  { query, registry, caller }: Exchange,
  wanted: { readonly repository: string; readonly digest: Digest },
): boolean {
  const { repository, digest } = wanted;
  const from = query.get("from");
  const isReadable = (name: string): boolean => caller.may("pull", name);
  if (from !== null) {
    if (!isRepositoryName(from) || !isReadable(from)) return false;
    return registry.mountBlob(repository, { from, digest });
  }
  let seenCount = 0;
  for (const name of registry.holdersOf(digest)) {
    seenCount += 1;
    if (seenCount > mountCandidatesMax) return false;
    if (isReadable(name)) return registry.mountBlob(repository, { from: name, digest });
  }
  return false;
}

function chunkOf(exchange: Exchange): Chunk {
  const range = parseChunkRange(exchange.request.headers["content-range"]);
  const sizeBytes = contentLength(exchange);
  return {
    body: bodyOf(exchange),
    ...(range === undefined ? {} : { range }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  };
}

function sendUpload(
  exchange: Exchange,
  answer: {
    readonly status: UploadStatus;
    readonly repository: string;
    readonly code: 202 | 204;
  },
): void {
  const { status, repository, code } = answer;
  sendEmpty(exchange, code, {
    Location: `/v2/${repository}/blobs/uploads/${status.id}`,
    Range: formatUploadRange(status.sizeBytes),
    "Docker-Upload-UUID": status.id,
  });
}

function sendBlob(
  exchange: Exchange,
  blob: { readonly repository: string; readonly digest: Digest },
): void {
  sendEmpty(exchange, 201, {
    Location: `/v2/${blob.repository}/blobs/${blob.digest}`,
    "Docker-Content-Digest": blob.digest,
  });
}

/** An upload in one request is not resumed: nobody was told its id. */
async function cancelIfThere(exchange: Exchange, name: UploadName): Promise<void> {
  try {
    await exchange.registry.cancelUpload(name);
  } catch (error) {
    if (!isKind(error, "not-found") && !isDiskFull(error)) throw error;
  }
}
