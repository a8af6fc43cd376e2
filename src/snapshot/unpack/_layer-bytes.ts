import { statSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { ExpansionLimits } from "../../lib/compression/compression.ts";
import { EngineError, type ErrorKind, messageOf } from "../../lib/errors.ts";
import { createDigester, type Digest } from "../../oci/digest.ts";
import { workerProgram } from "../../sys/process/process.ts";
import { BlobFile, type BlobSource } from "./_blob-file.ts";
import { ChunkFiller, ChunkTaker } from "./_chunk-ring.ts";
import { expandBlob } from "./_expand-blob.ts";
import { type SharedSlots, slotBytes } from "../slot-ring.ts";

/** What the worker thread is asked. */
export interface BytesRequest {
  readonly source: LayerSource;
  /** Where the bytes go. */
  readonly ring: SharedSlots;
}

/** What the worker thread answers. */
export type BytesReply =
  | {
      readonly kind: "chunk";
      readonly sizeBytes: number;
      readonly readBytes: number;
      /** Whether the worker has hashed it. */
      readonly isHashed: boolean;
    }
  /** With the digest when the worker has hashed the chunks. */
  | { readonly kind: "end"; readonly diffId: Digest | undefined }
  | { readonly kind: "failure"; readonly error: { kind: ErrorKind; message: string } };

/** Blobs below are unpacked by the calling thread: a worker takes longer to start. */
export const workerBlobMinBytes: number = 1024 * 1024;

/** A worker thread, and where its bytes come. */
interface LayerWorker {
  readonly thread: Worker;
  readonly chunks: ChunkTaker;
}

/** The worker of the layer before: starting one takes as long as a small layer does. */
let resting: LayerWorker | undefined;

/** A blob to unpack. */
export interface LayerSource extends BlobSource {
  readonly limits: ExpansionLimits;
  /** Hash with the algorithm of this digest. */
  readonly like?: Digest;
}

/** What takes the bytes of a layer. */
export interface LayerSink {
  /** The unpacked bytes, in order; valid during the call. */
  take(bytes: Uint8Array): void;
  /** How many bytes of the blob have been read. */
  readonly onRead?: (readBytes: number) => void;
}

/**
 * Unpacks a layer's blob and gives its bytes to the sink, in order; a large one, and one that is
 * still on its way, in a worker thread.
 *
 * @returns the digest of the unpacked bytes
 * @throws what `decompress` throws, and whatever the sink throws
 */
export async function readLayerBytes(source: LayerSource, sink: LayerSink): Promise<Digest> {
  const isOnItsWay = source.ingest !== undefined;
  if (isOnItsWay || statSync(source.blobPath).size >= workerBlobMinBytes) {
    return readInWorker(source, sink);
  }
  return await readHere(source, sink);
}

async function readHere(source: LayerSource, sink: LayerSink): Promise<Digest> {
  const digester = createDigester(source.like);
  const room = Buffer.allocUnsafeSlow(slotBytes);
  using blob = new BlobFile(source, { pause: () => true });
  const writer = new ChunkFiller({
    next: () => room,
    give: (chunk) => {
      digester.update(chunk);
      sink.take(chunk);
      sink.onRead?.(blob.readBytes);
    },
  });
  await expandBlob({ blob, limits: source.limits, writer });
  return digester.digest();
}

async function readInWorker(source: LayerSource, sink: LayerSink): Promise<Digest> {
  const worker = resting ?? {
    thread: new Worker(workerProgram("snapshot/unpack/unpack-worker")),
    chunks: new ChunkTaker(),
  };
  resting = undefined;
  const { thread, chunks } = worker;
  thread.ref();
  chunks.reset();
  const digester = createDigester(source.like);
  const done = Promise.withResolvers<Digest>();
  thread.on("message", (reply: BytesReply) => {
    if (reply.kind === "end") return done.resolve(reply.diffId ?? digester.digest());
    if (reply.kind === "failure") {
      return done.reject(new EngineError(reply.error.kind, reply.error.message));
    }
    try {
      chunks.take(reply.sizeBytes, (bytes) => {
        if (!reply.isHashed) digester.update(bytes);
        sink.take(bytes);
      });
      sink.onRead?.(reply.readBytes);
    } catch (error) {
      done.reject(error);
    }
  });
  thread.on("error", (error) => {
    done.reject(
      new EngineError("internal", `unpack layer: the worker thread failed: ${messageOf(error)}`, {
        cause: error,
      }),
    );
  });
  const request: BytesRequest = { source, ring: chunks.ring };
  try {
    thread.postMessage(request);
    const diffId = await done.promise;
    thread.removeAllListeners("message").removeAllListeners("error");
    thread.unref();
    resting = worker;
    return diffId;
  } catch (error) {
    thread.removeAllListeners("message");
    chunks.stop();
    await thread.terminate();
    throw error;
  }
}
