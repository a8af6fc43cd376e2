import { Transform, type TransformCallback } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { unpackWithProgram } from "./_unpack-program.ts";
import { ZstdFrames } from "./_zstd-frames.ts";
import { codeOf, EngineError, messageOf } from "../errors.ts";
import { type ByteSource, chunksOf } from "../stream-limit.ts";

/** How bytes are packed, told by their beginning. */
export type Compression = "none" | "gzip" | "zstd" | "bzip2" | "xz";

/** How much a stream may grow when it is unpacked. */
export interface ExpansionLimits {
  readonly expandedSizeMaxBytes: number;
  /** Unpacked bytes a packed byte; holds once `ratioFreeBytes` have come out. */
  readonly expansionRatioMax: number;
  /** `ratioFreeBytes` when absent. */
  readonly ratioFreeBytes?: number;
}

/** Bounds for a layer when the caller has none of its own; deflate itself cannot pass 1032. */
export const defaultExpansionLimits: ExpansionLimits = {
  expandedSizeMaxBytes: 256 * 1024 ** 3,
  expansionRatioMax: 600,
};

/** What may come out before the ratio counts: files of zeros are honest. */
export const ratioFreeBytes: number = 2 * 1024 ** 3;
/** Bytes `detectCompression` wants to see. */
export const detectionSizeBytes = 10;
/** Output buffer of a decoder; smaller ones cost a round through the event loop each. */
const chunkSizeBytes = 256 * 1024;

/** Tells the packing from the first bytes of a stream (`detectionSizeBytes`, or all there are). */
export function detectCompression(firstBytes: Uint8Array): Compression {
  for (const [kind, magic] of magics) {
    if (magic.every((byte, index) => firstBytes[index] === byte)) return kind;
  }
  const isSkippableFrame = ((firstBytes[0] ?? 0) & 0xf0) === 0x50;
  const rest = [0x2a, 0x4d, 0x18];
  return isSkippableFrame && rest.every((byte, index) => firstBytes[index + 1] === byte)
    ? "zstd"
    : "none";
}

const magics: readonly (readonly [Compression, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b, 0x08]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/**
 * Unpacks a stream of any known packing, told from its first bytes; passes others on as they are.
 *
 * Reads several gzip members and zstd frames as one stream. The source is closed when the consumer
 * stops early.
 *
 * bzip2 and xz are unpacked by the programs of that name.
 *
 * @throws invalid-argument for truncated, damaged or too far expanding data
 * @throws unavailable without the program
 */
export async function* decompress(
  source: ByteSource,
  limits: ExpansionLimits = defaultExpansionLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = chunksOf(source);
  const first = await firstChunk(iterator);
  const kind = detectCompression(first);
  const whole = prepend(first, iterator);
  yield* decompressAs(kind, { source: whole, limits });
}

/** Unpacks a stream whose packing is known; see `decompress`. */
export async function* decompressAs(
  kind: Compression,
  options: { readonly source: ByteSource; readonly limits: ExpansionLimits },
): AsyncGenerator<Uint8Array, void, undefined> {
  if (kind === "bzip2" || kind === "xz") {
    const check = (counts: ExpansionCounts): void =>
      checkExpansion(kind, { ...counts, limits: options.limits });
    yield* unpackWithProgram(kind, { source: options.source, check });
    return;
  }
  const decoder = decompressor(kind, options.limits);
  const feeding = feed(decoder, options.source);
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
  } catch (error) {
    throw translate(kind, error);
  } finally {
    decoder.destroy();
    await feeding;
  }
}

/**
 * Makes a stream that takes packed bytes and gives unpacked ones, within limits.
 *
 * It is destroyed with the failure when the data is bad. Prefer `decompress`, which also closes the
 * source.
 *
 * @throws not-implemented for bzip2 and xz
 */
export function decompressor(
  kind: Compression,
  limits: ExpansionLimits = defaultExpansionLimits,
): Transform {
  if (kind === "bzip2" || kind === "xz") {
    throw new EngineError("not-implemented", `unpack data: ${kind} is unpacked by a program alone`);
  }
  return new Decompressor(kind, limits);
}

/** Wraps a zlib decoder, so that input and output are both counted and the end is checked. */
class Decompressor extends Transform {
  readonly #kind: "none" | "gzip" | "zstd";
  readonly #limits: ExpansionLimits;
  readonly #decoder: Transform | undefined;
  readonly #frames: ZstdFrames = new ZstdFrames();
  #packedBytes = 0;
  #expandedBytes = 0;
  #resume: (() => void) | undefined;
  #whenTaken: TransformCallback | undefined;
  /** The decoder has come to its end, by itself: zeros follow, which gzip ignores. */
  #hasEnded = false;

