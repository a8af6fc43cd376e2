/** Names that stand in the paths of the distribution API, and the paths themselves. */
import { type Digest, isDigest } from "../oci/digest.ts";
import { isTag, repositoryPathMaxLength } from "../oci/reference.ts";
import { refusal } from "./errors.ts";

// OCI distribution-spec v1.1, "Pulling manifests"
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryForm = new RegExp(`^${component}(?:/${component})*$`);

/** Tells whether `text` may name a repository. */
export function isRepositoryName(text: string): boolean {
  return text.length <= repositoryPathMaxLength && repositoryForm.test(text);
}

/** Checks the name of a repository. @throws NAME_INVALID */
export function parseRepositoryName(text: string): string {
  if (isRepositoryName(text)) return text;
  throw refusal("NAME_INVALID", { detail: { name: text.slice(0, repositoryPathMaxLength) } });
}

/** Checks a digest. @throws DIGEST_INVALID */
export function parseDigestName(text: string): Digest {
  if (isDigest(text)) return text;
  throw refusal("DIGEST_INVALID", {
    message: "not a digest of a known algorithm",
    detail: { digest: text.slice(0, 256) },
  });
}

/** What a manifest is asked for by. */
export type ManifestName =
  | { readonly kind: "tag"; readonly tag: string }
  | { readonly kind: "digest"; readonly digest: Digest };

/** Reads the last part of a manifest's path. @throws TAG_INVALID, DIGEST_INVALID */
export function parseManifestName(text: string): ManifestName {
  if (text.includes(":")) return { kind: "digest", digest: parseDigestName(text) };
  if (isTag(text)) return { kind: "tag", tag: text };
  throw refusal("TAG_INVALID", { message: "not a tag", detail: { tag: text.slice(0, 256) } });
}

/** What a path means. */
export type Target =
  | { readonly kind: "ping" | "catalog" | "root" | "token" | "metrics" }
  | { readonly kind: "tags" | "uploads"; readonly repository: string }
  | { readonly kind: "manifest"; readonly repository: string; readonly name: ManifestName }
  | { readonly kind: "blob" | "referrers"; readonly repository: string; readonly digest: Digest }
  | { readonly kind: "upload"; readonly repository: string; readonly id: string };

const uploadIdForm = /^[0-9a-f]{32}$/;
const fixedPaths: ReadonlyMap<
  string,
  Target["kind"] & ("ping" | "catalog" | "root" | "token" | "metrics")
> = new Map([
  ["/", "root"],
  ["/v2", "ping"],
  ["/v2/", "ping"],
  ["/v2/_catalog", "catalog"],
  ["/token", "token"],
  ["/metrics", "metrics"],
] as const);

/**
 * Reads a path, percent-encoded as it came. A repository's name may have slashes, and words like
 * `blobs` in it, so a path is read from its end.
 *
 * @returns undefined for what is no path of the API
 * @throws NAME_INVALID, DIGEST_INVALID, TAG_INVALID, BLOB_UPLOAD_UNKNOWN
 */
export function parsePath(encoded: string): Target | undefined {
  const path = decodePath(encoded);
  if (path === undefined) return undefined;
  const fixed = fixedPaths.get(path);
  if (fixed !== undefined) return { kind: fixed };
  if (!path.startsWith("/v2/")) return undefined;
  const parts = path.slice("/v2/".length).split("/");
  const last = parts.at(-1) ?? "";
  const before = parts.at(-2) ?? "";
  const third = parts.at(-3) ?? "";
  const nameUpTo = (count: number): string => parseRepositoryName(parts.slice(0, -count).join("/"));
  if (before === "tags" && last === "list") return { kind: "tags", repository: nameUpTo(2) };
  if (third === "blobs" && before === "uploads") {
    if (last === "") return { kind: "uploads", repository: nameUpTo(3) };
    const repository = nameUpTo(3);
    if (!uploadIdForm.test(last)) throw refusal("BLOB_UPLOAD_UNKNOWN");
    return { kind: "upload", repository, id: last };
  }
  if (before === "blobs" && last === "uploads") return { kind: "uploads", repository: nameUpTo(2) };
  if (before === "manifests") {
    return { kind: "manifest", repository: nameUpTo(2), name: parseManifestName(last) };
  }
  if (before === "blobs" || before === "referrers") {
    const repository = nameUpTo(2);
    const kind = before === "blobs" ? "blob" : "referrers";
    return { kind, repository, digest: parseDigestName(last) };
  }
  return undefined;
}

function decodePath(encoded: string): string | undefined {
  if (!encoded.includes("%")) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
