import { EngineError } from "./errors.ts";

/** Bytes that come one chunk after the other: a ReadableStream, a node stream, a generator. */
export type ByteSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The chunks of any source, to be asked for one by one. */
export async function* chunksOf(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  yield* source;
}

/** The bound of a stream, and the sentence when it is passed. */
export interface SizeLimit {
  readonly sizeMaxBytes: number;
  /** What was read, for the sentence: "<what>: more than N bytes". */
  readonly what: string;
}

/**
 * Passes chunks on until more than `sizeMaxBytes` have come; the chunk that passes the bound is not
 * passed on.
 *
 * @throws invalid-argument at the bound
 */
export async function* limitSize(
  source: ByteSource,
  limit: SizeLimit,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sizeBytes = 0;
  for await (const chunk of source) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > limit.sizeMaxBytes) throw tooLong(limit);
    yield chunk;
  }
}

/**
 * Passes on exactly `sizeBytes`.
 *
 * @throws data-loss when fewer or more come
 */
export async function* exactSize(
  source: ByteSource,
  expected: { readonly sizeBytes: number; readonly what: string },
): AsyncGenerator<Uint8Array, void, undefined> {
  let sizeBytes = 0;
  for await (const chunk of source) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > expected.sizeBytes) break;
    yield chunk;
  }
  if (sizeBytes === expected.sizeBytes) return;
  const got = sizeBytes > expected.sizeBytes ? "more" : `${sizeBytes}`;
  throw new EngineError(
    "data-loss",
    `${expected.what}: expected ${expected.sizeBytes} bytes, got ${got}`,
  );
}

/** Passes chunks on and tells how many bytes have passed, after each chunk. */
export async function* withProgress(
  source: ByteSource,
  onProgress: (passedBytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let passedBytes = 0;
  for await (const chunk of source) {
    passedBytes += chunk.byteLength;
    yield chunk;
    onProgress(passedBytes);
  }
}

/**
 * Reads all of a small stream into one buffer.
 *
 * @throws invalid-argument when it is longer than the bound
 */
export async function readAll(source: ByteSource, limit: SizeLimit): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of limitSize(source, limit)) chunks.push(chunk);
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) return only;
  return Buffer.concat(chunks);
}

/** Makes a web stream of a byte source; pulls a chunk only when one is wanted. */
export function toReadableStream(source: ByteSource): ReadableStream<Uint8Array> {
  const iterator = iterate(source);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const next = await iterator.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
      async cancel(): Promise<void> {
        await iterator.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* iterate(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  yield* source;
}

function tooLong(limit: SizeLimit): EngineError {
  return new EngineError(
    "invalid-argument",
    `${limit.what}: more than ${limit.sizeMaxBytes} bytes`,
  );
}
