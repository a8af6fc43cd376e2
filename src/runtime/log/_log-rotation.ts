/** Moves log files up by one: `x` → `x.1` → `x.2` …; safe to be killed in between. */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { codeOf, messageOf } from "../../lib/errors.ts";

/** What `rotateLog` works on. */
export interface RotationOptions {
  readonly path: string;
  /** Files kept, the current one included. */
  readonly countMax: number;
  readonly isCompressed: boolean;
  readonly onWarning: (message: string) => void;
}

/**
 * Frees the name of the current file; the oldest goes.
 *
 * Each step is one rename from the oldest on, so a kill leaves at most a gap in the numbers.
 */
export function rotateLog(options: RotationOptions): void {
  const { path, countMax } = options;
  if (countMax <= 1) {
    rmSync(path, { force: true });
    return;
  }
  for (const ending of ["", ".gz"]) rmSync(`${path}.${countMax - 1}${ending}`, { force: true });
  for (let index = countMax - 2; index >= 1; index -= 1) {
    for (const ending of ["", ".gz"]) {
      renameIfThere(`${path}.${index}${ending}`, `${path}.${index + 1}${ending}`);
    }
  }
  renameIfThere(path, `${path}.1`);
  if (options.isCompressed) void compressOldest(options);
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** Compresses `x.1` beside the writer; the file may be moved up meanwhile, and is found again. */
async function compressOldest(options: RotationOptions): Promise<void> {
  const source = `${options.path}.1`;
  const temporary = `${options.path}.${process.pid}-${performance.now()}.gz.tmp`;
  try {
    const { ino } = statSync(source);
    const { createGzip } = await import("node:zlib");
    const { pipeline } = await import("node:stream/promises");
    await pipeline(
      createReadStream(source, { highWaterMark: 256 * 1024 }),
      createGzip({ chunkSize: 256 * 1024 }),
      createWriteStream(temporary, { mode: 0o640 }),
    );
    const index = indexOf(options, ino);
    if (index === undefined) {
      rmSync(temporary, { force: true });
      return;
    }
    renameSync(temporary, `${options.path}.${index}.gz`);
    rmSync(`${options.path}.${index}`, { force: true });
  } catch (error) {
    rmSync(temporary, { force: true });
    options.onWarning(`compress log: ${messageOf(error)}`);
  }
}

function indexOf(options: RotationOptions, ino: number): number | undefined {
  for (let index = 1; index < options.countMax; index += 1) {
    const path = `${options.path}.${index}`;
    if (existsSync(path) && statSync(path).ino === ino) return index;
  }
  return undefined;
}
