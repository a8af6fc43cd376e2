/** The worker thread of the unpack helper: unpacks, while the main thread writes files; who has less to do hashes. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { createDigester } from "../../oci/digest.ts";
import { BlobFile } from "./_blob-file.ts";
import { ChunkWriter } from "./_chunk-ring.ts";
import { expandBlob } from "./_expand-blob.ts";
import type { BytesReply, BytesRequest } from "./_layer-bytes.ts";

if (parentPort !== null) serve(parentPort);

function serve(port: MessagePort): void {
  const send = (reply: BytesReply): void => port.postMessage(reply);
  port.on("message", (request: BytesRequest) => {
    void run(request, send);
  });
}

async function run(
  { source, ring }: BytesRequest,
  send: (reply: BytesReply) => void,
): Promise<void> {
  try {
    const digester = createDigester(source.like);
    // Decoding gzip takes longer than writing files and hashing together; all else is faster.
    let isHashing = true;
    const writer = new ChunkWriter(ring, {
      give: (chunk) => {
        if (isHashing) digester.update(chunk);
        const sizeBytes = chunk.byteLength;
        send({ kind: "chunk", sizeBytes, readBytes: blob.readBytes, isHashed: isHashing });
      },
    });
    using blob = new BlobFile(source, {
      pause: (timeMs) => {
        writer.pause(timeMs);
        return !writer.isStopped;
      },
    });
    await expandBlob({
      blob,
      limits: source.limits,
      writer,
      onDetected: (packing) => {
        isHashing = packing !== "gzip";
      },
    });
    send({ kind: "end", diffId: isHashing ? digester.digest() : undefined });
  } catch (error) {
    const kind = error instanceof EngineError ? error.kind : "internal";
    send({ kind: "failure", error: { kind, message: messageOf(error) } });
  }
}
