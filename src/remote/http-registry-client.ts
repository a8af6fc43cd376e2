import type { BlobInfo } from "../content/content-store.ts";
import { EngineError } from "../lib/errors.ts";
import { KeyedMutex } from "../lib/concurrency/keyed-mutex.ts";
import type { Logger } from "../lib/log.ts";
import { Semaphore } from "../lib/concurrency/semaphore.ts";
import { formatReference, type Reference, referenceName } from "../oci/reference.ts";
import { withPatience } from "./_attempts.ts";
import { findBlobSize } from "./_blob-size.ts";
import { fetchBlob } from "./_fetch-blob.ts";
import { defaultLimits, type RemoteLimits } from "./transport/limits.ts";
import { listReferrers, listTags } from "./_listings.ts";
import { login } from "./_login.ts";
import { fetchManifest, pushManifest, resolveManifest } from "./_manifests.ts";
import { pushBlob } from "./_push-blob.ts";
import { pullFailure, pushFailure } from "./session/registry-fault.ts";
import { RegistryReach } from "./session/registry-reach.ts";
import type { RegistrySession } from "./session/registry-session.ts";
import { searchImages } from "./_search.ts";
import { SharedTransfers } from "./_shared-transfers.ts";
import { takeTurn } from "./_turn.ts";
import type { LookUp } from "./session/endpoints.ts";
import type { RegistryCall, RegistryClient, RegistryConfig } from "./registry-client.ts";

/** What a client of registries needs. */
export interface RegistryClientOptions {
  readonly config: RegistryConfig;
  readonly logger: Logger;
  /** Other limits than `defaultLimits`; for tests. */
  readonly limits?: Partial<RemoteLimits>;
  /** Finds the addresses of a host; the system's resolver when absent. */
  readonly lookUp?: LookUp;
  /** False when who has blobs fetched syncs them before a record names them; true when absent. */
  readonly durable?: boolean;
}

/** Opens the client of registries by HTTP. Nothing is asked yet. */
export function openRegistryClient(options: RegistryClientOptions): RegistryClient {
  return new HttpRegistryClient(options);
}

class HttpRegistryClient implements RegistryClient {
  readonly #options: RegistryClientOptions;
  readonly #closing = new AbortController();
  readonly #downloads = new SharedTransfers<BlobInfo>();
  readonly #uploads = new KeyedMutex();
  readonly #pushes = new Set<Promise<void>>();
  #reach: RegistryReach;
  #downloadPlaces: Semaphore;
  #uploadPlaces: Semaphore;

  constructor(options: RegistryClientOptions) {
    this.#options = options;
    this.#reach = this.#newReach(options.config);
    this.#downloadPlaces = places(options.config.downloadsMax);
    this.#uploadPlaces = places(options.config.uploadsMax);
  }

  configure(config: RegistryConfig): void {
    const before = this.#reach;
    this.#reach = this.#newReach(config);
    if (config.downloadsMax !== before.config.downloadsMax) {
      this.#downloadPlaces = places(config.downloadsMax);
    }
    if (config.uploadsMax !== before.config.uploadsMax) {
      this.#uploadPlaces = places(config.uploadsMax);
    }
    // Only idle connections end: what is under way ends as it began.
    before.close();
  }

