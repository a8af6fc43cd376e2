/** The worker thread of the unpack helper: unpacks and hashes, while the main thread writes files. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { EngineError, messageOf } from "../../lib/errors.ts";
import { createDigester } from "../../oci/digest.ts";
import { type BytesReply, type BytesRequest, openLayerBytes } from "./_layer-bytes.ts";

if (parentPort !== null) serve(parentPort);

function serve(port: MessagePort): void {
  let credit = 0;
  let wake: (() => void) | undefined;
  port.on("message", (message: BytesRequest) => {
    // What is left of the layer before counts for nothing.
    credit = message.kind === "start" ? message.credit : credit + message.credit;
    wake?.();
    wake = undefined;
    if (message.kind === "start") void run(message);
  });

  const send = (reply: BytesReply, transfer: readonly ArrayBuffer[] = []): void =>
    port.postMessage(reply, [...transfer]);

  async function run(request: BytesRequest & { readonly kind: "start" }): Promise<void> {
    try {
      const digester = createDigester(request.source.like);
      let readBytes = 0;
      const onRead = (sizeBytes: number): void => {
        readBytes = sizeBytes;
      };
      for await (const chunk of openLayerBytes(request.source, onRead)) {
        digester.update(chunk);
        while (credit === 0) await new Promise<void>((resolve) => (wake = resolve));
        credit -= 1;
        // The decoder goes on writing into the rest of its buffer: only a copy can be given away.
        const copy = new Uint8Array(chunk);
        send({ kind: "chunk", bytes: copy.buffer, readBytes }, [copy.buffer]);
      }
      send({ kind: "end", diffId: digester.digest() });
    } catch (error) {
      const kind = error instanceof EngineError ? error.kind : "internal";
      send({ kind: "failure", error: { kind, message: messageOf(error) } });
    }
  }
}
