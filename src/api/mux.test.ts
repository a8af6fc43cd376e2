import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  createMuxDecoder,
  encodeMuxFrame,
  encodeMuxHeader,
  type MuxStream,
  muxPayloadMaxBytes,
} from "./mux.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Decodes chunks and joins the parts of each run of one stream. */
function decode(chunks: readonly Uint8Array[]): readonly (readonly [MuxStream, string])[] {
  const output: [MuxStream, string][] = [];
  const decoder = createMuxDecoder((stream, payload) => {
    expect(payload.length).toBeGreaterThan(0);
    const last = output.at(-1);
    const text = Buffer.from(payload).toString("latin1");
    if (last?.[0] === stream) last[1] += text;
    else output.push([stream, text]);
  });
  for (const chunk of chunks) decoder.push(chunk);
  decoder.end();
  return output;
}

describe("frames", () => {
  test("are a header of eight bytes and the payload", () => {
    expect([...encodeMuxFrame("stderr", bytes("hi"))]).toEqual([2, 0, 0, 0, 0, 0, 0, 2, 104, 105]);
    expect([...encodeMuxHeader("stdout", 0x01020304)]).toEqual([1, 0, 0, 0, 1, 2, 3, 4]);
  });
  test("come back as they were sent", () => {
    const chunk = Buffer.concat([
      encodeMuxFrame("stdout", bytes("one")),
      encodeMuxFrame("stdout", bytes("")),
      encodeMuxFrame("stderr", bytes("two")),
      encodeMuxFrame("error", bytes("three")),
    ]);
    const expected = [
      ["stdout", "one"],
      ["stderr", "two"],
      ["error", "three"],
    ] as const;
    expect(decode([chunk])).toEqual(expected);
    expect(decode(Array.from(chunk, (byte) => Uint8Array.of(byte)))).toEqual(expected);
  });
  test("parts of a payload are handed on before it is whole", () => {
    const parts: string[] = [];
    const decoder = createMuxDecoder((_stream, payload) => parts.push(payload.length.toString()));
    decoder.push(encodeMuxHeader("stdout", 5));
    decoder.push(bytes("ab"));
    expect(parts).toEqual(["2"]);
  });
});

describe("a stream that is not framed", () => {
  test.each([
    [[4, 0, 0, 0, 0, 0, 0, 1]],
    [[0x6f, 0x75, 0x74, 0x70, 0x75, 0x74, 0x21, 0x0a]],
    [[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]],
    [[...encodeMuxHeader("stdout", muxPayloadMaxBytes + 1)]],
  ])("is refused: %p", (header) => {
    expect(() => decode([Uint8Array.from(header)])).toThrow();
  });
  test.each([
    ["a part of a header", [1, 0, 0]],
    ["2 bytes of a frame", [1, 0, 0, 0, 0, 0, 0, 3, 97]],
  ])("is told from a whole one by its end: %s", (missing, chunk) => {
    expect(() => decode([Uint8Array.from(chunk)])).toThrow(missing);
  });
  test("an empty stream is whole", () => {
    expect(decode([])).toEqual([]);
  });
});

test("fuzz: chunks may be cut anywhere", () => {
  const frame = fc.tuple(
    fc.constantFrom<MuxStream>("stdin", "stdout", "stderr"),
    fc.uint8Array({ maxLength: 40 }),
  );
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (frames, cuts) => {
        const whole = Buffer.concat(frames.map(([stream, body]) => encodeMuxFrame(stream, body)));
        const chunks: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < whole.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1;
          chunks.push(whole.subarray(at, at + size));
          at += size;
        }
        expect(decode(chunks)).toEqual(decode([whole]));
        const sent = frames.map(([, body]) => Buffer.from(body).toString("latin1")).join("");
        expect(
          decode(chunks)
            .map(([, text]) => text)
            .join(""),
        ).toBe(sent);
      },
    ),
    { numRuns: 300 },
  );
});
