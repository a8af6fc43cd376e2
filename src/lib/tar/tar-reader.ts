import { decodeGnuRuns, sparseSink } from "./_tar-sparse.ts";
import { decodeBlock, isZeroBlock, type TarBlock } from "./_tar-block.ts";
import { TarExtensions } from "./_tar-extensions.ts";
import { decodePax } from "./_tar-pax.ts";
import { EngineError } from "../errors.ts";
import { decodeByteString, tarBlockBytes, type TarHeader, tarPaddingBytes } from "./tar-header.ts";
import { escapeControls } from "../terminal-text.ts";

/** Where the content of one entry goes. All calls are synchronous, in order, from `push`. */
export interface EntrySink {
  /** Takes the next bytes. They are the caller's chunk itself: valid only during the call. */
  write(bytes: Uint8Array): void;
  /** Takes a run of zeros of a sparse file; without it the zeros come by `write`. */
  hole?(sizeBytes: number): void;
  /** Called once all content has come; never for an archive that was cut. */
  end(): void;
}

/** Who is told of entries. */
export interface TarHandler {
  /** Called for each entry in order; returns where its content goes. Whatever it throws ends all. */
  entry(header: TarHeader): EntrySink | "skip";
}

/** Bounds of an archive. */
export interface TarLimits {
  /** Of the archive, and of all files that it makes, each. */
  readonly sizeMaxBytes: number;
  readonly entriesMax?: number;
  readonly nameMaxBytes?: number;
  /** Of one extended header. */
  readonly paxMaxBytes?: number;
}

/** Entries an archive may have, unless the caller says otherwise. */
export const tarEntriesMax = 10_000_000;
/** Longest name and link target; Linux' PATH_MAX. */
export const tarNameMaxBytes = 4_096;
/** Largest extended header. */
export const tarPaxMaxBytes: number = 1024 * 1024;

type State =
  | { readonly kind: "header" }
  | { readonly kind: "meta"; readonly typeFlag: string }
  | { readonly kind: "gnu-map"; readonly block: TarBlock; readonly realBytes: number }
  | { readonly kind: "pax-map"; readonly block: TarBlock }
  | { readonly kind: "content" }
  | { readonly kind: "ended" };

const newline = 0x0a;
const discard: EntrySink = { write: () => undefined, end: () => undefined };

/**
 * Reads a tar archive as it comes: V7, ustar, PAX, GNU and star, sparse files included.
 *
 * Feed it with `push` and close with `end`. Content is never copied; one entry's header is all
 * that is held. Two zero blocks end the archive, what follows them is ignored; an archive may also
 * just stop between two entries.
 *
 * Every failure is invalid-argument, names the entry, and leaves the reader unusable.
 */
export class TarReader {
  readonly #handler: TarHandler;
  readonly #limits: Required<TarLimits>;
  readonly #extensions: TarExtensions;
  readonly #straddling: Buffer = Buffer.allocUnsafe(tarBlockBytes);
  #straddlingBytes = 0;
  #state: State = { kind: "header" };
  #sink: EntrySink = discard;
  #leftBytes = 0;
  #paddingBytes = 0;
  #collected: Buffer[] = [];
  #archiveBytes = 0;
  #filesBytes = 0;
  #entries = 0;
  #name = "";
  #sawZeroBlock = false;
  #mapLinesLeft = 0;

