/** Blobs that lie at a client's, over its session. */
import { contentMethods, writeActions } from "../../api/buildkit/content.ts";
import { sessionKeys } from "../../api/buildkit/session.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { ClientCall } from "../../lib/grpc/client.ts";
import { createId } from "../../lib/id.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import type { ClientContent } from "../build-service.ts";
import type { Session } from "./session-pool.ts";
import type { WriteRequest, WriteResponse } from "../../api/buildkit/content.ts";

/** Bytes of a blob in one message. */
const pieceBytes = 256 * 1024;
/** A blob's facts come soon, or the client is gone. */
const answerTimeoutMs = 60_000;

/** Opens a store of the client's; undefined from a client that serves none. */
export function openClientContent(
  session: Session,
  options: { readonly id: string; readonly signal: AbortSignal },
): ClientContent | undefined {
  const { signal } = options;
  if (!session.serves(contentMethods.read)) return undefined;
  const metadata = new Map([[sessionKeys.storeId, [options.id]]]);
  const { client } = session;
  const sizeOf: ClientContent["sizeOf"] = async (digest) => {
    try {
      const call = { metadata, signal, timeoutMs: answerTimeoutMs };
      return (await client.unary(contentMethods.info, { digest }, call)).info?.size;
    } catch (error) {
      if (isKind(error, "not-found")) return undefined;
      throw error;
    }
  };
  return {
    sizeOf,
    open: async function* (digest) {
      const call = client.open(contentMethods.read, { metadata, signal });
      try {
        await call.send({ digest });
        call.end();
        for (let next = await call.next(); next !== undefined; next = await call.next()) {
          if (next.data.length > 0) yield next.data;
        }
      } finally {
        call.cancel();
      }
    },
    put: async (descriptor, open) => {
      if ((await sizeOf(descriptor.digest)) !== undefined) return;
      const call = client.open(contentMethods.write, { metadata, signal });
      try {
        await write(call, { descriptor, open });
      } catch (error) {
        // Another build has written the same meanwhile.
        if (!isKind(error, "already-exists")) throw error;
      } finally {
        call.cancel();
      }
    },
  };
}

type WriteCall = ClientCall<WriteRequest, WriteResponse>;

async function write(
  call: WriteCall,
  blob: {
    readonly descriptor: Pick<Descriptor, "digest" | "size">;
    readonly open: (offset: number) => ReadableStream<Uint8Array>;
  },
): Promise<void> {
  const { digest: expected, size: total } = blob.descriptor;
  const ref = `${expected.replace(":", "-")}-${createId().slice(0, 8)}`;
  const ask = async (message: Partial<WriteRequest>): Promise<WriteResponse> => {
    await call.send({ ...message, ref, total, expected });
    const answer = await call.next();
    if (answer !== undefined) return answer;
    throw new EngineError("unavailable", `write ${expected}: the client ended the call`);
  };
  const { offset: begin } = await ask({ action: writeActions.stat });
  let offset = begin;
  for await (const chunk of blob.open(begin)) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      const data = chunk.subarray(at, at + pieceBytes);
      await ask({ action: writeActions.write, offset, data });
      offset += data.length;
    }
  }
  await ask({ action: writeActions.commit, offset });
  call.end();
  while ((await call.next()) !== undefined);
}