  constructor(kind: "none" | "gzip" | "zstd", limits: ExpansionLimits) {
    super({ readableHighWaterMark: chunkSizeBytes * 2, writableHighWaterMark: chunkSizeBytes });
    this.#kind = kind;
    this.#limits = limits;
    if (kind === "none") return;
    const options = { chunkSize: chunkSizeBytes };
    this.#decoder = kind === "gzip" ? createGunzip(options) : createZstdDecompress(options);
    this.#decoder.on("data", (chunk: Uint8Array) => this.#give(chunk));
    this.#decoder.on("error", (error) => this.destroy(translate(kind, error)));
    this.#decoder.on("end", () => {
      this.#hasEnded = true;
      // It does not say that it has taken what came behind its end.
      this.#taken();
    });
  }

  override _transform(chunk: Uint8Array, _encoding: string, done: TransformCallback): void {
    this.#packedBytes += chunk.byteLength;
    if (this.#decoder === undefined) {
      this.#give(chunk);
      done();
      return;
    }
    if (this.#hasEnded) {
      done();
      return;
    }
    if (this.#kind === "zstd") this.#frames.push(chunk);
    this.#whenTaken = done;
    this.#decoder.write(chunk, (error) => this.#taken(error ?? null));
  }

  override _flush(done: TransformCallback): void {
    if (this.#decoder === undefined || this.#hasEnded) {
      done();
      return;
    }
    this.#decoder.once("end", () => {
      const isCut = this.#kind === "zstd" && !this.#frames.isWhole;
      done(isCut ? unexpectedEnd(this.#kind) : null);
    });
    this.#decoder.end();
  }

  override _read(sizeBytes: number): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
    super._read(sizeBytes);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#decoder?.destroy();
    done(error);
  }

  #taken(error: Error | null = null): void {
    const done = this.#whenTaken;
    this.#whenTaken = undefined;
    done?.(error);
  }

  #give(chunk: Uint8Array): void {
    this.#expandedBytes += chunk.byteLength;
    const refusal = this.#check();
    if (refusal !== undefined) {
      this.destroy(refusal);
      return;
    }
    if (this.push(chunk) || this.#decoder === undefined) return;
    const decoder = this.#decoder;
    decoder.pause();
    this.#resume = () => decoder.resume();
  }

  #check(): EngineError | undefined {
    return refuseExpansion(this.#kind, {
      packedBytes: this.#packedBytes,
      expandedBytes: this.#expandedBytes,
      limits: this.#limits,
    });
  }
}

/** How much has gone into a decoder and come out of it. */
export interface ExpansionCounts {
  readonly packedBytes: number;
  readonly expandedBytes: number;
}

/** @throws invalid-argument when so much must not come out of so much */
export function checkExpansion(
  kind: Compression,
  counts: ExpansionCounts & { readonly limits: ExpansionLimits },
): void {
  const refusal = refuseExpansion(kind, counts);
  if (refusal !== undefined) throw refusal;
}

function refuseExpansion(
  kind: Compression,
  counts: ExpansionCounts & { readonly limits: ExpansionLimits },
): EngineError | undefined {
  const { expandedSizeMaxBytes, expansionRatioMax } = counts.limits;
  if (counts.expandedBytes > expandedSizeMaxBytes) {
    const sentence = `unpack ${kind} data: more than ${expandedSizeMaxBytes} bytes unpacked`;
    return new EngineError("invalid-argument", sentence);
  }
  const freeBytes = counts.limits.ratioFreeBytes ?? ratioFreeBytes;
  const allowed = Math.max(freeBytes, counts.packedBytes * expansionRatioMax);
  if (counts.expandedBytes <= allowed) return undefined;
  const sentence = `unpack ${kind} data: expands more than ${expansionRatioMax} times`;
  return new EngineError("invalid-argument", sentence);
}

async function feed(decoder: Transform, source: ByteSource): Promise<void> {
  try {
    for await (const chunk of source) {
      if (decoder.destroyed) return;
      if (!decoder.write(chunk)) await drained(decoder);
    }
    if (!decoder.destroyed) decoder.end();
  } catch (error) {
    decoder.destroy(error instanceof Error ? error : new EngineError("internal", String(error)));
  }
}

async function drained(decoder: Transform): Promise<void> {
  if (decoder.destroyed || !decoder.writableNeedDrain) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  decoder.once("drain", done).once("close", done);
  await promise;
  decoder.off("drain", done).off("close", done);
}

function translate(kind: Compression, error: unknown): Error {
  const code = codeOf(error) ?? "";
  if (code === "Z_BUF_ERROR") return unexpectedEnd(kind);
  if (!/^(Z_|ZSTD_)/.test(code) && error instanceof Error) return error;
  const sentence = `unpack ${kind} data: ${messageOf(error)}`;
  return new EngineError("invalid-argument", sentence, { cause: error });
}

function unexpectedEnd(kind: Compression): EngineError {
  return new EngineError("invalid-argument", `unexpected end of ${kind} data`);
}

async function firstChunk(iterator: AsyncGenerator<Uint8Array, void>): Promise<Uint8Array> {
  let first: Uint8Array = new Uint8Array(0);
  while (first.byteLength < detectionSizeBytes) {
    const next = await iterator.next();
    if (next.done === true) break;
    first = first.byteLength === 0 ? next.value : Buffer.concat([first, next.value]);
  }
  return first;
}

async function* prepend(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array, void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    if (first.byteLength > 0) yield first;
    yield* rest;
  } finally {
    await rest.return();
  }
}
