/**
 * What the streams of an HTTP/2 connection may send, as its other side has said (RFC 9113, 5.2).
 *
 * node:http2 keeps what a stream may not send yet, and behind it all that other streams write, until
 * the other side happens to say anything, seen in Bun 1.4.5: one reader that does not read stops its
 * neighbours. So a stream gives it no more than may leave, and this tells how much that is.
 */

/** Of a connection on which nothing was said. */
const initialWindowBytes = 65_535;
const headBytes = 9;
/** A frame of settings is no longer than any may be; a longer one ends the connection anyway. */
const settingsMaxBytes = 16_384;
const settingBytes = 6;
const frameType = { settings: 4, windowUpdate: 8 } as const;
const initialWindowSetting = 4;
/** What a client says before its first frame. */
export const prefaceBytes = 24;

/** What one stream may send. */
export interface SendWindow {
  /** Never more than the other side has room for in this stream; the connection may have less. */
  readonly leftBytes: number;
  /** Notes what is given to the stream. */
  spend(countBytes: number): void;
  /** Calls once, as soon as there is more. @returns what forgets it */
  onMore(call: () => void): () => void;
}

/** A stream of node:http2. */
export interface NumberedStream {
  readonly id?: number | undefined;
  once(event: "ready" | "close", call: () => void): unknown;
}

interface Stream {
  grantedBytes: number;
  spentBytes: number;
  readonly waiting: Set<() => void>;
}

/** The windows of one connection; sees all bytes that come on it. */
export class SendWindows {
  #initialBytes = initialWindowBytes;
  readonly #streams = new Map<number, Stream>();
  #skipBytes: number;
  #wantedBytes = headBytes;
  #pending: Buffer = Buffer.alloc(0);

  /** @param options.skipBytes what comes before the first frame */
  constructor(options: { readonly skipBytes: number }) {
    this.#skipBytes = options.skipBytes;
  }

  /** The window of a stream on which nothing was sent yet. */
  open(stream: NumberedStream): SendWindow {
    const window: Stream = { grantedBytes: 0, spentBytes: 0, waiting: new Set() };
    const begin = (): void => {
      if (stream.id !== undefined) this.#streams.set(stream.id, window);
    };
    // A client's stream has no number until it is on its way.
    if (stream.id === undefined) stream.once("ready", begin);
    else begin();
    stream.once("close", () => {
      if (stream.id !== undefined) this.#streams.delete(stream.id);
    });
    const initialBytes = (): number => this.#initialBytes;
    return {
      get leftBytes() {
        return Math.max(0, initialBytes() + window.grantedBytes - window.spentBytes);
      },
      spend(countBytes) {
        window.spentBytes += countBytes;
      },
      onMore(call) {
        window.waiting.add(call);
        return () => void window.waiting.delete(call);
      },
    };
  }

  /** Takes the next bytes of the connection. They were checked by who else reads them. */
  receive(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const skipped = Math.min(this.#skipBytes, chunk.length - at);
      this.#skipBytes -= skipped;
      at += skipped;
      const part = chunk.subarray(at, at + this.#wantedBytes - this.#pending.length);
      at += part.length;
      this.#pending = this.#pending.length === 0 ? part : Buffer.concat([this.#pending, part]);
      if (this.#pending.length === this.#wantedBytes) this.#take(this.#pending);
    }
    // The chunk is its giver's, and may be used again.
    if (this.#pending.length > 0) this.#pending = Buffer.from(this.#pending);
  }

  #take(frame: Buffer): void {
    const lengthBytes = frame.readUIntBE(0, 3);
    const type = frame[3];
    const isOfUse =
      (type === frameType.settings && lengthBytes <= settingsMaxBytes) ||
      (type === frameType.windowUpdate && lengthBytes === 4);
    if (isOfUse && frame.length < headBytes + lengthBytes) {
      this.#wantedBytes = headBytes + lengthBytes;
      return;
    }
    if (isOfUse) this.#apply(frame);
    else this.#skipBytes = lengthBytes;
    this.#pending = frame.subarray(0, 0);
    this.#wantedBytes = headBytes;
  }

  #apply(frame: Buffer): void {
    if (frame[3] === frameType.windowUpdate) {
      const stream = this.#streams.get(frame.readUInt32BE(5) & 0x7fff_ffff);
      if (stream === undefined) return;
      stream.grantedBytes += frame.readUInt32BE(headBytes) & 0x7fff_ffff;
      wake(stream);
      return;
    }
    for (let at = headBytes; at + settingBytes <= frame.length; at += settingBytes) {
      if (frame.readUInt16BE(at) !== initialWindowSetting) continue;
      this.#initialBytes = frame.readUInt32BE(at + 2);
      for (const stream of this.#streams.values()) wake(stream);
    }
  }
}

function wake(stream: Stream): void {
  for (const call of [...stream.waiting]) {
    stream.waiting.delete(call);
    call();
  }
}
