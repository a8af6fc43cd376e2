import { readSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";

/** Largest request; paths of all parents of a layer fit many times. */
const requestSizeMaxBytes = 4 * 1024 * 1024;
const readBytes = 64 * 1024;

/** The lines of a helper's standard input, as they come; it waits for them without an event loop. */
export function* requestLines(): Generator<string, void, undefined> {
  const chunk = Buffer.alloc(readBytes);
  let kept = Buffer.alloc(0);
  for (;;) {
    const count = readSync(0, chunk, 0, chunk.length, null);
    if (count === 0) return;
    kept = Buffer.concat([kept, chunk.subarray(0, count)]);
    for (let end = kept.indexOf(0x0a); end >= 0; end = kept.indexOf(0x0a)) {
      yield kept.toString("utf8", 0, end);
      kept = kept.subarray(end + 1);
    }
    if (kept.length > requestSizeMaxBytes) {
      throw new EngineError("invalid-argument", "read layer: the request is too large");
    }
  }
}
