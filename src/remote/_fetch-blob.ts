import {
  type BlobInfo,
  type ContentStore,
  type Ingest,
  ingestRefOf,
} from "../content/content-store.ts";
import { gather } from "../lib/gather.ts";
import { EngineError, isKind, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Semaphore } from "../lib/concurrency/semaphore.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Reference } from "../oci/reference.ts";
import { withAttempts } from "./_attempts.ts";
import { pullScope } from "./_manifests.ts";
import type { RegistryReach } from "./session/registry-reach.ts";
import type { RegistrySession } from "./session/registry-session.ts";
import { takeTurn } from "./_turn.ts";
import type { Credentials, TransferProgress } from "./registry-client.ts";
import type { HttpAnswer } from "./transport/transport.ts";

/** A blob from this size on is written out while others come, also when the caller syncs them all at the end. */
const syncedMinBytes = 4 * 1024 * 1024;

/** What one fetch of a blob needs. */
export interface BlobFetchOptions {
  readonly reach: RegistryReach;
  readonly reference: Reference;
  readonly descriptor: Descriptor;
  readonly content: ContentStore;
  readonly credentials?: Credentials | undefined;
  readonly downloads: Semaphore;
  /** False when the caller syncs. */
  readonly durable: boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly progress: TransferProgress;
  /** Fires when another source of the blob can be asked instead of this one once more. */
  readonly rival?: AbortSignal;
}

/**
 * Brings a blob into the content store, in as many pieces as it takes.
 *
 * What has come stays when it is broken off, under a ref that tells the digest: the next fetch goes
 * on from there.
 */
export async function fetchBlob(options: BlobFetchOptions): Promise<BlobInfo> {
  const { descriptor, content, progress } = options;
  const totalBytes = descriptor.size;
  const present = content.find(descriptor.digest);
  if (present?.sizeBytes === totalBytes) {
    progress({ kind: "exists", currentBytes: totalBytes, totalBytes });
    return present;
  }
  progress({ kind: "waiting", currentBytes: 0, totalBytes });
  await using fetch = new BlobFetch(options);
  const blob = await fetch.run();
  progress({ kind: "done", currentBytes: totalBytes, totalBytes });
  return blob;
}

class BlobFetch implements AsyncDisposable {
  readonly #options: BlobFetchOptions;
  #ingest: Ingest | undefined;
  /** Some bytes came in an earlier piece. */
  #isPatched = false;
  /** Some bytes came from a mirror. */
  #isMirrored = false;
  /** No mirror is asked any more: one has lied. */
  #isOwnOnly = false;

  constructor(options: BlobFetchOptions) {
    this.#options = options;
  }

  async run(): Promise<BlobInfo> {
    const { reach, downloads, signal, progress, descriptor, logger, rival } = this.#options;
    await this.#open({ resume: true });
    return await withAttempts(
      async () => {
        await takeTurn((work) => downloads.run(work), {
          signal,
          work: async () => await this.#piece(),
        });
        return await this.#commit();
      },
      {
        limits: reach.limits,
        attemptsMax: reach.config.attemptsMax,
        signal,
        reached: () => this.#size,
        rival,
        onRetry: (error, delayMs) => {
          const { digest, size } = descriptor;
          logger.warn("a download broke off and is taken up again", {
            digest,
            atBytes: this.#size,
            delayMs,
            error: messageOf(error),
          });
          progress({
            kind: "retrying",
            currentBytes: this.#size,
            totalBytes: size,
            retryInS: Math.ceil(delayMs / 1000),
          });
        },
      },
    );
  }

  /** Lays aside what has come. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ingest?.suspend();
  }

  get #size(): number {
    return this.#ingest?.sizeBytes ?? 0;
  }

  get #isComplete(): boolean {
    return this.#size === this.#options.descriptor.size;
  }

  /** Receives as much as comes over one connection. */
  async #piece(): Promise<void> {
    if (this.#isComplete) return;
    const { reach, reference, descriptor, signal } = this.#options;
    try {
      await reach.withSession(reference.domain, {
        mirrors: !this.#isOwnOnly,
        signal,
        work: async (session) => await this.#ask(session),
      });
    } catch (error) {
      if (!isKind(error, "not-found") || (descriptor.urls ?? []).length === 0) throw error;
      // Docker: on Linux no URL of a manifest is followed, seen in 28.5; whoever writes it could
      // have the engine ask any host that it reaches.
      throw new EngineError(
        "not-found",
        `layer ${descriptor.digest} is foreign: the registry has only the URLs where it is said to be, and these are not followed`,
        { cause: error },
      );
    }
  }

