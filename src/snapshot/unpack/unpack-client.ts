import { type HelperPool, openHelperPool } from "../../sys/process/helper-pool.ts";
import { selfExecutable } from "../../sys/process/process.ts";
import { decodeUnpackResult, encodeUnpackRequest } from "./_unpack-protocol.ts";
import type { AppliedLayer, ApplyOptions, ApplyWatch } from "./apply.ts";

/** Unpacks layers in helper processes, so that the daemon goes on serving. */
export interface Unpacker extends AsyncDisposable {
  /**
   * Unpacks a layer.
   *
   * After a failure the target holds part of the layer: the caller removes the snapshot.
   *
   * @param options.signal its abort kills the helper
   * @param options.onRead told now and then how many bytes of the blob have been read
   * @throws what `applyLayer` throws; canceled; internal when the helper died
   */
  unpack(layer: ApplyOptions, options?: UnpackOptions): Promise<AppliedLayer>;
  /** Whether a helper is free for a blob that is still on its way (`ApplyOptions.ingest`). */
  readonly canFollow: boolean;
  /** Has a helper started for a blob that will be on its way in a moment. */
  warmUp(): void;
}

/** How an unpacking is watched and ended. */
export interface UnpackOptions extends ApplyWatch {
  readonly signal?: AbortSignal;
}

/** An answer is one line; anything longer is not one. */
const answerSizeMaxBytes = 64 * 1024;
/** Images that are unpacked at the same time; one more would only take turns with them. */
const helpersMax = 2;
/** An image seldom comes alone, and what has compiled its own code unpacks the next one sooner. */
const idleDefaultMs = 60_000;

/**
 * Opens an unpacker.
 *
 * @param options.command argv of the helper; this program's when absent
 * @param options.idleMs how long a helper is kept without work
 */
export function openUnpacker(
  options: { readonly command?: readonly string[]; readonly idleMs?: number } = {},
): Unpacker {
  const argv = options.command ?? [...selfExecutable(), "unpack"];
  const idleMs = options.idleMs ?? idleDefaultMs;
  const open = (): HelperPool =>
    openHelperPool({ argv, what: "unpack layer", helpersMax, idleMs, answerSizeMaxBytes });
  const whole = open();
  // A blob on its way takes as long as the network does: it must not keep others from a helper.
  const arriving = open();
  return {
    get canFollow() {
      return !arriving.isBusy;
    },
    warmUp: () => arriving.warmUp(),
    async unpack(layer, { signal, onRead } = {}) {
      const pool = layer.ingest === undefined ? whole : arriving;
      const answer = await pool.ask(encodeUnpackRequest(layer), {
        ...(signal === undefined ? {} : { signal }),
        onNews: (line) => {
          const readBytes = Number(line);
          if (Number.isSafeInteger(readBytes)) onRead?.(readBytes);
        },
      });
      return decodeUnpackResult(answer);
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([whole[Symbol.asyncDispose](), arriving[Symbol.asyncDispose]()]);
    },
  };
}
