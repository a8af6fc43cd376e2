/**
 * Framing of two output streams in one: attach, exec and logs without a terminal.
 *
 * A frame is eight bytes of header (stream, three zeros, payload size as a big-endian 32-bit
 * integer), then the payload.
 *
 * @see Engine API v1.51, ContainerAttach, "Stream format"
 */
import { EngineError } from "../lib/errors.ts";

/** Bytes of a frame's header. */
export const muxHeaderSizeBytes = 8;

/** Largest payload of one frame that is accepted or written. */
export const muxPayloadMaxBytes: number = 16 * 1024 * 1024;

/** Which stream a frame belongs to; `error` carries a message of the engine and ends it all. */
export type MuxStream = "stdin" | "stdout" | "stderr" | "error";

const streams: readonly MuxStream[] = ["stdin", "stdout", "stderr", "error"];

/** Makes the header of a frame of `sizeBytes`. */
export function encodeMuxHeader(stream: MuxStream, sizeBytes: number): Uint8Array {
  const header = new Uint8Array(muxHeaderSizeBytes);
  writeHeader(header, stream, sizeBytes);
  return header;
}

/** Makes one frame, header and payload in one buffer; `payload` is copied. */
export function encodeMuxFrame(stream: MuxStream, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(muxHeaderSizeBytes + payload.length);
  writeHeader(frame, stream, payload.length);
  frame.set(payload, muxHeaderSizeBytes);
  return frame;
}

/** Takes apart a framed stream that arrives in pieces of any size. */
export interface MuxDecoder {
  /**
   * Hands on every payload byte of `chunk`, in order. A frame may come in several parts; the parts
   * are views of `chunk`. No more than a header is ever held back.
   *
   * @throws data-loss when the stream is not framed as it should be; the decoder is useless then
   */
  push(chunk: Uint8Array): void;
  /** Says that no more comes. @throws data-loss when the last frame is not whole */
  end(): void;
}

/** Opens a decoder. @param sink receives each part of a payload; never called with none */
export function createMuxDecoder(
  sink: (stream: MuxStream, payload: Uint8Array) => void,
): MuxDecoder {
  const header = new Uint8Array(muxHeaderSizeBytes);
  let headerSizeBytes = 0;
  let payloadLeftBytes = 0;
  let stream: MuxStream = "stdout";

  const push = (chunk: Uint8Array): void => {
    let at = 0;
    while (at < chunk.length) {
      if (payloadLeftBytes > 0) {
        const part = chunk.subarray(at, at + payloadLeftBytes);
        at += part.length;
        payloadLeftBytes -= part.length;
        if (payloadLeftBytes === 0) headerSizeBytes = 0;
        sink(stream, part);
        continue;
      }
      const part = chunk.subarray(at, at + muxHeaderSizeBytes - headerSizeBytes);
      header.set(part, headerSizeBytes);
      at += part.length;
      headerSizeBytes += part.length;
      if (headerSizeBytes < muxHeaderSizeBytes) return;
      ({ stream, sizeBytes: payloadLeftBytes } = readHeader(header));
      if (payloadLeftBytes === 0) headerSizeBytes = 0;
    }
  };

  const end = (): void => {
    if (headerSizeBytes === 0) return;
    const problem =
      payloadLeftBytes > 0 ? `${payloadLeftBytes} bytes of a frame` : "a part of a header";
    throw new EngineError("data-loss", `stream of frames ended early: ${problem} missing`);
  };

  return { push, end };
}

function writeHeader(frame: Uint8Array, stream: MuxStream, sizeBytes: number): void {
  frame[0] = streams.indexOf(stream);
  new DataView(frame.buffer, frame.byteOffset).setUint32(4, sizeBytes);
}

function readHeader(header: Uint8Array): { stream: MuxStream; sizeBytes: number } {
  const stream = streams[header[0] ?? streams.length];
  const sizeBytes = new DataView(header.buffer).getUint32(4);
  if (stream === undefined) {
    throw new EngineError("data-loss", `Unrecognized input header: ${header[0]}`);
  }
  if (sizeBytes > muxPayloadMaxBytes) {
    throw new EngineError(
      "data-loss",
      `frame of ${sizeBytes} bytes: more than ${muxPayloadMaxBytes}`,
    );
  }
  return { stream, sizeBytes };
}
