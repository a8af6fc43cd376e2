import { Duplex } from "node:stream";
import { isKind } from "../errors.ts";

/** Bytes of one message: longer ones are no faster. */
const pieceBytes = 64 * 1024;

/** A call whose messages are pieces of one stream of bytes. */
export interface BytesCall {
  next(): Promise<{ readonly data: Uint8Array } | undefined>;
  send(message: { readonly data: Uint8Array }): Promise<void>;
}

/**
 * The stream of bytes that a call carries, both ways: a connection within a call.
 *
 * Reading holds the call back, writing waits for it. The call's failure is the stream's end.
 */
export function callDuplex(call: BytesCall): Duplex {
  let isReading = false;
  const duplex: Duplex = new Duplex({
    allowHalfOpen: true,
    read: () => {
      if (isReading) return;
      isReading = true;
      void pump();
    },
    write: (chunk: Uint8Array, _encoding, done) => void relay(chunk, done),
  });
  const relay = async (given: Uint8Array, done: (error?: Error) => void): Promise<void> => {
    let failure: Error | undefined;
    // Of a Buffer `slice` is another view.
    const chunk = new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
    try {
      for (let at = 0; at < chunk.length; at += pieceBytes) {
        // A copy: the chunk is its giver's again as soon as this is done.
        await call.send({ data: chunk.slice(at, at + pieceBytes) });
      }
    } catch (error) {
      failure = error instanceof Error ? error : undefined;
    }
    done(failure);
  };
  const pump = async (): Promise<void> => {
    try {
      for (let wantsMore = true; wantsMore && !duplex.destroyed; ) {
        const message = await call.next();
        if (message === undefined) {
          duplex.push(null);
          return;
        }
        wantsMore = duplex.push(Buffer.from(message.data));
      }
      isReading = false;
    } catch (error) {
      duplex.destroy();
      if (!isKind(error)) throw error;
    }
  };
  duplex.on("error", () => undefined);
  duplex.once("end", () => duplex.destroy());
  return duplex;
}
