/**
 * The documents that registries answer with, besides manifests. Pure; all hostile.
 *
 * @see OCI distribution-spec v1.1; Docker Registry HTTP API V2, token authentication; Hub's v1 search
 */
import { compact, decodeDocument, type Fields } from "./_json.ts";

/** One failure as a registry tells it. */
export interface DistributionFault {
  /** As `MANIFEST_UNKNOWN`. */
  readonly code: string;
  readonly message: string;
}

/** What a token server gives. */
export interface TokenDocument {
  readonly token?: string;
  readonly accessToken?: string;
  readonly refreshToken?: string;
  readonly expiresInS?: number;
}

/** One hit of a search. */
export interface SearchDocumentHit {
  readonly name: string;
  readonly description: string;
  readonly starCount: number;
  readonly isOfficial: boolean;
  readonly isAutomated: boolean;
}

/** What the head of a manifest says of its kind. */
export interface ManifestHead {
  readonly schemaVersion?: number;
  readonly mediaType?: string;
  readonly isIndex: boolean;
}

/** Largest document of this file; a page of tags is the largest there is. */
export const distributionDocumentMaxBytes: number = 4 * 1024 * 1024;

const limits = (what: string): { sizeMaxBytes: number; what: string } => ({
  sizeMaxBytes: distributionDocumentMaxBytes,
  what,
});

/** Decodes an error document: `errors`, or `details` as Hub's token server has it. */
export function decodeFaults(bytes: Uint8Array): {
  readonly faults: readonly DistributionFault[];
  readonly details?: string;
} {
  const fields = decodeDocument(bytes, limits("registry error"));
  const faults = (fields.objects("errors") ?? []).map((fault) => ({
    code: fault.text("code") ?? "UNKNOWN",
    message: fault.text("message") ?? "",
  }));
  const details = fields.raw("details");
  return typeof details === "string" && details !== "" ? { faults, details } : { faults };
}

/** Decodes the answer of a token server. */
export function decodeToken(bytes: Uint8Array): TokenDocument {
  const fields = decodeDocument(bytes, limits("token"));
  const expiresIn = fields.raw("expires_in");
  return compact({
    token: fields.text("token"),
    accessToken: fields.text("access_token"),
    refreshToken: fields.text("refresh_token"),
    expiresInS: typeof expiresIn === "number" && Number.isFinite(expiresIn) ? expiresIn : undefined,
  });
}

/** Decodes a page of tags. */
export function decodeTags(bytes: Uint8Array): readonly string[] {
  return decodeDocument(bytes, limits("tag list")).texts("tags") ?? [];
}

/** Decodes a page of the catalog. */
export function decodeCatalog(bytes: Uint8Array): readonly string[] {
  return decodeDocument(bytes, limits("catalog")).texts("repositories") ?? [];
}

/** Decodes the hits of a v1 search. */
export function decodeSearch(bytes: Uint8Array): readonly SearchDocumentHit[] {
  const hits = decodeDocument(bytes, limits("search result")).objects("results") ?? [];
  return hits.map((hit) => ({
    name: hit.mustText("name"),
    description: hit.text("description") ?? "",
    starCount: hit.integer("star_count") ?? 0,
    isOfficial: hit.flag("is_official") ?? false,
    isAutomated: hit.flag("is_automated") ?? false,
  }));
}

/** Reads of a manifest only what tells which kind it is. */
export function decodeManifestHead(bytes: Uint8Array): ManifestHead {
  const fields: Fields = decodeDocument(bytes, limits("manifest"));
  return compact({
    schemaVersion: fields.integer("schemaVersion"),
    mediaType: fields.text("mediaType"),
    isIndex: fields.has("manifests"),
  });
}
