/** The worker thread of the unpack helper: unpacks and hashes, while the main thread writes files. */
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
    const writer = new ChunkWriter(ring, {
      give: (chunk) => {
        digester.update(chunk);
        send({ kind: "chunk", sizeBytes: chunk.byteLength, readBytes: blob.readBytes });
      },
    });
    using blob = new BlobFile(source, {
      pause: (timeMs) => {
        writer.pause(timeMs);
        return !writer.isStopped;
      },
    });
    await expandBlob({ blob, limits: source.limits, writer });
    send({ kind: "end", diffId: digester.digest() });
  } catch (error) {
    const kind = error instanceof EngineError ? error.kind : "internal";
    send({ kind: "failure", error: { kind, message: messageOf(error) } });
  }
}
