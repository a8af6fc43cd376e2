/**
 * Reads an archive of images into the content store: docker-archive of any Docker version, OCI
 * layout, or both in one tar, packed or not. Nothing is an image yet when it returns.
 */
import { blobHolder } from "../hold-image.ts";
import { posix } from "node:path";
import type { ContentStore, Ingest } from "../../content/content-store.ts";
import {
  decompress,
  detectCompression,
  detectionSizeBytes,
} from "../../lib/compression/compression.ts";
import type { EarlyLayers } from "./_early-layers.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { gather } from "../../lib/gather.ts";
import { createId } from "../../lib/id.ts";
import type { ByteSource } from "../../lib/stream-limit.ts";
import { type TarEntry, tarEntries } from "../../lib/tar/tar-entries.ts";
import { decodeByteString } from "../../lib/tar/tar-header.ts";
import type { Leases } from "../../metadata/leases.ts";
import type { Digest } from "../../oci/digest.ts";
import {
  archiveManifestFile,
  archiveManifestMaxBytes,
  archiveRepositoriesFile,
} from "../../oci/docker-archive.ts";
import { findLayoutBlob, layoutFile, layoutIndexFile } from "../../oci/layout.ts";

/** Bytes of an archive that are read at most. */
const archiveSizeMaxBytes = 256 * 1024 ** 3;
/** Files of an archive that are kept at most. */
const fileCountMax = 20_000;
const linkDepthMax = 16;

/** Files that describe others; kept in memory, all others are blobs. */
const documentNames: ReadonlySet<string> = new Set([
  archiveManifestFile,
  archiveRepositoriesFile,
  layoutFile,
  layoutIndexFile,
]);

/** What was read. */
export interface LoadedArchive {
  /** manifest.json, index.json, …: content by name. */
  readonly documents: ReadonlyMap<string, Uint8Array>;
  /** Of its files, the documents left out. */
  readonly paths: readonly string[];
  /** The blob of a file, links followed. @throws invalid-argument when the archive lacks it */
  blobOf(path: string): Digest;
  /** Whether it is there. */
  has(path: string): boolean;
}

/** Where blobs go, and the lease that keeps them until images hold them. */
export interface LoadTarget {
  readonly content: ContentStore;
  readonly leases: Leases;
  readonly leaseId: string;
  readonly signal?: AbortSignal;
  /** Told of each file that may be a layer, while it is read. */
  readonly early?: EarlyLayers;
}

/** Reads the archive to its end. @throws invalid-argument for a malformed or hostile archive */
export async function readArchive(archive: ByteSource, target: LoadTarget): Promise<LoadedArchive> {
  const documents = new Map<string, Uint8Array>();
  const blobs = new Map<string, Digest>();
  const links = new Map<string, string>();
  for await (const entry of tarEntries(decompress(archive), {
    sizeMaxBytes: archiveSizeMaxBytes,
  })) {
    target.signal?.throwIfAborted();
    const path = entryPath(entry);
    if (path === undefined) continue;
    const { type, linkName } = entry.header;
    if (type === "symlink" || type === "hardlink") {
      links.set(path, linkPath(path, { type, target: decodeByteString(linkName) }));
    } else if (type === "file" && documentNames.has(path)) {
      documents.set(path, await readDocument(entry, path));
    } else if (type === "file") {
      blobs.set(path, await storeBlob(entry, { path, target }));
    }
    if (blobs.size + links.size > fileCountMax) {
      throw new EngineError("invalid-argument", `the archive has more than ${fileCountMax} files`);
    }
  }
  return archiveOf({ documents, blobs, links });
}

function archiveOf(parts: {
  readonly documents: ReadonlyMap<string, Uint8Array>;
  readonly blobs: ReadonlyMap<string, Digest>;
  readonly links: ReadonlyMap<string, string>;
}): LoadedArchive {
  const find = (path: string): Digest | undefined => {
    let at = posix.normalize(path);
    for (let depth = 0; depth < linkDepthMax; depth += 1) {
      const blob = parts.blobs.get(at);
      if (blob !== undefined) return blob;
      const next = parts.links.get(at);
      if (next === undefined) return undefined;
      at = next;
    }
    return undefined;
  };
  return {
    documents: parts.documents,
    paths: [...parts.blobs.keys()],
    has: (path) => find(path) !== undefined,
    blobOf: (path) => {
      const blob = find(path);
      if (blob === undefined) {
        throw new EngineError(
          "invalid-argument",
          `the archive lacks the file ${JSON.stringify(path)}`,
        );
      }
      return blob;
    },
  };
}

/** The entry's path, normalised; undefined for the root. @throws invalid-argument when it leaves it */
function entryPath(entry: TarEntry): string | undefined {
  const name = decodeByteString(entry.header.name);
  const path = posix.normalize(name.replace(/^\/+/, "")).replace(/\/$/, "");
  if (path === ".." || path.startsWith("../")) {
    throw new EngineError(
      "invalid-argument",
      `the archive entry ${JSON.stringify(name)} points outside of the archive`,
    );
  }
  return path === "." || path === "" ? undefined : path;
}

function linkPath(
  path: string,
  link: { readonly type: "symlink" | "hardlink"; readonly target: string },
): string {
  const joined =
    link.type === "symlink" ? posix.join(posix.dirname(path), link.target) : link.target;
  const target = posix.normalize(joined.replace(/^\/+/, ""));
  if (target === ".." || target.startsWith("../")) {
    throw new EngineError(
      "invalid-argument",
      `the archive's link ${JSON.stringify(path)} points outside of the archive`,
    );
  }
  return target;
}

async function readDocument(entry: TarEntry, path: string): Promise<Uint8Array> {
  if (entry.header.sizeBytes > archiveManifestMaxBytes) {
    throw new EngineError(
      "invalid-argument",
      `${path} is larger than ${archiveManifestMaxBytes} bytes`,
    );
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of entry.content) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

async function storeBlob(
  entry: TarEntry,
  { path, target }: { readonly path: string; readonly target: LoadTarget },
): Promise<Digest> {
  const expected = findLayoutBlob(path);
  const hold = blobHolder(target, target.leaseId);
  await using ingest = await target.content.ingest({
    ref: `load-${createId().slice(0, 16)}`,
    ...(expected === undefined ? {} : { expected }),
  });
  const isHere = expected !== undefined && target.content.find(expected) !== undefined;
  const { sizeBytes } = entry.header;
  const arrived = isHere ? undefined : target.early?.begin(ingest, { sizeBytes });
  let digest: Digest | undefined;
  try {
    for await (const chunk of gather(entry.content)) await ingest.write(chunk);
    digest = await commitBlob(ingest, { path, hold });
  } finally {
    arrived?.(digest);
  }
  return digest;
}

/** @throws invalid-argument for a file that is named for other bytes: its maker's fault, not the disk's */
async function commitBlob(
  ingest: Ingest,
  { path, hold }: { readonly path: string; readonly hold: (digest: Digest) => void },
): Promise<Digest> {
  try {
    return (await ingest.commit({ durable: false, hold })).digest;
  } catch (error) {
    if (!isKind(error, "data-loss")) throw error;
    const what = `the archive's file ${JSON.stringify(path)} is not what it is named`;
    throw new EngineError("invalid-argument", `${what}: ${error.message}`, { cause: error });
  }
}

/** What a blob is packed with, by its first bytes. */
export async function compressionOf(
  content: ContentStore,
  digest: Digest,
): Promise<ReturnType<typeof detectCompression>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content.open(digest, { offset: 0, length: detectionSizeBytes })) {
    chunks.push(chunk);
  }
  return detectCompression(Buffer.concat(chunks));
}
