import { closeSync, fsyncSync, openSync, rmSync, statSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";

/** Bytes kept back; enough for the records of thousands of stops and removals. */
const reserveSizeBytes = 4 * 1024 * 1024;

/** The reserve is made anew when this many times its size is free. */
const spareFactor = 4;

/** Time between two attempts to make the reserve anew. */
const attemptPeriodMs = 5_000;

/** What `openDiskReserve` needs. */
export interface DiskReserveOptions {
  /** The data root: the reserve is the file `reserve` in it. */
  readonly root: string;
  readonly logger: Logger;
  readonly sizeBytes?: number;
}

/** Space on the disk of the data root that is given up so that stop and remove work when it is full. */
export interface DiskReserve {
  readonly isHeld: boolean;
  /** Gives the space up; tells whether there was any. */
  release(): boolean;
  /** Takes the space again once there is enough; cheap to call after each write. */
  restore(): void;
}

/** Takes the reserve; a disk that is full already leaves it for later. */
export function openDiskReserve(options: DiskReserveOptions): DiskReserve {
  const path = join(options.root, "reserve");
  const sizeBytes = options.sizeBytes ?? reserveSizeBytes;
  let isHeld = sizeOf(path) === sizeBytes;
  let attemptedMs = Number.NEGATIVE_INFINITY;
  const restore = (): void => {
    if (isHeld || performance.now() - attemptedMs < attemptPeriodMs) return;
    attemptedMs = performance.now();
    const disk = statfsSync(options.root);
    if (disk.bavail * disk.bsize < sizeBytes * spareFactor) return;
    isHeld = take(path, sizeBytes);
  };
  restore();
  return {
    get isHeld(): boolean {
      return isHeld;
    },
    release(): boolean {
      if (!isHeld) return false;
      rmSync(path, { force: true });
      isHeld = false;
      attemptedMs = performance.now();
      options.logger.warn("disk is full: gave up the reserve", { path, sizeBytes });
      return true;
    },
    restore,
  };
}

function take(path: string, sizeBytes: number): boolean {
  try {
    const fd = openSync(path, "w", 0o600);
    try {
      // Not a hole: the blocks must be there.
      const chunk = Buffer.alloc(Math.min(sizeBytes, 1024 * 1024), 0x54);
      for (let left = sizeBytes; left > 0; left -= chunk.length) {
        writeSync(fd, chunk, 0, Math.min(left, chunk.length));
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    return true;
  } catch (error) {
    if (codeOf(error) !== "ENOSPC" && codeOf(error) !== "EDQUOT") throw error;
    rmSync(path, { force: true });
    return false;
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
