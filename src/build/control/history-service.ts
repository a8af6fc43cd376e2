/** The part of BuildKit's Control service that tells of builds, and the content that they name. */
import { contentMethods } from "../../api/buildkit/content.ts";
import {
  type HistoryEvent,
  historyEvents,
  historyMethods,
  type HistoryRequest,
  historyTimeHeader,
} from "../../api/buildkit/history.ts";
import { EngineError } from "../../lib/errors.ts";
import { type GrpcHandler, streamHandler, unaryHandler } from "../../lib/grpc/server.ts";
import { formatTime, nowNs } from "../../lib/time.ts";
import type { BuildHistory, OutcomeBlob } from "./build-history.ts";
import { readHistoryFilters } from "./_history-filter.ts";

/** Bytes of a document in one message. */
const pieceBytes = 1024 * 1024;

/** The handlers. */
export function historyHandlers(history: BuildHistory): readonly GrpcHandler[] {
  const blobOf = (digest: string): OutcomeBlob => {
    const blob = history.findBlob(digest);
    if (blob !== undefined) return blob;
    throw new EngineError("not-found", `content ${digest.slice(0, 256)}: not found`);
  };
  return [
    streamHandler(
      historyMethods.listen,
      async (call) => {
        const request = await call.next();
        if (request === undefined) return;
        const isWanted = readRequest(request);
        // From here on nothing is missed between what there is and what comes.
        const coming = history.listen(call.signal);
        const first = request.earlyExit ? undefined : coming.next();
        for (const event of pick(history, request, isWanted)) await call.send(event);
        if (first === undefined) return;
        for (let next = await first; next.done !== true; next = await coming.next()) {
          if (isWanted(next.value)) await call.send(next.value);
        }
      },
      { headers: () => ({ [historyTimeHeader]: formatTime(nowNs()) }) },
    ),
    unaryHandler(historyMethods.update, async (request) => {
      await Promise.resolve();
      if (request.delete) history.remove(request.ref);
      else if (!request.finalize) history.pin(request.ref, request.pinned);
      else if (history.find(request.ref) === undefined) {
        throw new EngineError("not-found", `no build record ${request.ref.slice(0, 256)}`);
      }
      return {};
    }),
    unaryHandler(contentMethods.info, async ({ digest }) => {
      await Promise.resolve();
      const { descriptor } = blobOf(digest);
      const labels = new Map<string, string>();
      const times = { createdAt: undefined, updatedAt: undefined };
      return { info: { digest, size: descriptor.size, labels, ...times } };
    }),
    streamHandler(contentMethods.read, async (call) => {
      const request = await call.next();
      const { bytes } = blobOf(request?.digest ?? "");
      const { offset: start = 0, size = 0 } = request ?? {};
      if (start < 0 || start > bytes.length || size < 0) {
        throw new EngineError("invalid-argument", `read past object length ${bytes.length} bytes`);
      }
      const end = size === 0 ? bytes.length : Math.min(bytes.length, start + size);
      for (let offset = start; offset < end; offset += pieceBytes) {
        await call.send({
          offset,
          data: bytes.subarray(offset, Math.min(end, offset + pieceBytes)),
        });
      }
    }),
  ];
}

function readRequest(request: HistoryRequest): (event: HistoryEvent) => boolean {
  const matches = readHistoryFilters(request.filter, nowNs());
  return ({ type, record }) =>
    record !== undefined &&
    (request.ref === "" || record.ref === request.ref) &&
    (!request.activeOnly || type === historyEvents.started) &&
    matches(record);
}

function pick(
  history: BuildHistory,
  { limit }: HistoryRequest,
  isWanted: (event: HistoryEvent) => boolean,
): readonly HistoryEvent[] {
  const found = history.list().filter(isWanted);
  return limit > 0 ? found.slice(0, limit) : found;
}
