import { EngineError, isKind, messageOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Semaphore } from "../lib/concurrency/semaphore.ts";
import { withProgress } from "../lib/stream-limit.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import { isDigest } from "../oci/digest.ts";
import type { Reference } from "../oci/reference.ts";
import { withAttempts } from "./_attempts.ts";
import { requestFailure } from "./transport/connection-failure.ts";
import type { RegistryReach } from "./session/registry-reach.ts";
import type { RegistryRequest, RegistrySession } from "./session/registry-session.ts";
import { takeTurn } from "./_turn.ts";
import type { Credentials, TransferProgress } from "./registry-client.ts";
import type { HttpAnswer } from "./transport/transport.ts";

/** What one push of a blob needs. */
export interface BlobPushOptions {
  readonly reach: RegistryReach;
  readonly reference: Reference;
  readonly descriptor: Descriptor;
  readonly open: (offset: number) => ReadableStream<Uint8Array>;
  readonly mountFrom: readonly string[];
  readonly credentials?: Credentials | undefined;
  readonly uploads: Semaphore;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
  readonly progress: TransferProgress;
}

/** Repositories that are tried as the source of a mount. */
const mountsMax = 4;

/** Brings a blob into a repository: it is there, or is mounted, or is sent. */
export async function pushBlob(options: BlobPushOptions): Promise<void> {
  const { reach, descriptor, progress, uploads, signal } = options;
  const totalBytes = descriptor.size;
  progress({ kind: "waiting", currentBytes: 0, totalBytes });
  const push = new BlobPush(options);
  await withAttempts(
    async () => {
      await takeTurn((work) => uploads.run(work), {
        signal,
        work: async () => {
          await reach.withSession(options.reference.domain, {
            mirrors: false,
            signal,
            work: async (session) => await push.run(session),
          });
        },
      });
    },
    {
      limits: reach.limits,
      attemptsMax: reach.config.attemptsMax,
      signal,
      reached: () => push.reachedBytes,
      onRetry: (error, delayMs) => {
        options.logger.warn("an upload broke off and is taken up again", {
          digest: descriptor.digest,
          delayMs,
          error: messageOf(error),
        });
        const retryInS = Math.ceil(delayMs / 1000);
        progress({ kind: "retrying", currentBytes: push.reachedBytes, totalBytes, retryInS });
      },
    },
  );
}

class BlobPush {
  readonly #options: BlobPushOptions;
  readonly #base: string;
  /** Where the upload that is under way goes on. */
  #location: URL | undefined;
  #isChecked = false;
  /** Whether bytes of this upload are on their way or lost. */
  #wasSent = false;
  #sentBytes = 0;

  constructor(options: BlobPushOptions) {
    this.#options = options;
    this.#base = `v2/${options.reference.path}/blobs`;
  }

  /** Bytes that the registry has told it has. */
  get reachedBytes(): number {
    return this.#sentBytes;
  }

  async run(session: RegistrySession): Promise<void> {
    if (!this.#isChecked) {
      if (await this.#isPresent(session)) {
        this.#tell({ kind: "exists" });
        return;
      }
      const from = await this.#mount(session);
      if (from !== undefined) {
        this.#tell({ kind: "mounted", from });
        return;
      }
      this.#isChecked = true;
    }
    await this.#upload(session);
    this.#tell({ kind: "done" });
  }

