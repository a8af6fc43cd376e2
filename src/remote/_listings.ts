import { EngineError, isKind } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.ts";
import { decodeTags, distributionDocumentMaxBytes } from "../oci/distribution.ts";
import { decodeIndex } from "../oci/manifest.ts";
import { ociMediaTypes } from "../oci/media-types.ts";
import { type Reference, withTag } from "../oci/reference.ts";
import { pagesMax } from "./transport/limits.ts";
import { fetchManifest, pullScope } from "./_manifests.ts";
import type { RegistryRequest, RegistrySession } from "./session/registry-session.ts";
import type { RegistryCall } from "./registry-client.ts";
import { type HttpAnswer, readAnswer } from "./transport/transport.ts";

/** Entries that are asked for at once. */
const pageCount = 1_000;
/** Entries of all pages together. */
const entriesMax = 100_000;

/** Reads all tags of a repository. */
export async function listTags(
  session: RegistrySession,
  target: { readonly reference: Reference; readonly call: RegistryCall },
): Promise<readonly string[]> {
  const { path } = target.reference;
  const tags = await readPages(session, {
    request: getRequest(`v2/${path}/tags/list?n=${pageCount}`, { scope: pullScope(path), target }),
    decode: decodeTags,
  });
  return tags.entries;
}

/**
 * Reads what names a manifest as its subject.
 *
 * @see OCI distribution-spec v1.1, "Listing Referrers", and "Referrers Tag Schema"
 */
export async function listReferrers(
  session: RegistrySession,
  target: {
    readonly reference: Reference;
    readonly call: RegistryCall;
    readonly digest: Digest;
    readonly artifactType?: string | undefined;
  },
): Promise<readonly Descriptor[]> {
  const { reference, digest, artifactType } = target;
  const query = artifactType === undefined ? "" : `?${new URLSearchParams({ artifactType })}`;
  const path = `v2/${reference.path}/referrers/${digest}${query}`;
  const request = getRequest(path, { scope: pullScope(reference.path), target });
  const pages = await readPages(session, {
    request: { ...request, headers: { accept: ociMediaTypes.index }, taken: [404, 405] },
    decode: (bytes) => decodeIndex(bytes).manifests,
  });
  const found = pages.isThere ? pages.entries : await referrersByTag(session, target);
  return found.filter((entry) => artifactType === undefined || entry.artifactType === artifactType);
}

/** The index under the tag that stands for a digest, where a registry has no referrers API. */
async function referrersByTag(
  session: RegistrySession,
  target: {
    readonly reference: Reference;
    readonly call: RegistryCall;
    readonly digest: Digest;
  },
): Promise<readonly Descriptor[]> {
  const { digest } = target;
  const tag = `${digestAlgorithm(digest).slice(0, 32)}-${digestHex(digest).slice(0, 64)}`;
  try {
    const reference = withTag(target.reference, tag);
    const { bytes } = await fetchManifest(session, { reference, call: target.call });
    return decodeIndex(bytes).manifests;
  } catch (error) {
    if (isKind(error, "not-found")) return [];
    throw error;
  }
}

/** Reads a list to its last page. `isThere` is false when the registry has no such list. */
export async function readPages<T>(
  session: RegistrySession,
  options: {
    readonly request: RegistryRequest;
    readonly decode: (bytes: Uint8Array) => readonly T[];
  },
): Promise<{ readonly isThere: boolean; readonly entries: readonly T[] }> {
  const entries: T[] = [];
  let request: RegistryRequest | undefined = options.request;
  for (let page = 0; request !== undefined; page += 1) {
    if (page === pagesMax || entries.length > entriesMax) {
      throw new EngineError("data-loss", "list of a registry: it does not end");
    }
    const answer: HttpAnswer = await session.send(request);
    if (answer.status >= 300) {
      answer.close();
      return { isThere: false, entries: [] };
    }
    const limits = { sizeMaxBytes: distributionDocumentMaxBytes, what: "list of a registry" };
    entries.push(...options.decode(await readAnswer(answer, limits)));
    const next = nextPage(answer, session);
    request = next === undefined ? undefined : { ...options.request, path: next };
  }
  return { isThere: true, entries };
}

/** A request that reads. */
export function getRequest(
  path: string,
  options: { readonly scope: string; readonly target: { readonly call: RegistryCall } },
): RegistryRequest {
  const { credentials, signal } = options.target.call;
  return { method: "GET", path, scopes: [options.scope], credentials, signal };
}

/** @see RFC 8288; the next page is one of the same registry, or there is none */
function nextPage(answer: HttpAnswer, session: RegistrySession): URL | undefined {
  const header = answer.header("link")?.slice(0, 8_192) ?? "";
  const target = /<([^<>]*)>\s*;[^,<]*\brel="?next"?/i.exec(header)?.[1];
  if (target === undefined) return undefined;
  const url = URL.parse(target, answer.url.href);
  return url !== null && url.origin === session.endpoint.url.origin ? url : undefined;
}
