import { describe, expect, test } from "bun:test";
import { PassThrough } from "node:stream";
import { message } from "../protobuf.ts";
import { encodeMessageFrame } from "./frames.ts";
import { MessageStream } from "./message-stream.ts";

describe("a stream of messages", () => {
  test("without a byte holds its sender back, too", async () => {
    const pipe = new PassThrough();
    const messages = new MessageStream(pipe);
    const frames = Buffer.alloc(64 * 1024 * encodeMessageFrame(message({}), {}).length);
    pipe.write(frames);
    await Bun.sleep(5);
    expect(pipe.isPaused()).toBe(true);
    for (let count = 0; count < 64 * 1024; count += 1) {
      expect(await messages.next()).toHaveLength(0);
    }
    expect(pipe.isPaused()).toBe(false);
  });
});