  async resolve(reference: Reference, call: RegistryCall): ReturnType<RegistryClient["resolve"]> {
    return await this.#pull(
      reference,
      call,
      async (session, bound) => await resolveManifest(session, { reference, call: bound }),
    );
  }

  async fetchManifest(
    reference: Reference,
    call: RegistryCall,
  ): ReturnType<RegistryClient["fetchManifest"]> {
    return await this.#pull(
      reference,
      call,
      async (session, bound) => await fetchManifest(session, { reference, call: bound }),
    );
  }

  async findBlobSize(
    reference: Reference,
    options: Parameters<RegistryClient["findBlobSize"]>[1],
  ): Promise<number | undefined> {
    const { digest } = options;
    return await this.#pull(
      reference,
      options,
      async (session, call) => await findBlobSize(session, { reference, call, digest }),
    );
  }

  async fetchBlob(
    reference: Reference,
    options: Parameters<RegistryClient["fetchBlob"]>[1],
  ): Promise<BlobInfo> {
    const { descriptor, content, credentials, signal, progress } = options;
    if (this.#closing.signal.aborted) throw closed();
    try {
      return await this.#downloads.join(`${content.root}\n${descriptor.digest}`, {
        source: reference.domain,
        signal,
        progress,
        start: async (run) =>
          await fetchBlob({
            ...run,
            reach: this.#reach,
            reference,
            descriptor,
            content,
            credentials,
            downloads: this.#downloadPlaces,
            durable: this.#options.durable !== false,
            logger: this.#options.logger,
          }),
      });
    } catch (error) {
      throw pullFailure(error, reference);
    }
  }

  async pushBlob(
    reference: Reference,
    options: Parameters<RegistryClient["pushBlob"]>[1],
  ): Promise<void> {
    const { descriptor, open, mountFrom = [], credentials } = options;
    const { signal } = this.#bind(options);
    // Two pushes of one blob to one repository: the second finds that it is there.
    const key = `${referenceName(reference)}@${descriptor.digest}`;
    const work = async (): Promise<void> =>
      await pushBlob({
        reach: this.#reach,
        reference,
        descriptor,
        open,
        mountFrom,
        credentials,
        uploads: this.#uploadPlaces,
        logger: this.#options.logger,
        signal,
        progress: options.progress ?? (() => undefined),
      });
    const push = takeTurn((turn) => this.#uploads.run(key, turn), { signal, work });
    this.#pushes.add(push);
    try {
      await push;
    } catch (error) {
      throw pushFailure(error);
    } finally {
      this.#pushes.delete(push);
    }
  }

  async pushManifest(
    reference: Reference,
    options: Parameters<RegistryClient["pushManifest"]>[1],
  ): ReturnType<RegistryClient["pushManifest"]> {
    const call = this.#bind(options);
    try {
      return await this.#patiently(
        call.signal,
        async () =>
          await this.#reach.withSession(reference.domain, {
            mirrors: false,
            signal: call.signal,
            work: async (session) => await pushManifest(session, { ...options, reference, call }),
          }),
      );
    } catch (error) {
      throw pushFailure(error);
    }
  }

  async listTags(reference: Reference, call: RegistryCall): Promise<readonly string[]> {
    return await this.#pull(
      reference,
      call,
      async (session, bound) => await listTags(session, { reference, call: bound }),
    );
  }

  async listReferrers(
    reference: Reference,
    options: Parameters<RegistryClient["listReferrers"]>[1],
  ): ReturnType<RegistryClient["listReferrers"]> {
    const { digest, artifactType } = options;
    return await this.#pull(
      reference,
      options,
      async (session, call) =>
        await listReferrers(session, { reference, call, digest, artifactType }),
    );
  }

  async search(
    term: string,
    options: Parameters<RegistryClient["search"]>[1],
  ): ReturnType<RegistryClient["search"]> {
    const call = this.#bind(options);
    return await searchImages(this.#reach, { term, countMax: options.countMax, call });
  }

  async login(host: string, call: RegistryCall): ReturnType<RegistryClient["login"]> {
    return await login(this.#reach, { host, call: this.#bind(call) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(closed());
    await this.#downloads[Symbol.asyncDispose]();
    await Promise.allSettled(this.#pushes);
    this.#reach.close();
  }

  /** Reads from a registry or one of its mirrors; failures are told as those of a pull. */
  async #pull<T>(
    reference: Reference,
    call: RegistryCall,
    work: (session: RegistrySession, call: RegistryCall) => Promise<T>,
  ): Promise<T> {
    const bound = this.#bind(call);
    this.#options.logger.debug("a registry is asked", { reference: formatReference(reference) });
    try {
      return await this.#patiently(
        bound.signal,
        async () =>
          await this.#reach.withSession(reference.domain, {
            mirrors: true,
            signal: bound.signal,
            work: async (session) => await work(session, bound),
          }),
      );
    } catch (error) {
      throw pullFailure(error, reference);
    }
  }

  async #patiently<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    return await withPatience(ask, { limits: this.#reach.limits, signal });
  }

  /** The call, ended by the end of the client as well. */
  #bind(call: RegistryCall): RegistryCall & { readonly signal: AbortSignal } {
    const { credentials, signal } = call;
    if (this.#closing.signal.aborted) throw closed();
    const all = signal === undefined ? [] : [signal];
    return {
      ...(credentials === undefined ? {} : { credentials }),
      signal: AbortSignal.any([...all, this.#closing.signal]),
    };
  }

  #newReach(config: RegistryConfig): RegistryReach {
    const { logger, lookUp, limits } = this.#options;
    return new RegistryReach({ config, logger, lookUp, limits: { ...defaultLimits, ...limits } });
  }
}

// Docker: no bound when it is zero, see transferManager of its distribution package.
function places(countMax: number): Semaphore {
  return new Semaphore(countMax > 0 ? countMax : Number.POSITIVE_INFINITY);
}

function closed(): EngineError {
  return new EngineError("canceled", "the registry client is closed");
}
