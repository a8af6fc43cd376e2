import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openContentStore } from "../../content/local-content-store.ts";
import { silentLogger } from "../../lib/log.ts";
import { openMetadata } from "../../metadata/sqlite-metadata.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { digestOf } from "../../oci/digest.ts";
import { decodeManifest, encodeManifest } from "../../oci/manifest.ts";
import { ociMediaTypes } from "../../oci/media-types.ts";
import { parseReference } from "../../oci/reference.ts";
import {
  encodePayload,
  type ImageSignature,
  signatureAnnotation,
  signaturesMax,
  signatureTag,
  simpleSigningType,
} from "../../oci/simple-signing.ts";
import { makeMemoryRegistry, type MemoryRegistry } from "../distribution/memory-registry.ts";
import { openSignatureStore, type SignatureStore } from "./signatures.ts";

const digest = digestOf("manifest");
const name = "reg.test/team/web";
const repository = parseReference(name);
let root: string;
let registry: MemoryRegistry;
let store: SignatureStore;
let close: () => void;

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "tug-signatures-"));
  const logger = silentLogger;
  const metadata = openMetadata({ path: join(root, "metadata.db"), logger });
  const content = await openContentStore({ root: join(root, "content"), logger });
  registry = makeMemoryRegistry();
  store = openSignatureStore({ metadata, content, registries: registry, logger });
  close = () => metadata[Symbol.dispose]();
});
afterEach(() => {
  close();
  rmSync(root, { recursive: true, force: true });
});

function signature(count: number): ImageSignature {
  const options = { reference: name, manifestDigest: digest };
  const payload = encodePayload(options, { count: String(count) });
  return { payload, signature: Buffer.from(`signature ${count}`).toString("base64") };
}

function layerOf(count: number, annotations: Readonly<Record<string, string>> = {}): Descriptor {
  const { payload, signature: text } = signature(count);
  registry.repository(name).blobs.set(digestOf(payload), payload);
  return {
    mediaType: simpleSigningType,
    digest: digestOf(payload),
    size: payload.length,
    annotations: { [signatureAnnotation]: text, ...annotations },
  };
}

/** Puts layers where the signatures of the image are. */
function publish(layers: readonly Descriptor[]): void {
  const config = { mediaType: ociMediaTypes.config, digest: digestOf("{}"), size: 2 };
  const mediaType = ociMediaTypes.manifest;
  const bytes = encodeManifest({ schemaVersion: 2, mediaType, config, layers });
  const put = registry.putDocument(name, mediaType, bytes);
  registry.putTag(`${name}:${signatureTag(digest)}`, put.digest);
}

function published(): readonly Descriptor[] {
  const { tags, manifests } = registry.repository(name);
  const document = manifests.get(tags.get(signatureTag(digest)) ?? "");
  return document === undefined ? [] : decodeManifest(document.bytes).layers;
}

const kept = (): readonly string[] => store.list(digest).map((one) => one.signature);
const pushes = (): number =>
  registry.requests.filter((request) => request.startsWith("push ")).length;

describe("the signatures of a data root", () => {
  test("that a registry has are kept once", async () => {
    publish([layerOf(1), layerOf(2)]);
    for (const _ of [1, 2]) await store.fetch(repository, { digest });
    expect(kept()).toEqual([signature(1).signature, signature(2).signature]);
  });

  test("of too many the newest are looked at and kept", async () => {
    const layers = Array.from({ length: 100 }, (_, count) => layerOf(count));
    publish(layers.slice(0, 80));
    await store.fetch(repository, { digest });
    expect(kept().at(-1)).toBe(signature(79).signature);
    publish(layers);
    const found = await store.fetch(repository, { digest });
    expect(found.at(-1)?.signature).toBe(signature(99).signature);
    expect(kept()).toHaveLength(signaturesMax);
    expect(kept().at(-1)).toBe(signature(99).signature);
    expect(() => store.add(digest, [signature(150)])).toThrow("more than 64 signatures");
  });

  test("go to a registry beside those of others, which stay as they are", async () => {
    const others = Array.from({ length: 70 }, (_, count) =>
      layerOf(count, { "dev.sigstore.cosign/certificate": `certificate ${count}` }),
    );
    publish(others);
    store.add(digest, [signature(3), signature(101)]);
    await store.push(repository, { digest });
    expect(published()).toEqual([...others, layerOf(101)]);
    // Our document, the config, the manifest.
    expect(pushes()).toBe(3);
    await store.push(repository, { digest });
    expect(pushes()).toBe(3);
  });
});
