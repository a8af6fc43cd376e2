import { decodeNumber, type Refuse } from "./_tar-block.ts";
import type { EntrySink } from "./tar-reader.ts";

/** A run of bytes that the archive holds; what lies between runs is zero. */
export interface SparseRun {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** Runs a sparse map may have. */
export const sparseRunsMax = 65_536;
const zeros = Buffer.alloc(64 * 1024);

/** Decodes `count` pairs of an old GNU map at `at`; an empty pair ends it. */
export function decodeGnuRuns(
  bytes: Buffer,
  field: { readonly at: number; readonly count: number; readonly refuse: Refuse },
): SparseRun[] {
  const runs: SparseRun[] = [];
  const number = (at: number): number =>
    decodeNumber(bytes, { at, size: 12, what: "sparse map", refuse: field.refuse });
  for (let index = 0; index < field.count; index += 1) {
    const at = field.at + index * 24;
    if (bytes[at] === 0) break;
    runs.push({ offsetBytes: number(at), sizeBytes: number(at + 12) });
  }
  return runs;
}

/** Pairs numbers up as runs. */
export function pairRuns(numbers: readonly string[], refuse: Refuse): SparseRun[] {
  const runs: SparseRun[] = [];
  if (numbers.length % 2 !== 0) refuse("the sparse map is malformed");
  for (let index = 0; index < numbers.length; index += 2) {
    const [offset = "", size = ""] = [numbers[index], numbers[index + 1]];
    if (!/^\d{1,16}$/.test(offset) || !/^\d{1,16}$/.test(size))
      refuse("the sparse map is malformed");
    runs.push({ offsetBytes: Number(offset), sizeBytes: Number(size) });
  }
  return runs;
}

/** Refuses runs that overlap, are out of order, pass the end or do not add up to the stored size. */
export function checkRuns(
  runs: readonly SparseRun[],
  bounds: { readonly realBytes: number; readonly storedBytes: number; readonly refuse: Refuse },
): void {
  let end = 0;
  let storedBytes = 0;
  for (const run of runs) {
    if (run.sizeBytes < 0 || run.offsetBytes < end) bounds.refuse("the sparse map is out of order");
    end = run.offsetBytes + run.sizeBytes;
    storedBytes += run.sizeBytes;
  }
  if (!Number.isSafeInteger(end) || end > bounds.realBytes) {
    bounds.refuse("the sparse map is larger than the file");
  }
  if (storedBytes !== bounds.storedBytes) bounds.refuse("the sparse map does not fit the content");
}

/** Fills the holes between runs, so that the sink behind it sees the whole file. */
export function sparseSink(
  inner: EntrySink,
  map: { readonly runs: readonly SparseRun[]; readonly realBytes: number },
): EntrySink {
  const runs = map.runs.filter((run) => run.sizeBytes > 0);
  let index = 0;
  let position = 0;
  const fillTo = (offsetBytes: number): void => {
    const holeBytes = offsetBytes - position;
    position = offsetBytes;
    if (holeBytes <= 0) return;
    if (inner.hole !== undefined) {
      inner.hole(holeBytes);
      return;
    }
    for (let left = holeBytes; left > 0; left -= zeros.length) {
      inner.write(left < zeros.length ? zeros.subarray(0, left) : zeros);
    }
  };
  return {
    write(bytes): void {
      let at = 0;
      for (let run = runs[index]; at < bytes.length && run !== undefined; run = runs[index]) {
        if (position < run.offsetBytes) fillTo(run.offsetBytes);
        const leftBytes = run.offsetBytes + run.sizeBytes - position;
        const taken = Math.min(leftBytes, bytes.length - at);
        inner.write(bytes.subarray(at, at + taken));
        at += taken;
        position += taken;
        if (taken === leftBytes) index += 1;
      }
    },
    end(): void {
      fillTo(map.realBytes);
      inner.end();
    },
  };
}