  #tell(state: { readonly kind: "exists" | "mounted" | "done"; readonly from?: string }): void {
    const totalBytes = this.#options.descriptor.size;
    this.#options.progress({ ...state, currentBytes: totalBytes, totalBytes });
  }

  async #isPresent(session: RegistrySession): Promise<boolean> {
    const { digest } = this.#options.descriptor;
    const answer = await session.send({
      ...this.#request("HEAD", `${this.#base}/${digest}`),
      taken: [404],
    });
    answer.close();
    return answer.status !== 404;
  }

  /** @returns the repository that it was mounted from; undefined when an upload was begun instead */
  async #mount(session: RegistrySession): Promise<string | undefined> {
    const { descriptor, mountFrom, reference } = this.#options;
    const others = mountFrom.filter((path) => path !== reference.path).slice(0, mountsMax);
    for (const from of others) {
      const query = new URLSearchParams({ mount: descriptor.digest, from });
      const request = this.#request("POST", `${this.#base}/uploads/?${query}`);
      const scopes = [...request.scopes, `repository:${from}:pull`];
      try {
        const answer = await session.send({ ...request, scopes });
        answer.close();
        if (answer.status === 201) return from;
        await this.#cancel(session);
        this.#location = this.#locationOf(answer, session);
      } catch (error) {
        // No right to read there, or no mounts at all: the bytes are sent.
        const kinds = [
          "unauthorized",
          "permission-denied",
          "not-found",
          "invalid-argument",
        ] as const;
        if (!isKind(error, ...kinds, "not-implemented")) throw error;
      }
    }
    return undefined;
  }

  async #upload(session: RegistrySession): Promise<void> {
    const { descriptor } = this.#options;
    const { size, digest } = descriptor;
    try {
      await this.#findOffset(session);
      while (this.#sentBytes < size) await this.#send(session);
      const url = new URL(this.#mustLocation());
      url.searchParams.set("digest", digest);
      const answer = await session.send(this.#request("PUT", url));
      answer.close();
      const stored = answer.header("docker-content-digest") ?? "";
      if (isDigest(stored) && stored !== digest && stored.startsWith("sha256:")) {
        throw new EngineError("data-loss", `push ${digest}: the registry stored ${stored}`);
      }
    } catch (error) {
      if (!isRefusedUpload(error)) throw error;
      // The registry has lost the upload, or sees it otherwise: another one is begun.
      this.#location = undefined;
      throw new EngineError("unavailable", error.message, {
        cause: error,
        details: { ...error.details, isTransient: true },
      });
    }
  }

  /** Learns how much the registry has of the upload; begins one when there is none. */
  async #findOffset(session: RegistrySession): Promise<void> {
    const known = this.#location;
    if (known !== undefined && !this.#wasSent) return;
    if (known !== undefined) {
      const answer = await session.send({
        ...this.#request("GET", known),
        taken: [400, 404, 405, 410, 416],
      });
      answer.close();
      const end = /^(?:bytes=)?0-(\d+)$/.exec(answer.header("range") ?? "")?.[1];
      if (answer.status < 300 && end !== undefined) {
        this.#location = this.#locationOf(answer, session, known);
        // "0-0" is one byte, or, of most registries, none.
        const hasBytes = Number(end) === 0 ? 0 : Number(end) + 1;
        if (hasBytes > 0 && hasBytes <= this.#options.descriptor.size) {
          this.#sentBytes = hasBytes;
          return;
        }
      }
      await this.#cancel(session);
    }
    this.#sentBytes = 0;
    const answer = await session.send(this.#request("POST", `${this.#base}/uploads/`));
    answer.close();
    this.#location = this.#locationOf(answer, session);
    this.#wasSent = false;
  }

  /** Sends all that the registry has not got, in one request. */
  async #send(session: RegistrySession): Promise<void> {
    const { descriptor, open, progress } = this.#options;
    const totalBytes = descriptor.size;
    const offset = this.#sentBytes;
    this.#wasSent = true;
    const tell = (passedBytes: number): void => {
      progress({ kind: "transferring", currentBytes: offset + passedBytes, totalBytes });
    };
    tell(0);
    const answer = await session.send({
      ...this.#request("PATCH", this.#mustLocation()),
      headers: {
        "content-type": "application/octet-stream",
        ...(offset === 0 ? {} : { "content-range": `${offset}-${totalBytes - 1}` }),
      },
      body: {
        sizeBytes: totalBytes - offset,
        open: () => withProgress(open(offset), tell),
      },
    });
    answer.close();
    this.#location = this.#locationOf(answer, session, this.#mustLocation());
    const end = /^(?:bytes=)?0-(\d+)$/.exec(answer.header("range") ?? "")?.[1];
    const hasBytes = end === undefined ? totalBytes : Number(end) + 1;
    if (hasBytes > totalBytes || hasBytes <= offset) {
      throw new EngineError(
        "unavailable",
        `push ${descriptor.digest}: of ${totalBytes} bytes the registry says to have ${hasBytes}`,
        { details: { isTransient: true } },
      );
    }
    this.#sentBytes = hasBytes;
  }

  /** Tells the registry that an upload will not be ended; it need not listen. */
  async #cancel(session: RegistrySession): Promise<void> {
    const known = this.#location;
    this.#location = undefined;
    if (known === undefined) return;
    try {
      const answer = await session.send(this.#request("DELETE", known));
      answer.close();
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind === "canceled") throw error;
      this.#options.logger.debug("an upload could not be canceled", { error: error.message });
    }
  }

  #mustLocation(): URL {
    if (this.#location !== undefined) return this.#location;
    throw new EngineError("internal", `push ${this.#options.descriptor.digest}: no upload is open`);
  }

  /**
   * Where an upload goes on: absolute or relative, with a query of its own.
   *
   * @param before when the registry need not say it anew
   */
  #locationOf(answer: HttpAnswer, session: RegistrySession, before?: URL): URL {
    const text = answer.header("location");
    if (text === undefined && before !== undefined) return before;
    const url = URL.parse(text ?? "", answer.url.href);
    if (text === undefined || url === null || !/^https?:$/.test(url.protocol)) {
      throw requestFailure(answer, "the registry does not say where the upload goes on");
    }
    const { origin, protocol, host, hostname } = session.endpoint.url;
    if (url.protocol === "http:" && protocol === "https:") {
      // A registry behind a proxy that ends TLS may not know that it is asked by TLS.
      if (url.hostname !== hostname)
        throw requestFailure(answer, `upload without TLS: ${url.host}`);
      return new URL(`${origin}${url.pathname}${url.search}`);
    }
    if (url.host === host) return url;
    url.username = "";
    url.password = "";
    return url;
  }

  #request(method: string, path: string | URL): RegistryRequest {
    const { reference, credentials, signal } = this.#options;
    const scopes = [`repository:${reference.path}:pull,push`];
    return { method, path, scopes, credentials, signal };
  }
}

/** Whether the registry does not know the upload (any more), or is elsewhere in it. */
function isRefusedUpload(error: unknown): error is EngineError {
  if (!isKind(error)) return false;
  const code = error.details["code"];
  return (
    code === "BLOB_UPLOAD_UNKNOWN" ||
    code === "BLOB_UPLOAD_INVALID" ||
    code === "RANGE_INVALID" ||
    error.details["status"] === 416
  );
}
