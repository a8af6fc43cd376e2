import { constants, createGunzip, type Gunzip } from "node:zlib";
import { EngineError } from "../errors.ts";

/** What a zlib stream of node:zlib keeps below its public face: the decoder without a thread pool. */
interface Decoder {
  onerror: (message: string, number: number, code: string) => void;
  /** Takes input and gives output; how much of either is left comes in `_writeState`. */
  writeSync(
    flush: number,
    input: Uint8Array,
    inputAt: number,
    inputBytes: number,
    output: Uint8Array,
    outputAt: number,
    outputBytes: number,
  ): void;
}

type OpenStream = Gunzip & { readonly _handle: Decoder; readonly _writeState: Uint32Array };

const nothing = new Uint8Array(1);

/**
 * Unpacks gzip, several members too, in the calling thread and into the caller's memory: for threads
 * that may block. A stream of node:zlib goes through a thread pool and the event loop for each
 * buffer, which costs as much as the unpacking.
 *
 * 1. `push` gives packed bytes, which stay as they are until `pull` has taken them.
 * 2. `pull` fills a buffer; when it does not fill it, it wants the next bytes.
 * 3. `end` says that all has been pushed.
 *
 * Zeros behind the last member are ignored, as gzip does.
 */
export class BlockingGunzip implements Disposable {
  readonly #stream: OpenStream = createGunzip() as OpenStream;
  #input: Uint8Array = nothing;
  #at = 0;
  #leftBytes = 0;
  #hasEnded = false;
  #failure: EngineError | undefined;

  constructor() {
    this.#stream._handle.onerror = (message, _number, code): void => {
      const sentence =
        code === "Z_BUF_ERROR" ? "unexpected end of gzip data" : `unpack gzip data: ${message}`;
      this.#failure = new EngineError("invalid-argument", sentence, { details: { code } });
    };
  }

  push(packed: Uint8Array): void {
    this.#input = packed;
    this.#at = 0;
    this.#leftBytes = packed.byteLength;
  }

  /**
   * Unpacks into `out`.
   *
   * @returns how many bytes; fewer than `out` has room for when the input is used up
   * @throws invalid-argument for damaged data
   */
  pull(out: Uint8Array): number {
    let madeBytes = 0;
    while (madeBytes < out.byteLength && !this.#hasEnded) {
      const room = out.byteLength - madeBytes;
      const [roomAfter, leftAfter] = this.#write(constants.Z_NO_FLUSH, out, madeBytes);
      madeBytes += room - roomAfter;
      this.#at += this.#leftBytes - leftAfter;
      this.#leftBytes = leftAfter;
      // It has room and input, and does nothing: the last member has ended.
      if (roomAfter > 0 && leftAfter > 0) this.#hasEnded = true;
      if (roomAfter > 0) break;
    }
    return madeBytes;
  }

  /** @throws invalid-argument when the data is cut */
  end(): void {
    this.#leftBytes = 0;
    if (!this.#hasEnded) this.#write(constants.Z_FINISH, nothing, 0);
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }

  #write(flush: number, out: Uint8Array, outAt: number): readonly [number, number] {
    const { _handle: decoder, _writeState: state } = this.#stream;
    const room = out.byteLength - outAt;
    decoder.writeSync(flush, this.#input, this.#at, this.#leftBytes, out, outAt, room);
    if (this.#failure !== undefined) throw this.#failure;
    return [state[0] ?? 0, state[1] ?? 0];
  }
}
