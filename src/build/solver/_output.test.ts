import { describe, expect, test } from "bun:test";
import { OutputFrames } from "./_output-frames.ts";
import { clippedNotice, OutputLimit } from "./_output-limit.ts";

function frame(stream: number, text: string): Uint8Array {
  const header = new Uint8Array(8);
  header[0] = stream;
  new DataView(header.buffer).setUint32(4, text.length);
  return Buffer.concat([header, Buffer.from(text)]);
}

describe("OutputFrames", () => {
  test("puts together frames that come in pieces of any size", () => {
    const whole = Buffer.concat([
      frame(1, "one"),
      frame(2, "error"),
      frame(1, ""),
      frame(1, "two".repeat(100)),
    ]);
    for (let size = 1; size <= whole.length; size += 1) {
      const texts = { stdout: "", stderr: "" };
      const frames = new OutputFrames((stream, bytes) => {
        texts[stream] += Buffer.from(bytes).toString();
      });
      for (let at = 0; at < whole.length; at += size) frames.push(whole.subarray(at, at + size));
      expect(texts).toEqual({ stdout: `one${"two".repeat(100)}`, stderr: "error" });
    }
  });

  test.each([0, 3, 255])("refuses the stream %p", (stream) => {
    const frames = new OutputFrames(() => undefined);
    expect(() => frames.push(frame(stream, "x"))).toThrow("not framed");
  });
});

describe("OutputLimit", () => {
  test("passes output on up to the limit, says once that it was clipped, then nothing", () => {
    const limit = new OutputLimit(10);
    const take = (text: string): string | undefined => {
      const shown = limit.take(Buffer.from(text));
      return shown === undefined ? undefined : Buffer.from(shown).toString();
    };
    expect(take("12345")).toBe("12345");
    expect(take("67890")).toBe("67890");
    expect(take("x")).toBe(clippedNotice);
    expect(take("y")).toBeUndefined();
  });

  test("ends the line it cuts", () => {
    const shown = new OutputLimit(3).take(Buffer.from("abcdef"));
    expect(Buffer.from(shown ?? []).toString()).toBe(`abc\n${clippedNotice}`);
  });
});
