import { linkSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Turns } from "../lib/concurrency/turn.ts";
import { codeOf, EngineError, messageOf } from "../lib/errors.ts";
import { createDigester, type Digest, digestAlgorithm, type Digester } from "../oci/digest.ts";
import type { BlobInfo, Ingest } from "./content-store.ts";

/** Bytes read at once when an ingest is taken up again. */
const resumeChunkBytes = 1024 * 1024;

/** What an ingest of files needs. */
export interface FileIngestOptions {
  readonly path: string;
  readonly blobPath: (digest: Digest) => string;
  /** Called once, when the write is over in whatever way: whether its file became the blob. */
  readonly released: (isKept: boolean) => void;
  readonly expected?: Digest;
  readonly sizeMaxBytes?: number;
  /** Keeps the bytes that an earlier write of this ref left. */
  readonly resume?: boolean;
}

/** An unfinished write as a file. */
export class FileIngest implements Ingest {
  readonly #options: FileIngestOptions;
  readonly #handle: FileHandle;
  readonly #digester: Digester;
  readonly #turns = new Turns();
  #sizeBytes = 0;
  #state: "open" | "failed" | "closed" = "open";
  #isKept = false;

  private constructor(options: FileIngestOptions, handle: FileHandle) {
    this.#options = options;
    this.#handle = handle;
    this.#digester = createDigester(options.expected);
  }

  static async open(options: FileIngestOptions): Promise<FileIngest> {
    const handle = await open(options.path, options.resume === true ? "a+" : "w+", 0o600);
    const ingest = new FileIngest(options, handle);
    try {
      if (options.resume === true) await ingest.#takeUp();
      return ingest;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#mustBeOpen();
    const { sizeMaxBytes } = this.#options;
    if (sizeMaxBytes !== undefined && this.#sizeBytes + bytes.byteLength > sizeMaxBytes) {
      this.#state = "failed";
      throw new EngineError("invalid-argument", `write blob: more than ${sizeMaxBytes} bytes`);
    }
    try {
      for (let at = 0; at < bytes.byteLength; ) {
        const { bytesWritten } = await this.#handle.write(bytes, at, bytes.byteLength - at, null);
        at += bytesWritten;
      }
    } catch (error) {
      this.#state = "failed";
      throw writeFailure(error);
    }
    this.#digester.update(bytes);
    this.#sizeBytes += bytes.byteLength;
    await this.#turns.moved(bytes.byteLength);
  }

  async commit(options: Parameters<Ingest["commit"]>[0] = {}): Promise<BlobInfo> {
    this.#mustBeOpen();
    this.#state = "failed";
    try {
      const expected = options.expected ?? this.#options.expected;
      const digest = await this.#digestLike(expected);
      if (expected !== undefined && digest !== expected) {
        throw new EngineError("data-loss", `write blob ${expected}: the bytes have ${digest}`);
      }
      options.hold?.(digest);
      return await this.#publish(digest, options.durable !== false);
    } catch (error) {
      throw writeFailure(error);
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }

  follow(): string {
    this.#mustBeOpen();
    const name = `${this.#options.path}.followed`;
    linkSync(this.#options.path, name);
    return name;
  }

  async suspend(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    try {
      await this.#handle.close();
    } finally {
      this.#options.released(this.#isKept);
    }
  }

  /** The digest of the bytes, with the algorithm of `expected` when there is one. */
  async #digestLike(expected: Digest | undefined): Promise<Digest> {
    const digest = this.#digester.digest();
    if (expected === undefined || digestAlgorithm(expected) === digestAlgorithm(digest)) {
      return digest;
    }
    const digester = createDigester(expected);
    await this.#readAll((bytes) => digester.update(bytes));
    return digester.digest();
  }

  async #publish(digest: Digest, durable: boolean): Promise<BlobInfo> {
    const path = this.#options.blobPath(digest);
    const blob: BlobInfo = { digest, sizeBytes: this.#sizeBytes, path };
    const present = await sizeOf(path);
    // A blob of another size is damaged, and replaced.
    if (present === this.#sizeBytes) return blob;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await this.#handle.chmod(0o444);
    if (durable) await this.#handle.sync();
    await rename(this.#options.path, path);
    this.#isKept = true;
    if (durable) await syncFolder(dirname(path));
    return blob;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    try {
      await this.#handle.close();
      await rm(this.#options.path, { force: true });
    } finally {
      this.#options.released(this.#isKept);
    }
  }

  async #takeUp(): Promise<void> {
    this.#sizeBytes = await this.#readAll((bytes) => this.#digester.update(bytes));
  }

  /** Passes on what is in the file; tells how many bytes. */
  async #readAll(pass: (bytes: Uint8Array) => void): Promise<number> {
    const chunk = new Uint8Array(resumeChunkBytes);
    for (let at = 0; ; ) {
      const { bytesRead } = await this.#handle.read(chunk, 0, chunk.length, at);
      if (bytesRead === 0) return at;
      pass(chunk.subarray(0, bytesRead));
      at += bytesRead;
    }
  }

  #mustBeOpen(): void {
    if (this.#state === "open") return;
    throw new EngineError("conflict", `write blob: the ingest is ${this.#state}`);
  }
}

/** Makes the names in a folder durable. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function writeFailure(error: unknown): unknown {
  if (error instanceof EngineError) return error;
  const isFull = codeOf(error) === "ENOSPC" || codeOf(error) === "EDQUOT";
  const reason = isFull ? "no space left on device" : messageOf(error);
  return new EngineError(isFull ? "unavailable" : "internal", `write blob: ${reason}`, {
    cause: error,
    details: { code: codeOf(error) },
  });
}
