import { EngineError } from "../lib/errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { createDigester, type Digest, digestOf, isDigest } from "../oci/digest.ts";
import { decodeManifestHead } from "../oci/distribution.ts";
import { manifestSizeMaxBytes } from "../oci/manifest.ts";
import {
  dockerMediaTypes,
  isIndexType,
  isManifestType,
  manifestAccept,
  ociMediaTypes,
} from "../oci/media-types.ts";
import { defaultTag, formatReference, type Reference } from "../oci/reference.ts";
import type { RegistryRequest, RegistrySession } from "./session/registry-session.ts";
import type { FetchedManifest, RegistryCall } from "./registry-client.ts";
import { type HttpAnswer, readAnswer } from "./transport/transport.ts";

const accept = [...manifestAccept, "application/json"].join(", ");
/** What servers say that do not know manifests. */
const vagueTypes: ReadonlySet<string> = new Set([
  "",
  "application/json",
  "application/octet-stream",
  "text/plain",
  "binary/octet-stream",
]);

/** What a token must allow to read a repository. */
export function pullScope(path: string): string {
  return `repository:${path}:pull`;
}

/** Asks what a reference names; by HEAD, or by the manifest itself where HEAD tells too little. */
export async function resolveManifest(
  session: RegistrySession,
  target: { readonly reference: Reference; readonly call: RegistryCall },
): Promise<Descriptor> {
  const answer = await session.send({
    ...requestOf("HEAD", target),
    // Whatever is wrong is told by the body, which HEAD has not.
    taken: [400, 403, 404, 405, 429, 501],
  });
  answer.close();
  const digest = answer.header("docker-content-digest") ?? "";
  const size = Number(answer.header("content-length") ?? "NaN");
  const mediaType = typeOf(answer);
  const { reference } = target;
  const isTold = isDigest(digest) && Number.isSafeInteger(size) && size > 0;
  const isKnown = isManifestType(mediaType) || isIndexType(mediaType);
  if (answer.status !== 200 || !isTold || !isKnown) {
    return (await fetchManifest(session, target)).descriptor;
  }
  if (reference.digest !== undefined && digest !== reference.digest) throw wrongDigest(reference);
  if (size > manifestSizeMaxBytes) throw tooLarge(reference);
  return { mediaType, digest, size };
}

/** Reads a manifest or an index, and checks it against all that is said of it. */
export async function fetchManifest(
  session: RegistrySession,
  target: { readonly reference: Reference; readonly call: RegistryCall },
): Promise<FetchedManifest> {
  const { reference } = target;
  const answer = await session.send(requestOf("GET", target));
  const what = `manifest of ${formatReference(reference)}`;
  const bytes = await readAnswer(answer, { sizeMaxBytes: manifestSizeMaxBytes, what });
  const digest = digestLike(bytes, reference.digest);
  if (reference.digest !== undefined && digest !== reference.digest) throw wrongDigest(reference);
  const said = answer.header("docker-content-digest") ?? "";
  if (isDigest(said) && digestLike(bytes, said) !== said) {
    throw new EngineError("data-loss", `manifest verification failed for digest ${said}`);
  }
  const mediaType = checkType(bytes, { said: typeOf(answer), reference });
  return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes };
}

/** Stores a manifest. @returns the digest it was stored under */
export async function pushManifest(
  session: RegistrySession,
  options: {
    readonly reference: Reference;
    readonly call: RegistryCall;
    readonly mediaType: string;
    readonly bytes: Uint8Array;
  },
): Promise<Digest> {
  const { reference, bytes, call } = options;
  if (bytes.byteLength > manifestSizeMaxBytes) throw tooLarge(reference);
  const digest = digestLike(bytes, reference.tag === undefined ? reference.digest : undefined);
  const answer = await session.send({
    method: "PUT",
    path: `v2/${reference.path}/manifests/${reference.tag ?? reference.digest ?? defaultTag}`,
    headers: { "content-type": options.mediaType },
    body: { sizeBytes: bytes.byteLength, open: () => [bytes] },
    scopes: [`repository:${reference.path}:pull,push`],
    credentials: call.credentials,
    signal: call.signal,
  });
  answer.close();
  const said = answer.header("docker-content-digest") ?? "";
  if (isDigest(said) && digestLike(bytes, said) !== said) {
    const sentence = `push ${formatReference(reference)}: the registry stored ${said}, not ${digest}`;
    throw new EngineError("data-loss", sentence);
  }
  return digest;
}

function requestOf(
  method: "GET" | "HEAD",
  target: { readonly reference: Reference; readonly call: RegistryCall },
): RegistryRequest {
  const { path, tag, digest } = target.reference;
  return {
    method,
    path: `v2/${path}/manifests/${digest ?? tag ?? defaultTag}`,
    headers: { accept },
    scopes: [pullScope(path)],
    credentials: target.call.credentials,
    signal: target.call.signal,
  };
}

/**
 * The media type that header and document agree on.
 *
 * They must not differ: one document would be an image to one reader and an index to another.
 *
 * @throws invalid-argument for schema 1, in Docker's words; data-loss when they differ
 */
function checkType(
  bytes: Uint8Array,
  options: { readonly said: string; readonly reference: Reference },
): string {
  const { said, reference } = options;
  if (said === dockerMediaTypes.manifestV1 || said === dockerMediaTypes.signedManifestV1) {
    throw schemaOne(reference);
  }
  const head = decodeManifestHead(bytes);
  if (head.schemaVersion === 1) throw schemaOne(reference);
  const guessed = head.isIndex ? ociMediaTypes.index : ociMediaTypes.manifest;
  const inside = head.mediaType ?? (vagueTypes.has(said) ? guessed : said);
  if (!vagueTypes.has(said) && said !== inside) {
    throw new EngineError(
      "data-loss",
      `manifest of ${formatReference(reference)}: its media type is ${JSON.stringify(inside)}, ` +
        `the registry says ${JSON.stringify(said)}`,
    );
  }
  if (isManifestType(inside) || isIndexType(inside)) return inside;
  throw new EngineError(
    "invalid-argument",
    `unsupported media type ${JSON.stringify(inside.slice(0, 256))}`,
  );
}

function schemaOne(reference: Reference): EngineError {
  return new EngineError(
    "invalid-argument",
    "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been " +
      `removed. Suggest the author of ${formatReference(reference)} to upgrade the image to the ` +
      "OCI Format or Docker Image manifest v2, schema 2. More information at " +
      "https://docs.docker.com/go/deprecated-image-specs/",
  );
}

function digestLike(bytes: Uint8Array, like: Digest | undefined): Digest {
  if (like === undefined) return digestOf(bytes);
  const digester = createDigester(like);
  digester.update(bytes);
  return digester.digest();
}

function typeOf(answer: HttpAnswer): string {
  const text = answer.header("content-type") ?? "";
  return (text.split(";")[0] ?? "").trim().toLowerCase();
}

function wrongDigest(reference: Reference): EngineError {
  const { digest } = reference;
  return new EngineError("data-loss", `manifest verification failed for digest ${digest}`);
}

function tooLarge(reference: Reference): EngineError {
  return new EngineError(
    "data-loss",
    `manifest of ${formatReference(reference)}: more than ${manifestSizeMaxBytes} bytes`,
  );
}
