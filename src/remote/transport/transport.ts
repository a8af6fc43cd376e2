/**
 * One HTTP exchange with a registry: no redirects, no credentials, no retries.
 *
 * A body in either direction moves only as fast as its reader, and is stalled when nothing moves
 * for `stallMs` while something is wanted.
 */
import { EngineError } from "../../lib/errors.ts";
import { type ByteSource, readAll } from "../../lib/stream-limit.ts";
import type { HostTrust } from "./certificates.ts";

/** What is sent. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  readonly signal?: AbortSignal | undefined;
}

/** The body of a request. */
export interface HttpBody {
  readonly sizeBytes: number;
  /** Opened anew whenever the request is sent again. */
  readonly open: () => ByteSource;
  /** It holds credentials, and is for one origin alone. */
  readonly isSecret?: boolean;
}

/** What came back. Read to its end or closed. */
export interface HttpAnswer {
  readonly method: string;
  readonly url: URL;
  readonly status: number;
  readonly statusText: string;
  header(name: string): string | undefined;
  /** The body as it comes. @throws unavailable when it breaks off or stalls; canceled */
  body(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Lets go of what was not read. Safe to call again. */
  close(): void;
}

/** How a host is connected to. */
export interface Route {
  readonly trust?: HostTrust;
  readonly isVerified: boolean;
  readonly proxy?: URL | undefined;
}

/** Sends requests; keeps connections for the next. */
export interface HttpTransport {
  /** @throws unavailable with Docker's sentence when there is no answer; canceled */
  send(request: HttpRequest): Promise<HttpAnswer>;
  /** Ends idle connections. */
  close(): void;
}

/** Reads a small answer whole. @throws data-loss when it is longer than it may be */
export async function readAnswer(
  answer: HttpAnswer,
  options: { readonly sizeMaxBytes: number; readonly what: string },
): Promise<Uint8Array> {
  const said = Number(answer.header("content-length") ?? "0");
  try {
    if (said > options.sizeMaxBytes) throw new EngineError("invalid-argument", "long");
    return await readAll(answer.body(), options);
  } catch (error) {
    answer.close();
    if (!(error instanceof EngineError) || error.kind !== "invalid-argument") throw error;
    throw new EngineError("data-loss", `${options.what}: more than ${options.sizeMaxBytes} bytes`, {
      cause: error,
    });
  }
}
