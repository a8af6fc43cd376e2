/** A content store of the client's: blobs are checked against their digests at this end, too. */
import { contentMethods, storeIdKey, writeAction } from "../../api/buildkit/content.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { type Digest, digestOf } from "../../oci/digest.ts";
import type { ClientStore } from "../build-service.ts";
import type { Session } from "./session-pool.ts";

const answerTimeoutMs = 60_000;
/** Longest blob that is read whole. */
const documentMaxBytes = 8 * 1024 * 1024;
/** Pieces in which a blob is sent. */
const pieceBytes = 512 * 1024;

/** Opens the store of an ID; undefined when the client serves none. */
export function openClientStore(
  id: string,
  options: { readonly session: Session; readonly signal: AbortSignal },
): ClientStore | undefined {
  const { session, signal } = options;
  if (!session.serves(contentMethods.info)) return undefined;
  const metadata = new Map([[storeIdKey, [id]]]);
  const call = { metadata, signal };
  const read = async function* (digest: Digest): AsyncGenerator<Uint8Array, void, undefined> {
    const stream = session.client.open(contentMethods.read, call);
    try {
      await stream.send({ digest });
      stream.end();
      for (let next = await stream.next(); next !== undefined; next = await stream.next()) {
        yield next.data;
      }
    } finally {
      stream.cancel();
    }
  };
  return {
    async find(digest) {
      try {
        const wait = { ...call, timeoutMs: answerTimeoutMs };
        const { info } = await session.client.unary(contentMethods.info, { digest }, wait);
        return info === undefined ? undefined : { sizeBytes: info.size };
      } catch (error) {
        if (isKind(error, "not-found")) return undefined;
        throw error;
      }
    },
    read,
    async readDocument(digest) {
      const chunks: Uint8Array[] = [];
      let sizeBytes = 0;
      for await (const chunk of read(digest)) {
        sizeBytes += chunk.length;
        if (sizeBytes > documentMaxBytes) {
          throw new EngineError(
            "invalid-argument",
            `read ${digest}: over ${documentMaxBytes} bytes`,
          );
        }
        chunks.push(Uint8Array.from(chunk));
      }
      const bytes = Buffer.concat(chunks);
      if (digestOf(bytes) === digest) return bytes;
      throw new EngineError("data-loss", `read ${digest} of the client's: it has other content`);
    },
    async write(blob, bytes) {
      const stream = session.client.open(contentMethods.write, call);
      const target = { ref: `tug-${createId()}`, total: blob.sizeBytes, expected: blob.digest };
      let offset = 0;
      try {
        for await (const piece of piecesOf(bytes)) {
          await stream.send({ ...target, action: writeAction.write, offset, data: piece });
          offset += piece.length;
          await stream.next();
        }
        await stream.send({ ...target, action: writeAction.commit, offset });
        stream.end();
        while ((await stream.next()) !== undefined);
      } catch (error) {
        // Somebody was quicker: what counts is that it is there.
        if (!isKind(error, "already-exists")) throw error;
      } finally {
        stream.cancel();
      }
    },
  };
}

async function* piecesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += pieceBytes) yield chunk.subarray(at, at + pieceBytes);
  }
}
