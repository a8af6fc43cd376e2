import { existsSync, mkdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { chmod, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { Turns } from "../lib/concurrency/turn.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { createId } from "../lib/id.ts";
import type { Logger } from "../lib/log.ts";
import { toReadableStream } from "../lib/stream-limit.ts";
import { type Digest, digestAlgorithm, digestHex, digestOf } from "../oci/digest.ts";
import {
  decodeLayout,
  encodeLayout,
  findLayoutBlob,
  layoutBlobPath,
  layoutFile,
} from "../oci/layout.ts";
import { writeFileAtomic } from "../sys/fs/fs.ts";
import { FileIngest } from "./_file-ingest.ts";
import {
  type Arrival,
  type BlobInfo,
  type ContentStore,
  type Ingest,
  ingestKeepMs,
  ingestRefOf,
  type IngestOptions,
  isDigestRef,
} from "./content-store.ts";
import { verifyBytes } from "./verify.ts";

/** Bytes of one chunk of an opened blob. */
const readChunkBytes = 256 * 1024;

/** Longest name of an ingest. */
const refLengthMax = 128;

const algorithmNames = ["sha256", "sha384", "sha512"] as const;

/**
 * Opens the blobs of a data root: an OCI image layout, made when missing.
 *
 * @throws invalid-argument when the root is an image layout of another version
 */
export async function openContentStore(options: {
  readonly root: string;
  readonly logger: Logger;
}): Promise<ContentStore> {
  const { root } = options;
  for (const folder of ["ingest", "blobs/sha256"]) {
    mkdirSync(join(root, folder), { recursive: true, mode: 0o700 });
  }
  const marker = join(root, layoutFile);
  if (existsSync(marker)) decodeLayout(readFileSync(marker));
  else writeFileAtomic(marker, encodeLayout());
  return new LocalContentStore(root, options.logger);
}

interface OpenIngest extends Omit<Arrival, "blobPath"> {
  /** The file is there. */
  isReady: boolean;
}

class LocalContentStore implements ContentStore {
  readonly root: string;
  readonly #logger: Logger;
  /** Ingests that are held open, by name. */
  readonly #open = new Map<string, OpenIngest>();
  #putCount = 0;

  constructor(root: string, logger: Logger) {
    this.root = root;
    this.#logger = logger;
  }

  find(digest: Digest): BlobInfo | undefined {
    const path = this.#path(digest);
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() ? { digest, sizeBytes: found.size, path } : undefined;
  }

  get(digest: Digest): BlobInfo {
    const blob = this.find(digest);
    if (blob === undefined) throw missing(digest);
    return blob;
  }

  open(
    digest: Digest,
    range: { readonly offset: number; readonly length?: number } = { offset: 0 },
  ): ReadableStream<Uint8Array> {
    const { path, sizeBytes } = this.get(digest);
    const { offset, length = sizeBytes - offset } = range;
    if (offset < 0 || length < 0 || offset + length > sizeBytes) {
      throw new EngineError(
        "invalid-argument",
        `open blob ${digest}: bytes ${offset} to ${offset + length} of ${sizeBytes}`,
      );
    }
    return toReadableStream(readRange(path, { digest, offset, end: offset + length }));
  }

  async read(digest: Digest, options: { readonly sizeMaxBytes: number }): Promise<Uint8Array> {
    const { path, sizeBytes } = this.get(digest);
    if (sizeBytes > options.sizeMaxBytes) {
      throw new EngineError(
        "data-loss",
        `read blob ${digest}: ${sizeBytes} bytes, at most ${options.sizeMaxBytes} are allowed`,
      );
    }
    const bytes = await readFile(path);
    try {
      verifyBytes(bytes, { digest });
    } catch (error) {
      await this.#quarantine(digest);
      throw error;
    }
    return bytes;
  }

  async ingest(options: IngestOptions): Promise<Ingest> {
    const { ref } = options;
    if (ref.length > refLengthMax || !/^[a-z0-9][a-z0-9._-]*$/.test(ref)) {
      throw new EngineError("invalid-argument", `begin ingest ${JSON.stringify(ref)}: not a name`);
    }
    if (this.#open.has(ref)) {
      throw new EngineError("unavailable", `begin ingest ${ref}: it is being written already`);
    }
    const path = join(this.root, "ingest", ref);
    const kept = Promise.withResolvers<boolean>();
    const open: OpenIngest = { path, isReady: false, isKept: kept.promise };
    this.#open.set(ref, open);
    const released = (isKept: boolean): void => {
      this.#open.delete(ref);
      kept.resolve(isKept);
    };
    try {
      const blobPath = (digest: Digest): string => this.#path(digest);
      const ingest = await FileIngest.open({ ...options, path, blobPath, released });
      open.isReady = true;
      return ingest;
    } catch (error) {
      released(false);
      throw error;
    }
  }

  findArrival(digest: Digest): Arrival | undefined {
    const open = this.#open.get(ingestRefOf(digest));
    if (open?.isReady !== true) return undefined;
    return { path: open.path, blobPath: this.#path(digest), isKept: open.isKept };
  }

  async put(
    bytes: Uint8Array,
    options: Parameters<ContentStore["put"]>[1] = {},
  ): Promise<BlobInfo> {
    const digest = digestOf(bytes);
    options.hold?.(digest);
    const present = this.find(digest);
    if (present?.sizeBytes === bytes.byteLength) return present;
    this.#putCount += 1;
    await using ingest = await this.ingest({
      ref: `put-${digestHex(digest).slice(0, 32)}-${this.#putCount}`,
      expected: digest,
    });
    await ingest.write(bytes);
    return await ingest.commit({ durable: options.durable !== false });
  }

  async list(): Promise<readonly BlobInfo[]> {
    const blobs: BlobInfo[] = [];
    for (const algorithm of algorithmNames) {
      for (const name of await namesIn(join(this.root, "blobs", algorithm))) {
        const digest = findLayoutBlob(`blobs/${algorithm}/${name}`);
        const blob = digest === undefined ? undefined : this.find(digest);
        if (blob !== undefined) blobs.push(blob);
      }
    }
    return blobs;
  }

  async remove(digest: Digest): Promise<boolean> {
    // To free a large file takes time, in which it would still be found.
    const aside = join(this.root, "ingest", `removed-${createId()}`);
    try {
      renameSync(this.#path(digest), aside);
      await rm(aside, { force: true });
      return true;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw new EngineError("internal", `remove blob ${digest}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async takeBack(digest: Digest): Promise<void> {
    const { path } = this.get(digest);
    await chmod(path, 0o600);
    await rename(path, join(this.root, "ingest", ingestRefOf(digest)));
  }

  async sweep(
    options: { readonly keep?: ReadonlySet<string>; readonly keepMs?: number } = {},
  ): Promise<number> {
    const folder = join(this.root, "ingest");
    const { keep, keepMs = ingestKeepMs } = options;
    let removedCount = 0;
    for (const ref of await namesIn(folder)) {
      const path = join(folder, ref);
      const isKept = this.#open.has(ref) || keep?.has(ref) === true;
      if (isKept || (isDigestRef(ref) && isYounger(path, keepMs))) continue;
      await rm(path, { recursive: true, force: true });
      removedCount += 1;
    }
    return removedCount;
  }

  async #quarantine(digest: Digest): Promise<void> {
    const folder = join(this.root, "blobs", "damaged");
    const name = `${digestAlgorithm(digest)}-${digestHex(digest)}-${Date.now()}`;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(this.#path(digest), join(folder, name));
    this.#logger.error("a blob was damaged and is kept aside", {
      digest,
      path: join(folder, name),
    });
  }

  #path(digest: Digest): string {
    return join(this.root, layoutBlobPath(digest));
  }
}

async function* readRange(
  path: string,
  range: { readonly digest: Digest; readonly offset: number; readonly end: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  await using file = await open(path, "r");
  const turns = new Turns();
  for (let at = range.offset; at < range.end; ) {
    const chunk = new Uint8Array(Math.min(readChunkBytes, range.end - at));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
    if (bytesRead === 0) {
      throw new EngineError("data-loss", `read blob ${range.digest}: it became shorter`);
    }
    at += bytesRead;
    yield chunk.subarray(0, bytesRead);
    await turns.moved(bytesRead);
  }
}

/** Whether a file was written in the last `ageMs`; a time in the future counts as an old one. */
function isYounger(path: string, ageMs: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || !found.isFile()) return false;
  const age = Date.now() - found.mtimeMs;
  return age < ageMs && age > -ageMs;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

function missing(digest: Digest): EngineError {
  return new EngineError("not-found", `blob ${digest} does not exist`);
}
