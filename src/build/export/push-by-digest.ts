/** Sends an image or an index that no tag names, with all that it needs. */
import { EngineError } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import {
  decodeManifestOrIndex,
  isIndex,
  type Manifest,
  manifestSizeMaxBytes,
} from "../../oci/manifest.ts";
import { type Reference, withDigest } from "../../oci/reference.ts";
import type { RegistryCall } from "../../remote/registry-client.ts";
import type { BuildServiceOptions } from "../environment.ts";

/** An index names manifests, which name blobs. */
const depthMax = 2;

/** What is sent, and how. */
export interface DigestPush extends RegistryCall {
  readonly repository: Reference;
  /** A manifest or index; all its blobs are in the content store. */
  readonly top: Descriptor;
}

/** Sends it: blobs before manifests, manifests before their index. @throws what the registry says */
export async function pushByDigest(
  options: Pick<BuildServiceOptions, "registry" | "content">,
  push: DigestPush,
): Promise<void> {
  await send(options, push, 0);
}

async function send(
  options: Pick<BuildServiceOptions, "registry" | "content">,
  push: DigestPush,
  depth: number,
): Promise<void> {
  const { registry, content } = options;
  const { repository, top, ...call } = push;
  const bytes = await content.read(top.digest, { sizeMaxBytes: manifestSizeMaxBytes });
  const document = decodeManifestOrIndex(bytes);
  if (!isIndex(document)) await sendBlobs(options, push, document);
  else if (depth >= depthMax) {
    throw new EngineError("invalid-argument", `push ${top.digest}: an index of indexes`);
  } else {
    for (const each of document.manifests) await send(options, { ...push, top: each }, depth + 1);
  }
  const stored = await registry.pushManifest(withDigest(repository, top.digest), {
    ...call,
    mediaType: top.mediaType,
    bytes,
  });
  if (stored === top.digest) return;
  throw new EngineError("data-loss", `the registry stored ${top.digest} as ${stored}`);
}

async function sendBlobs(
  { registry, content }: Pick<BuildServiceOptions, "registry" | "content">,
  { repository, credentials, signal }: DigestPush,
  manifest: Manifest,
): Promise<void> {
  const call = {
    ...(credentials === undefined ? {} : { credentials }),
    ...(signal === undefined ? {} : { signal }),
  };
  for (const descriptor of [...manifest.layers, manifest.config]) {
    await registry.pushBlob(repository, {
      ...call,
      descriptor,
      open: (offset) => content.open(descriptor.digest, { offset }),
    });
  }
}
