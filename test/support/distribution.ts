/** The distribution API by plain requests, and small images to send through it. */
import { createHash } from "node:crypto";

/** An answer, read to its end. */
export interface DistributionAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Codes of the errors in the body. */
  readonly codes: readonly string[];
  /** Path and query of `Location`. */
  readonly location: string;
}

/** What goes with a request. */
export interface SendOptions {
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
}

const timeoutMs = 60_000;

/** Sends one request: `send("GET /v2/")`. */
export type Send = (line: string, options?: SendOptions) => Promise<DistributionAnswer>;

/** A way to send requests to one registry. */
export function openDistribution(
  url: string,
  fixed: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  } = {},
): Send {
  return async (line, options = {}) => {
    const [method = "GET", target = "/"] = line.split(" ");
    const { tls } = fixed;
    const response = await fetch(new URL(target, url), {
      method,
      headers: { ...fixed.headers, ...options.headers },
      redirect: "manual",
      signal: AbortSignal.timeout(timeoutMs),
      ...(options.body === undefined ? {} : { body: options.body }),
      ...(tls === undefined ? {} : { tls }),
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const text = new TextDecoder().decode(bytes);
    const location = new URL(response.headers.get("location") ?? "/", url);
    return {
      status: response.status,
      headers: response.headers,
      text,
      bytes,
      codes: codesOf(text),
      location: `${location.pathname}${location.search}`,
    };
  };
}

/** The sha256 digest of bytes. */
export function sha256(bytes: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A blob and its digest. */
export interface TestBlob {
  readonly bytes: Uint8Array;
  readonly digest: string;
}

/** A blob of a text. */
export function blobOf(text: string): TestBlob {
  return { bytes: new TextEncoder().encode(text), digest: sha256(text) };
}

/** Adds a query to a location, which may have one already. */
export function withQuery(location: string, query: string): string {
  return `${location}${location.includes("?") ? "&" : "?"}${query}`;
}

/** Pushes a blob in two requests, as every registry takes it. @returns the last answer */
export async function pushBlob(
  send: Send,
  repository: string,
  blob: TestBlob,
): Promise<DistributionAnswer> {
  const { location } = await send(`POST /v2/${repository}/blobs/uploads/`);
  return await send(`PUT ${withQuery(location, `digest=${blob.digest}`)}`, {
    body: blob.bytes,
    headers: { "Content-Type": "application/octet-stream" },
  });
}

/** Media types that tests send. */
export const types = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
  config: "application/vnd.oci.image.config.v1+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
} as const;

/** An image of one layer. */
export interface TestImage {
  readonly config: TestBlob;
  readonly layer: TestBlob;
  readonly manifest: TestBlob;
}

/** Makes an image; the same seed gives the same image. */
export function imageOf(seed: string, extra: Readonly<Record<string, unknown>> = {}): TestImage {
  const config = blobOf(JSON.stringify({ architecture: "amd64", os: "linux", seed }));
  const layer = blobOf(`layer of ${seed}`);
  const manifest = blobOf(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: { mediaType: types.config, digest: config.digest, size: config.bytes.length },
      layers: [{ mediaType: types.layer, digest: layer.digest, size: layer.bytes.length }],
      ...extra,
    }),
  );
  return { config, layer, manifest };
}

/** Pushes an image under a tag. @returns the answer to the manifest */
export async function pushImage(
  send: Send,
  target: { readonly repository: string; readonly tag: string },
  image: TestImage,
): Promise<DistributionAnswer> {
  await pushBlob(send, target.repository, image.config);
  await pushBlob(send, target.repository, image.layer);
  return await send(`PUT /v2/${target.repository}/manifests/${target.tag}`, {
    body: image.manifest.bytes,
    headers: { "Content-Type": types.manifest },
  });
}

function codesOf(text: string): readonly string[] {
  if (!text.startsWith('{"errors"')) return [];
  const document = JSON.parse(text) as { readonly errors: readonly { readonly code: string }[] };
  return document.errors.map(({ code }) => code);
}
