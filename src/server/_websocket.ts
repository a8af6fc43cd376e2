/**
 * The server's side of RFC 6455, as far as attach needs it: binary frames out, any data frames in,
 * ping, close. A library would want the socket before HTTP has seen it; here it comes by hijack.
 */
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { createMuxDecoder } from "../api/mux.ts";
import { EngineError } from "../lib/errors.ts";

const handshakeGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 §1.3
/** A frame larger than this ends the connection. */
const framePayloadMaxBytes = 1024 * 1024;
const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** The response head that accepts a handshake. @throws invalid-argument when it is none */
export function acceptWebSocket(headers: Readonly<Record<string, unknown>>): string {
  const key = headers["sec-websocket-key"];
  if (typeof key !== "string" || headers["sec-websocket-version"] !== "13") {
    throw new EngineError(
      "invalid-argument",
      "this endpoint wants a WebSocket handshake, version 13",
    );
  }
  const accept = createHash("sha1").update(`${key}${handshakeGuid}`).digest("base64");
  return [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${accept}`,
  ].join("\r\n");
}

/** How a stream is carried. */
export interface WebSocketOptions {
  /** Frames of text instead of bytes. */
  readonly isText: boolean;
  /** What is written is framed by stream; the payloads alone are sent. */
  readonly isMultiplexed: boolean;
}

/** A byte stream carried in WebSocket frames; ending it sends a close frame. */
export function openWebSocket(socket: Socket, options: WebSocketOptions): Duplex {
  const decoder = new FrameDecoder();
  const code = options.isText ? opcode.text : opcode.binary;
  const send = (payload: Uint8Array): void => void socket.write(encodeFrame(code, payload));
  const streams = createMuxDecoder((_stream, payload) => send(payload));
  const stream = new Duplex({
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      if (options.isMultiplexed) streams.push(chunk);
      else send(chunk);
      if (socket.writableNeedDrain) socket.once("drain", () => done());
      else done();
    },
    final(done) {
      socket.end(encodeFrame(opcode.close, Buffer.from([0x03, 0xe8])), () => done());
    },
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  const receive = (chunk: Buffer): void => {
    for (const frame of decoder.push(chunk)) {
      if (frame.opcode === opcode.ping) socket.write(encodeFrame(opcode.pong, frame.payload));
      else if (frame.opcode === opcode.close) stream.push(null);
      else if (frame.opcode <= opcode.binary && !stream.push(frame.payload)) socket.pause();
    }
  };
  socket.on("data", (chunk: Buffer) => {
    try {
      receive(chunk);
    } catch (error) {
      stream.destroy(error instanceof Error ? error : undefined);
    }
  });
  socket.on("end", () => stream.push(null));
  socket.on("close", () => stream.destroy());
  return stream;
}

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

function encodeFrame(code: number, payload: Uint8Array): Buffer {
  const long = payload.length > 0xffff;
  const headSize = payload.length < 126 ? 2 : long ? 10 : 4;
  const frame = Buffer.alloc(headSize + payload.length);
  frame[0] = 0x80 | code;
  if (headSize === 2) frame[1] = payload.length;
  else if (long) {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(payload.length), 2);
  } else {
    frame[1] = 126;
    frame.writeUInt16BE(payload.length, 2);
  }
  frame.set(payload, headSize);
  return frame;
}

/** Cuts a byte stream into a client's frames, unmasked. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0);

  /** @throws invalid-argument for an unmasked or too large frame */
  push(chunk: Buffer): Frame[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      const frame = this.#next();
      if (frame === undefined) return frames;
      frames.push(frame);
    }
  }

  #next(): Frame | undefined {
    const bytes = this.#pending;
    if (bytes.length < 2) return undefined;
    const first = bytes.readUInt8(0);
    const second = bytes.readUInt8(1);
    if ((second & 0x80) === 0) {
      throw new EngineError("invalid-argument", "a WebSocket client sent an unmasked frame");
    }
    const short = second & 0x7f;
    const lengthSize = short === 127 ? 8 : short === 126 ? 2 : 0;
    const headSize = 2 + lengthSize + 4;
    if (bytes.length < headSize) return undefined;
    const size =
      lengthSize === 8
        ? Number(bytes.readBigUInt64BE(2))
        : lengthSize === 2
          ? bytes.readUInt16BE(2)
          : short;
    if (size > framePayloadMaxBytes) {
      throw new EngineError("invalid-argument", `a WebSocket frame of ${size} bytes is too large`);
    }
    if (bytes.length < headSize + size) return undefined;
    const mask = bytes.subarray(headSize - 4, headSize);
    const payload = Buffer.from(bytes.subarray(headSize, headSize + size));
    for (let index = 0; index < size; index += 1) {
      payload[index] = (payload[index] ?? 0) ^ (mask[index & 3] ?? 0);
    }
    this.#pending = bytes.subarray(headSize + size);
    return { opcode: first & 0x0f, payload };
  }
}