  async #ask(session: RegistrySession): Promise<void> {
    if (this.#isComplete) return;
    const { reference, descriptor, credentials, signal } = this.#options;
    const answer = await session.send({
      method: "GET",
      path: `v2/${reference.path}/blobs/${descriptor.digest}`,
      headers: this.#range(),
      scopes: [pullScope(reference.path)],
      credentials,
      signal,
      taken: [416],
    });
    this.#isMirrored ||= session.endpoint.isMirror;
    await this.#receive(answer);
  }

  #range(): Record<string, string> {
    return this.#size === 0 ? {} : { range: `bytes=${this.#size}-` };
  }

  async #receive(answer: HttpAnswer): Promise<void> {
    const { descriptor, progress } = this.#options;
    const totalBytes = descriptor.size;
    try {
      await this.#agree(answer);
      const ingest = this.#ingest ?? (await this.#open({ resume: false }));
      progress({ kind: "transferring", currentBytes: ingest.sizeBytes, totalBytes });
      for await (const chunk of gather(answer.body())) {
        if (ingest.sizeBytes + chunk.byteLength > totalBytes) {
          throw this.#lie(`more than the ${totalBytes} bytes that its descriptor says`);
        }
        await this.#write(ingest, chunk);
        progress({ kind: "transferring", currentBytes: ingest.sizeBytes, totalBytes });
      }
    } finally {
      answer.close();
    }
    if (!this.#isComplete) throw broken(`blob ${descriptor.digest}: unexpected EOF`);
  }

  /** Holds the head of an answer against what was asked for; begins anew where it does not fit. */
  async #agree(answer: HttpAnswer): Promise<void> {
    const { size, digest } = this.#options.descriptor;
    const said = answer.header("content-length");
    if (answer.status === 416) {
      await this.#drop();
      throw broken(`blob ${digest}: the registry has no such range`);
    }
    if (answer.status === 206) {
      const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.header("content-range") ?? "");
      const isWanted =
        range !== null &&
        Number(range[1]) === this.#size &&
        Number(range[2]) < size &&
        (range[3] === "*" || Number(range[3]) === size);
      if (isWanted) return;
      await this.#drop();
      throw broken(`blob ${digest}: the registry sent another range than the one asked for`);
    }
    if (said !== undefined && Number(said) !== size) {
      throw this.#lie(`the registry says ${said} bytes, its descriptor says ${size}`);
    }
    // The registry knows no ranges: it begins anew, and so must this.
    if (this.#size > 0) await this.#drop();
  }

  async #write(ingest: Ingest, chunk: Uint8Array): Promise<void> {
    try {
      await ingest.write(chunk);
    } catch (error) {
      // A full disk gets back what it holds of this.
      await this.#drop();
      throw error;
    }
  }

  async #commit(): Promise<BlobInfo> {
    const ingest = this.#ingest ?? (await this.#open({ resume: false }));
    this.#ingest = undefined;
    try {
      const { durable, descriptor } = this.#options;
      return await ingest.commit({ durable: durable || descriptor.size >= syncedMinBytes });
    } catch (error) {
      if (!isKind(error, "data-loss")) throw error;
      const { digest } = this.#options.descriptor;
      const sentence = `filesystem layer verification failed for digest ${digest}`;
      const mayDoBetter = this.#isPatched || this.#isMirrored;
      if (!mayDoBetter) throw new EngineError("data-loss", sentence, { cause: error });
      // Pieces of different times may not fit together, a mirror may lie: once more, in one piece
      // and from the registry itself.
      this.#isOwnOnly ||= this.#isMirrored;
      this.#isPatched = false;
      this.#isMirrored = false;
      await this.#open({ resume: false });
      throw broken(sentence);
    }
  }

  async #open(options: { readonly resume: boolean }): Promise<Ingest> {
    const { content, descriptor } = this.#options;
    const { digest, size } = descriptor;
    const wanted = { ref: ingestRefOf(digest), expected: digest, sizeMaxBytes: size };
    let ingest = await content.ingest({ ...wanted, resume: options.resume });
    if (ingest.sizeBytes > size) {
      await ingest[Symbol.asyncDispose]();
      ingest = await content.ingest(wanted);
    }
    if (ingest.sizeBytes > 0) this.#isPatched = true;
    this.#ingest = ingest;
    return ingest;
  }

  async #drop(): Promise<void> {
    const ingest = this.#ingest;
    this.#ingest = undefined;
    this.#isPatched = false;
    await ingest?.[Symbol.asyncDispose]();
  }

  #lie(what: string): EngineError {
    const { digest } = this.#options.descriptor;
    return new EngineError("data-loss", `blob ${digest}: ${what}`);
  }
}

function broken(sentence: string): EngineError {
  return new EngineError("unavailable", sentence, { details: { isTransient: true } });
}
