import { closeSync, openSync, readSync } from "node:fs";
import { codeOf } from "../../lib/errors.ts";

/** A layer's blob, whole or still on its way. */
export interface BlobSource {
  readonly blobPath: string;
  /** The unfinished write that becomes the blob. */
  readonly ingest?: {
    readonly path: string;
    /** Of the blob, once it is whole. */
    readonly sizeBytes: number;
  };
}

/** How often a blob that has no more bytes yet is looked at. */
const lookPeriodMs = 3;

/** Reads a blob front to back in the calling thread; waits for what has not come yet. */
export class BlobFile implements Disposable {
  readonly #fd: number;
  readonly #wholeBytes: number;
  readonly #pause: (timeMs: number) => boolean;
  #readBytes = 0;

  /** @param options.pause blocks for a while; false when there is no more use in waiting */
  constructor(source: BlobSource, options: { readonly pause: (timeMs: number) => boolean }) {
    this.#fd = openEither(source);
    this.#wholeBytes = source.ingest?.sizeBytes ?? 0;
    this.#pause = options.pause;
  }

  /** Bytes read so far. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** Reads into `room`. @returns how many bytes; 0 at the end, or when waiting has no more use */
  read(room: Uint8Array): number {
    for (;;) {
      const sizeBytes = readSync(this.#fd, room, 0, room.byteLength, this.#readBytes);
      this.#readBytes += sizeBytes;
      if (sizeBytes > 0 || this.#readBytes >= this.#wholeBytes) return sizeBytes;
      if (!this.#pause(lookPeriodMs)) return 0;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** The unfinished write, or the blob that it has become meanwhile. */
function openEither({ ingest, blobPath }: BlobSource): number {
  if (ingest === undefined) return openSync(blobPath, "r");
  try {
    return openSync(ingest.path, "r");
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return openSync(blobPath, "r");
  }
}
