/** What registries have, asked through the engine; and signatures of images. */
import type { DistributionInspect, ImageSignatureItem, ImageSignatures } from "../api/image.ts";
import { decodeJson, pathSegment, type Transport } from "./transport.ts";

/** Credentials for the registry (`X-Registry-Auth`). */
type Headers = Readonly<Record<string, string>>;

/** A manifest's descriptor and platforms. @see Engine API v1.51, DistributionInspect */
export function inspectDistribution(
  transport: Transport,
  name: string,
  headers: Headers,
): Promise<DistributionInspect> {
  return transport.json(`GET /distribution/${pathSegment(name)}/json`, { headers });
}

/** All tags of a repository. Tug's own. */
export async function listTags(
  transport: Transport,
  name: string,
  headers: Headers,
): Promise<readonly string[]> {
  const answer = await transport.json<{ readonly Tags: readonly string[] }>(
    `GET /distribution/${pathSegment(name)}/tags`,
    { headers },
  );
  return answer.Tags;
}

/** A manifest or an index, byte for byte. Tug's own. */
export async function getManifest(
  transport: Transport,
  name: string,
  headers: Headers,
): Promise<{
  readonly descriptor: DistributionInspect["Descriptor"];
  readonly bytes: Uint8Array;
}> {
  const answer = await transport.json<{
    readonly Descriptor: DistributionInspect["Descriptor"];
    readonly Manifest: string;
  }>(`GET /distribution/${pathSegment(name)}/manifest`, { headers });
  return { descriptor: answer.Descriptor, bytes: Buffer.from(answer.Manifest, "base64") };
}

/**
 * Stores a manifest or an index; what it names may be brought from other repositories of the
 * registry. @returns its digest. Tug's own.
 */
export async function putManifest(
  transport: Transport,
  name: string,
  options: {
    readonly mediaType: string;
    readonly bytes: Uint8Array;
    readonly headers: Headers;
    readonly sources: readonly string[];
  },
): Promise<string> {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(options.bytes);
  }
  await using stream = await transport.stream(`PUT /distribution/${pathSegment(name)}/manifest`, {
    query: { from: options.sources },
    headers: options.headers,
    contentType: options.mediaType,
    upload: body(),
  });
  const parts: Uint8Array[] = [];
  for await (const part of stream.bytes()) parts.push(part);
  return decodeJson<{ readonly Digest: string }>(Buffer.concat(parts).toString("utf8")).Digest;
}

/** What of an image may be signed, and what is. Tug's own. */
export function imageSignatures(
  transport: Transport,
  image: string,
  options: {
    readonly headers: Headers;
    /** Packs layers, to know what a push will make. */
    readonly packs?: boolean;
  },
): Promise<ImageSignatures> {
  const { headers, packs } = options;
  const query = { pack: packs };
  return transport.json(`GET /images/${pathSegment(image)}/signatures`, { headers, query });
}

/** Adds a signature to an image. Tug's own. */
export async function addSignature(
  transport: Transport,
  image: string,
  options: {
    readonly signature: Pick<ImageSignatureItem, "Payload" | "Signature">;
    readonly headers: Headers;
  },
): Promise<void> {
  const { signature, headers } = options;
  await transport.send(`POST /images/${pathSegment(image)}/signatures`, {
    body: signature,
    headers,
  });
}
