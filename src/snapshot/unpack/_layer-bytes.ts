import { createReadStream, statSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { decompress, type ExpansionLimits } from "../../lib/compression/compression.ts";
import { EngineError, type ErrorKind, messageOf } from "../../lib/errors.ts";
import { withProgress } from "../../lib/stream-limit.ts";
import { createDigester, type Digest } from "../../oci/digest.ts";

/** What the worker thread is asked. */
export type BytesRequest =
  | {
      readonly kind: "start";
      readonly credit: number;
      readonly source: LayerSource;
    }
  | { readonly kind: "more"; readonly credit: number };

/** What the worker thread answers. */
export type BytesReply =
  | { readonly kind: "chunk"; readonly bytes: ArrayBuffer; readonly readBytes: number }
  | { readonly kind: "end"; readonly diffId: Digest }
  | { readonly kind: "failure"; readonly error: { kind: ErrorKind; message: string } };

/** Chunks (256 KiB) that may wait for the main thread. */
const chunksAheadMax = 24;
/** Chunks taken before the worker is told. */
const creditStep = 8;

/** Blobs below are unpacked by the calling thread: a worker takes longer to start. */
export const workerBlobMinBytes: number = 1024 * 1024;

/** The worker of the layer before: starting one takes as long as a small layer does. */
let resting: Worker | undefined;

/** Bytes read from the blob at once. */
const readChunkBytes = 512 * 1024;

/** A blob to unpack. */
export interface LayerSource {
  readonly blobPath: string;
  readonly limits: ExpansionLimits;
  /** Hash with the algorithm of this digest. */
  readonly like?: Digest;
}

/** What takes the bytes of a layer. */
export interface LayerSink {
  /** The unpacked bytes, in order. */
  take(bytes: Uint8Array): void;
  /** How many bytes of the blob have been read. */
  readonly onRead?: (readBytes: number) => void;
}

/**
 * Unpacks a layer's blob and gives its bytes to the sink, in order; a large one in a worker thread.
 *
 * @returns the digest of the unpacked bytes
 * @throws what `decompress` throws, and whatever the sink throws
 */
export async function readLayerBytes(source: LayerSource, sink: LayerSink): Promise<Digest> {
  if (statSync(source.blobPath).size >= workerBlobMinBytes) return readInWorker(source, sink);
  const digester = createDigester(source.like);
  for await (const chunk of openLayerBytes(source, sink.onRead)) {
    digester.update(chunk);
    sink.take(chunk);
  }
  return digester.digest();
}

/** The unpacked bytes of a blob. */
export function openLayerBytes(
  source: LayerSource,
  onRead: LayerSink["onRead"] = () => undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const blob = createReadStream(source.blobPath, { highWaterMark: readChunkBytes });
  return decompress(withProgress(blob, onRead), source.limits);
}

async function readInWorker(source: LayerSource, sink: LayerSink): Promise<Digest> {
  const worker = resting ?? new Worker(workerUrl());
  resting = undefined;
  worker.ref();
  const done = Promise.withResolvers<Digest>();
  let taken = 0;
  worker.on("message", (reply: BytesReply) => {
    if (reply.kind === "end") return done.resolve(reply.diffId);
    if (reply.kind === "failure") {
      return done.reject(new EngineError(reply.error.kind, reply.error.message));
    }
    try {
      sink.take(new Uint8Array(reply.bytes));
      sink.onRead?.(reply.readBytes);
    } catch (error) {
      done.reject(error);
      return;
    }
    taken += 1;
    if (taken % creditStep === 0) post(worker, { kind: "more", credit: creditStep });
  });
  worker.on("error", (error) => {
    done.reject(
      new EngineError("internal", `unpack layer: the worker thread failed: ${messageOf(error)}`, {
        cause: error,
      }),
    );
  });
  try {
    post(worker, {
      kind: "start",
      credit: chunksAheadMax,
      source,
    });
    const diffId = await done.promise;
    worker.removeAllListeners("message").removeAllListeners("error");
    worker.unref();
    resting = worker;
    return diffId;
  } catch (error) {
    worker.removeAllListeners("message");
    await worker.terminate();
    throw error;
  }
}

function post(worker: Worker, request: BytesRequest): void {
  worker.postMessage(request);
}

/** The worker's program; in the executable it lies at its place below `src`. */
function workerUrl(): URL {
  const isCompiled = import.meta.url.includes("/$bunfs/");
  if (isCompiled) return new URL("file:///$bunfs/root/snapshot/unpack/unpack-worker.js");
  return new URL("./unpack-worker.ts", import.meta.url);
}
