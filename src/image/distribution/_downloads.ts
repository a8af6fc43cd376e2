/**
 * The transfers of one pull: side by side, each digest once.
 */
import { verifyStream } from "../../content/verify.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Reference } from "../../oci/reference.ts";
import type {
  RegistryCall,
  RegistryClient,
  TransferProgress,
} from "../../remote/registry-client.ts";
import type { LayerReport } from "./layer-report.ts";
import type { ImageContext } from "../context.ts";

/** Where blobs come from, and the lease that keeps them. */
export interface DownloadSource extends RegistryCall {
  readonly registry: RegistryClient;
  readonly reference: Reference;
  readonly leaseId: string;
}

/** The transfers of one pull. Each digest is fetched once, whatever the number of layers it is. */
export class Downloads {
  readonly #context: ImageContext;
  readonly #fetch: DownloadSource;
  readonly #stop: AbortController = new AbortController();
  readonly #running = new Map<Digest, Promise<void>>();
  readonly #begun = new Map<Digest, PromiseWithResolvers<void>>();
  readonly #here = new Set<Digest>();
  /** Why the pull ends; later failures come of it. */
  firstFailure: unknown;
  readonly signal: AbortSignal;

  constructor(context: ImageContext, fetch: DownloadSource) {
    this.#context = context;
    this.#fetch = fetch;
    const { signal } = this.#stop;
    this.signal = fetch.signal === undefined ? signal : AbortSignal.any([signal, fetch.signal]);
  }

  /** Begins a transfer; a failure of it stops the others. */
  start(descriptor: Descriptor, report?: LayerReport): void {
    const { digest } = descriptor;
    const before = this.#running.get(digest);
    if (before === undefined) this.#begun.set(digest, Promise.withResolvers());
    const work =
      before === undefined
        ? this.#bring(descriptor, report)
        : before.then(() => report?.status("Download complete"));
    if (before !== undefined) {
      work.catch(() => undefined);
      return;
    }
    work
      .catch((error: unknown) => {
        this.firstFailure ??= error;
        this.#stop.abort();
      })
      .finally(() => this.#begun.get(digest)?.resolve());
    this.#running.set(digest, work);
  }

  /** Resolves when bytes of a blob come, and when none will. */
  async begun(digest: Digest): Promise<void> {
    await this.#begun.get(digest)?.promise;
  }

  async wait(digest: Digest): Promise<void> {
    await this.#running.get(digest);
  }

  /** Whether the blob was here before. */
  wasHere(digest: Digest): boolean {
    return this.#here.has(digest);
  }

  /** Fetches a blob that is here but damaged. */
  async repeat(descriptor: Descriptor): Promise<void> {
    const { content, logger } = this.#context;
    logger.warn("a stored blob is damaged: it is fetched anew", { digest: descriptor.digest });
    await content.remove(descriptor.digest);
    this.#here.delete(descriptor.digest);
    await this.#bring(descriptor);
  }

  /** Ends all transfers and waits for them. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running.values());
  }

  async #bring(descriptor: Descriptor, report?: LayerReport): Promise<void> {
    const { content, leases } = this.#context;
    const { registry, reference, credentials, leaseId } = this.#fetch;
    const { digest, size } = descriptor;
    const present = content.find(digest);
    leases.add(leaseId, `content:${digest}`);
    if (present?.sizeBytes === size) {
      this.#here.add(digest);
      report?.status("Download complete");
      return;
    }
    if (present !== undefined) await this.#settleSize(descriptor);
    const blob = await registry
      .fetchBlob(reference, {
        descriptor,
        content,
        signal: this.signal,
        ...(credentials === undefined ? {} : { credentials }),
        progress: (state) => {
          if (state.kind === "transferring") this.#begun.get(digest)?.resolve();
          if (report !== undefined) tell(report, state);
        },
      })
      .finally(() => report?.end());
    if (blob.sizeBytes !== size) throw wrongSize(descriptor, blob.sizeBytes);
    report?.status("Verifying Checksum");
    report?.status("Download complete");
  }

  /** The blob here has another size: either it is damaged, or the manifest lies. */
  async #settleSize(descriptor: Descriptor): Promise<void> {
    const { content } = this.#context;
    const blob = content.get(descriptor.digest);
    if (await isIntact(this.#context, descriptor)) throw wrongSize(descriptor, blob.sizeBytes);
    await content.remove(descriptor.digest);
  }
}

function tell(report: LayerReport, state: Parameters<TransferProgress>[0]): void {
  const passed = { current: state.currentBytes, total: state.totalBytes };
  if (state.kind === "waiting") report.waiting();
  if (state.kind === "transferring") report.bytes("Downloading", passed);
  if (state.kind === "retrying") report.retrying(state.retryInS ?? 1);
}

/** Whether a stored blob has the digest that it goes by. */
export async function isIntact(
  { content }: ImageContext,
  { digest }: Descriptor,
): Promise<boolean> {
  try {
    for await (const _ of verifyStream(content.open(digest), { digest }));
    return true;
  } catch (error) {
    if (isKind(error, "data-loss", "not-found")) return false;
    throw error;
  }
}

function wrongSize({ digest, size }: Descriptor, foundBytes: number): EngineError {
  return new EngineError(
    "data-loss",
    `the manifest says that ${digest} has ${size} bytes, it has ${foundBytes}`,
  );
}
