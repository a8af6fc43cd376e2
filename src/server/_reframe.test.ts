import { expect, test } from "bun:test";
import { PassThrough, Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { encodeMuxFrame } from "../api/mux.ts";
import { reframe } from "./_reframe.ts";

const bytes = (text: string): Buffer => Buffer.from(text);
const frame = (stream: "stdout" | "stderr", text: string): Uint8Array =>
  encodeMuxFrame(stream, bytes(text));

/** A process's stream: what it prints is pushed, what it is told is collected. */
function openProcess(): { readonly stream: Duplex; readonly told: string[] } {
  const told: string[] = [];
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      told.push(chunk.toString());
      done();
    },
    final: (done) => {
      told.push("<end>");
      done();
    },
  });
  return { stream, told };
}

test("a terminal's output comes in frames of stdout, its input as it was typed", async () => {
  const { stream, told } = openProcess();
  const framed = reframe(stream, { hasTty: true });
  const output = buffer(framed);
  stream.push("a");
  await Bun.sleep(1);
  stream.push("bc");
  stream.push(null);
  framed.end("typed");
  expect(await output).toEqual(Buffer.concat([frame("stdout", "a"), frame("stdout", "bc")]));
  expect(told).toEqual(["typed", "<end>"]);
});

test("of two outputs stdout is left, wherever the frames are cut", async () => {
  const whole = Buffer.concat([
    frame("stdout", "one "),
    frame("stderr", "never seen"),
    frame("stdout", "two"),
  ]);
  for (let cut = 0; cut <= whole.length; cut += 1) {
    const { stream } = openProcess();
    const output = buffer(reframe(stream, { hasTty: false }));
    for (const part of [whole.subarray(0, cut), whole.subarray(cut)]) {
      if (part.length > 0) stream.push(part);
    }
    stream.push(null);
    expect((await output).toString()).toBe("one two");
  }
});

test("a reader that is slow holds the process back", async () => {
  const source = new PassThrough();
  const framed = reframe(source, { hasTty: true });
  framed.read(0);
  const chunk = Buffer.alloc(64 * 1024);
  let writtenCount = 0;
  while (writtenCount < 100 && source.write(chunk)) {
    writtenCount += 1;
    await Bun.sleep(0);
  }
  expect(writtenCount).toBeLessThan(20);
  const output = buffer(framed);
  source.end();
  expect((await output).length).toBeGreaterThan(writtenCount * chunk.length);
});

test("the loss of either side ends the other", async () => {
  const [one, two] = [openProcess().stream, openProcess().stream];
  reframe(one, { hasTty: true }).destroy();
  const framed = reframe(two, { hasTty: false });
  two.destroy();
  await Bun.sleep(1);
  expect([one.destroyed, framed.destroyed]).toEqual([true, true]);
});

test("output that is not framed is an error, not garbage", async () => {
  const { stream } = openProcess();
  const framed = reframe(stream, { hasTty: false });
  const failed = Promise.withResolvers<Error>();
  framed.once("error", failed.resolve);
  framed.resume();
  stream.push("nonsense, no frames");
  expect((await failed.promise).message).toMatch(/Unrecognized input header/);
});
