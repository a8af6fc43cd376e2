import { Worker } from "node:worker_threads";
import { EngineError } from "../../lib/errors.ts";
import { createDigester, type Digest } from "../../oci/digest.ts";
import { workerProgram } from "../../sys/process/process.ts";
import { createHashRing, RingEnd, slotCount } from "./_hash-ring.ts";
import type { SharedSlots } from "../slot-ring.ts";
import type { ArchiveSink } from "./_tar-output.ts";

/** The other thread takes a slot in less than a thousandth of that. */
const silenceMaxMs = 60_000;

interface HashThread {
  readonly ring: SharedSlots;
  readonly end: RingEnd;
  readonly worker: Worker | undefined;
}

/** The thread of the archive before, or a ring that has none yet. */
let resting: HashThread | undefined;

/**
 * Hashes an archive while it is written: a large one in another thread, so that files are read and
 * hashed at the same time; one that fits into the ring in this thread, since starting one takes longer.
 *
 * Synchronous, and so nothing for the daemon. Dispose it: what was not asked for its digest is dropped.
 */
export class ArchiveHash implements ArchiveSink, Disposable {
  #thread: HashThread;
  /** Of slots that were filled and not given yet. */
  #sizes: number[] = [];
  #hasGiven = false;
  #isOver = false;

  constructor() {
    const ring = resting?.ring ?? createHashRing();
    this.#thread = resting ?? { ring, end: new RingEnd(ring), worker: undefined };
    resting = undefined;
  }

  room(): Uint8Array {
    const { end } = this.#thread;
    if (this.#sizes.length === slotCount) this.#give();
    const index = end.givenCount + this.#sizes.length;
    if (!end.waitForRoom(index, silenceMaxMs)) throw this.#broken();
    return end.slot(index);
  }

  take(sizeBytes: number): void {
    this.#sizes.push(sizeBytes);
    if (this.#hasGiven) this.#give();
  }

  /** The digest of all that was taken; the last call. */
  digest(): Digest {
    const { end } = this.#thread;
    if (!this.#hasGiven) {
      this.#rest();
      return this.#digestHere();
    }
    const index = end.answeredCount;
    this.#end({ isDropped: false });
    const digest = end.waitForDigest(index, silenceMaxMs);
    if (digest === undefined) throw this.#broken();
    this.#rest();
    return digest;
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    if (this.#hasGiven) this.#end({ isDropped: true });
    this.#rest();
  }

  #give(): void {
    this.#hasGiven = true;
    const { ring, worker, end } = this.#thread;
    if (worker === undefined) this.#thread = { ring, end, worker: startWorker(ring) };
    end.give(this.#sizes);
    this.#sizes = [];
  }

  #end(how: { readonly isDropped: boolean }): void {
    const { end } = this.#thread;
    if (!end.waitForRoom(end.givenCount, silenceMaxMs)) throw this.#broken();
    end.end(how);
  }

  #digestHere(): Digest {
    const { end } = this.#thread;
    const digester = createDigester();
    for (const [offset, sizeBytes] of this.#sizes.entries()) {
      digester.update(end.slot(end.givenCount + offset).subarray(0, sizeBytes));
    }
    return digester.digest();
  }

  #rest(): void {
    this.#isOver = true;
    resting = this.#thread;
  }

  /** What has fallen silent is not used again. */
  #broken(): EngineError {
    this.#isOver = true;
    void this.#thread.worker?.terminate();
    return new EngineError("internal", "hash layer: the hashing thread does not answer");
  }
}

function startWorker(ring: SharedSlots): Worker {
  const worker = new Worker(workerProgram("snapshot/diff/hash-worker"), { workerData: ring });
  // It blocks for as long as there is nothing to hash, and must not hold the process.
  worker.unref();
  return worker;
}