  constructor(handler: TarHandler, limits: TarLimits) {
    this.#handler = handler;
    this.#limits = {
      entriesMax: tarEntriesMax,
      nameMaxBytes: tarNameMaxBytes,
      paxMaxBytes: tarPaxMaxBytes,
      ...limits,
    };
    this.#extensions = new TarExtensions(this.#limits, (what) => this.#refuse(what));
  }

  /** How many entries have been read. */
  get entries(): number {
    return this.#entries;
  }

  /** Whether the end of the archive was seen; what is pushed from now on is ignored. */
  get hasEnded(): boolean {
    return this.#state.kind === "ended";
  }

  /**
   * Reads the next bytes, of any length; calls the handler and its sinks.
   *
   * @throws invalid-argument for a malformed archive or a passed limit; whatever a sink throws
   */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#archiveBytes += bytes.length;
    let at = 0;
    while (at < bytes.length && this.#state.kind !== "ended") {
      if (this.#leftBytes > 0) at = this.#takeContent(bytes, at);
      else if (this.#paddingBytes > 0) {
        const passed = Math.min(this.#paddingBytes, bytes.length - at);
        this.#paddingBytes -= passed;
        at += passed;
      } else at = this.#takeBlock(bytes, at);
    }
    if (this.#archiveBytes > this.#limits.sizeMaxBytes) {
      this.#refuse(`the archive has more than ${this.#limits.sizeMaxBytes} bytes`);
    }
  }

  /**
   * Says that no more bytes come.
   *
   * @throws invalid-argument when the archive is cut in the middle of an entry
   */
  end(): void {
    const isBetween = this.#state.kind === "header" && this.#straddlingBytes === 0;
    if (this.#state.kind === "ended") return;
    if (!isBetween || this.#leftBytes > 0 || this.#extensions.isPending) {
      this.#refuse("unexpected end of the archive");
    }
    this.#state = { kind: "ended" };
  }

  #takeContent(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#leftBytes);
    const part = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end);
    if (this.#state.kind === "meta") this.#collected.push(Buffer.from(part));
    else this.#sink.write(part);
    this.#leftBytes -= end - at;
    if (this.#leftBytes === 0) this.#finish();
    return end;
  }

  #takeBlock(bytes: Buffer, at: number): number {
    if (this.#straddlingBytes === 0 && bytes.length - at >= tarBlockBytes) {
      this.#block(bytes, at);
      return at + tarBlockBytes;
    }
    const end = Math.min(bytes.length, at + tarBlockBytes - this.#straddlingBytes);
    bytes.copy(this.#straddling, this.#straddlingBytes, at, end);
    this.#straddlingBytes += end - at;
    if (this.#straddlingBytes === tarBlockBytes) {
      this.#straddlingBytes = 0;
      this.#block(this.#straddling, 0);
    }
    return end;
  }

  #block(bytes: Buffer, at: number): void {
    const state = this.#state;
    if (state.kind === "gnu-map") this.#gnuMapBlock(bytes, at, state);
    else if (state.kind === "pax-map") this.#paxMapBlock(bytes, at, state);
    else this.#headerBlock(bytes, at);
  }

  #headerBlock(bytes: Buffer, at: number): void {
    if (isZeroBlock(bytes, at)) {
      if (this.#extensions.isPending) this.#refuse("an extended header has no entry");
      if (this.#sawZeroBlock) this.#state = { kind: "ended" };
      this.#sawZeroBlock = true;
      return;
    }
    this.#name = "";
    this.#entries += 1;
    // A reader that goes on and one that stops here would see two different archives.
    if (this.#sawZeroBlock) this.#refuse("a lone zero block comes before it");
    if (this.#entries > this.#limits.entriesMax) {
      this.#refuse(`the archive has more than ${this.#limits.entriesMax} entries`);
    }
    const block = decodeBlock(bytes, at, (what) => this.#refuse(what));
    if (block.sizeBytes < 0) this.#refuse("the size is negative");
    if ("xgLK".includes(block.typeFlag)) this.#openMeta(block);
    else if (block.typeFlag === "S") this.#openGnuSparse(bytes, at, block);
    else if (this.#extensions.hasMapInContent) this.#openPaxSparse(block);
    else this.#open(block, this.#extensions.contentBytes(block));
  }

  #openMeta(block: TarBlock): void {
    this.#entries -= 1;
    if (block.sizeBytes > this.#limits.paxMaxBytes) {
      this.#refuse(`an extended header has more than ${this.#limits.paxMaxBytes} bytes`);
    }
    this.#state = { kind: "meta", typeFlag: block.typeFlag };
    this.#collected = [];
    this.#expect(block.sizeBytes);
  }

  #openGnuSparse(bytes: Buffer, at: number, block: TarBlock): void {
    const refuse = (what: string): never => this.#refuse(what);
    this.#extensions.addRuns(decodeGnuRuns(bytes, { at: at + 386, count: 4, refuse }));
    const realBytes = this.#extensions.gnuRealBytes(bytes, at + 483);
    if (bytes[at + 482] !== 0) this.#state = { kind: "gnu-map", block, realBytes };
    else this.#open(block, this.#extensions.contentBytes(block), realBytes);
  }

  #gnuMapBlock(
    bytes: Buffer,
    at: number,
    state: { readonly block: TarBlock; readonly realBytes: number },
  ): void {
    const refuse = (what: string): never => this.#refuse(what);
    this.#extensions.addRuns(decodeGnuRuns(bytes, { at, count: 21, refuse }));
    if (bytes[at + 504] !== 0) return;
    this.#state = { kind: "header" };
    this.#open(state.block, this.#extensions.contentBytes(state.block), state.realBytes);
  }

  #openPaxSparse(block: TarBlock): void {
    if (this.#extensions.contentBytes(block) < tarBlockBytes) this.#refuse("the sparse map is cut");
    this.#state = { kind: "pax-map", block };
    this.#collected = [];
  }

  #paxMapBlock(bytes: Buffer, at: number, state: { readonly block: TarBlock }): void {
    const part = Buffer.from(bytes.subarray(at, at + tarBlockBytes));
    if (this.#collected.length === 0) this.#mapLinesLeft = this.#extensions.mapLines(part);
    this.#collected.push(part);
    for (const byte of part) if (byte === newline) this.#mapLinesLeft -= 1;
    const usedBytes = this.#collected.length * tarBlockBytes;
    const storedBytes = this.#extensions.contentBytes(state.block) - usedBytes;
    if (this.#mapLinesLeft > 0) {
      // A line is at most 17 digits; longer ones are refused by the bound of the whole.
      const isTooLong = usedBytes > this.#limits.paxMaxBytes * 2;
      if (storedBytes < tarBlockBytes || isTooLong) this.#refuse("the sparse map is cut");
      return;
    }
    const map = Buffer.concat(this.#collected);
    this.#extensions.takeMap(map, this.#extensions.mapLines(map));
    this.#collected = [];
    this.#open(state.block, storedBytes);
  }

  #open(block: TarBlock, storedBytes: number, gnuRealBytes?: number): void {
    this.#name = this.#extensions.nameOf(block);
    const { header, sparse } = this.#extensions.apply(block, { storedBytes, gnuRealBytes });
    // The flag of a file with a name that ends in "/": a directory, by V7's rule.
    if (header.type === "directory" && block.typeFlag !== "5" && storedBytes > 0) {
      this.#refuse("a directory has content");
    }
    this.#filesBytes += header.sizeBytes;
    if (this.#filesBytes > this.#limits.sizeMaxBytes) {
      this.#refuse(`the files have more than ${this.#limits.sizeMaxBytes} bytes together`);
    }
    const sink = this.#handler.entry(header);
    const isSparse = sparse !== undefined && sink !== "skip";
    this.#sink = sink === "skip" ? discard : isSparse ? sparseSink(sink, sparse) : sink;
    this.#state = { kind: "content" };
    const hasContent = header.type === "file" || header.type === "other";
    this.#expect(hasContent ? storedBytes : 0);
  }

  #expect(sizeBytes: number): void {
    this.#leftBytes = sizeBytes;
    this.#paddingBytes = tarPaddingBytes(sizeBytes);
    if (sizeBytes === 0) this.#finish();
  }

  #finish(): void {
    const state = this.#state;
    this.#state = { kind: "header" };
    if (state.kind !== "meta") {
      const sink = this.#sink;
      this.#sink = discard;
      sink.end();
      return;
    }
    const content = Buffer.concat(this.#collected);
    this.#collected = [];
    if (state.typeFlag === "L" || state.typeFlag === "K") {
      this.#extensions.setLong(state.typeFlag, content);
      return;
    }
    // Docker: global headers are ignored, seen in 28.5.
    if (state.typeFlag === "g") return;
    this.#extensions.setLocal(decodePax(content, (what) => this.#refuse(what)));
  }

  #refuse(what: string): never {
    this.#state = { kind: "ended" };
    const name = JSON.stringify(decodeByteString(this.#name.slice(0, 256)));
    const quoted = this.#name === "" ? "" : ` ${escapeControls(name)}`;
    throw new EngineError("invalid-argument", `tar entry ${this.#entries}${quoted}: ${what}`);
  }
}
