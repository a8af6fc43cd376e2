/**
 * A question to an engine on a unix socket, and its whole answer.
 *
 * `fetch` could do it; by hand it takes a third of the time, and no thread of its own.
 */
import { codeOf, EngineError } from "../lib/errors.ts";
import { formatHead } from "./_request-head.ts";
import { type BodyDecoder, bodyDecoder, HeadReader } from "./_response-head.ts";
import type { Endpoint } from "./endpoint.ts";
import type { UnixConnect, UnixConnection } from "../lib/unix-connection.ts";

/** Longest answer that is read whole. */
const answerMaxBytes = 256 * 1024 * 1024;

/** One question. */
export interface Question {
  readonly method: string;
  readonly path: string;
  readonly userAgent: string;
  /** JSON text. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** node:net when absent. */
  readonly connectUnix?: UnixConnect;
}

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/**
 * Asks.
 *
 * @throws the system's error when there is no connection
 * @throws unavailable when the connection ends before the answer's head
 * @throws data-loss when the answer is malformed, too long, or ends early
 * @throws canceled when the signal is given
 */
export async function askUnix(
  endpoint: Extract<Endpoint, { readonly kind: "unix" }>,
  question: Question,
): Promise<Answer> {
  const { signal } = question;
  if (signal?.aborted === true) throw canceled(signal.reason);
  const reader = new AnswerReader(question.method);
  const answered = Promise.withResolvers<Answer>();
  // Awaited below; until then a failure waits.
  answered.promise.catch(() => undefined);
  const connect = question.connectUnix ?? (await import("./unix-connect.ts")).connectByNet;
  const connection = await connect(endpoint.path, {
    onData: (chunk) => {
      settle(() => reader.push(chunk));
    },
    onClose: (error) => {
      settle(() => reader.end(error));
    },
  });
  function settle(read: () => Answer | undefined): void {
    try {
      const answer = read();
      if (answer !== undefined) answered.resolve(answer);
    } catch (error) {
      answered.reject(error);
    }
  }
  const onAbort = (): void => {
    answered.reject(canceled(signal?.reason));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    send(connection, { endpoint, question });
    return await answered.promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    connection.close();
  }
}

function send(
  connection: UnixConnection,
  request: { readonly endpoint: Endpoint; readonly question: Question },
): void {
  const { method, path, userAgent, body, headers } = request.question;
  const bytes = body === undefined ? undefined : Buffer.from(body);
  const head = formatHead(request.endpoint, {
    method,
    path,
    userAgent,
    ...(bytes === undefined ? {} : { contentType: "application/json", sizeBytes: bytes.length }),
    ...(headers === undefined ? {} : { headers }),
  });
  const headBytes = Buffer.from(head);
  connection.send(bytes === undefined ? headBytes : Buffer.concat([headBytes, bytes]));
}

class AnswerReader {
  readonly #method: string;
  readonly #head = new HeadReader();
  readonly #parts: Buffer[] = [];
  #body: BodyDecoder | undefined;
  #status = 0;
  #sizeBytes = 0;

  constructor(method: string) {
    this.#method = method;
  }

  /** Takes bytes; answers once all is there. */
  push(chunk: Buffer): Answer | undefined {
    let bytes = chunk;
    if (this.#body === undefined) {
      const begun = this.#head.push(chunk);
      if (begun === undefined) return undefined;
      this.#status = begun.head.status;
      this.#body = bodyDecoder(begun.head, this.#method);
      bytes = begun.rest;
    }
    for (const part of this.#body.push(bytes)) {
      this.#parts.push(part);
      this.#sizeBytes += part.length;
    }
    if (this.#sizeBytes > answerMaxBytes) {
      throw new EngineError(
        "data-loss",
        `read the engine's answer: it is longer than ${answerMaxBytes} bytes`,
      );
    }
    return this.#body.isDone ? this.#answer() : undefined;
  }

  /** The connection has ended. */
  end(error?: Error): Answer {
    if (this.#body === undefined) {
      const how =
        error === undefined ? "connection closed early" : (codeOf(error) ?? error.message);
      throw new EngineError("unavailable", `read the engine's answer: ${how}`, { cause: error });
    }
    if (this.#body.endsWithConnection && error === undefined) return this.#answer();
    throw new EngineError("data-loss", "read the engine's answer: unexpected EOF", {
      cause: error,
    });
  }

  #answer(): Answer {
    const [first] = this.#parts;
    const whole =
      this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts);
    return { status: this.#status, text: whole.toString() };
  }
}

function canceled(cause: unknown): EngineError {
  return new EngineError("canceled", "request canceled", { cause });
}
