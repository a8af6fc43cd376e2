import { describe, expect, test } from "bun:test";
import { PassThrough } from "node:stream";
import { bytesField, message } from "../protobuf.ts";
import { encodeMessageFrame } from "./frames.ts";
import { MessageStream } from "./message-stream.ts";
import type { SendWindow } from "./send-windows.ts";

const noteType = message<{ readonly data: Uint8Array }>({ data: bytesField(1) });

/** A window that is opened by hand. */
function handWindow(): SendWindow & { grant(countBytes: number): void } {
  let leftBytes = 0;
  const waiting = new Set<() => void>();
  return {
    get leftBytes() {
      return leftBytes;
    },
    spend: (countBytes) => {
      leftBytes -= countBytes;
    },
    onMore: (call) => {
      waiting.add(call);
      return () => void waiting.delete(call);
    },
    grant: (countBytes) => {
      leftBytes += countBytes;
      for (const call of [...waiting]) call();
    },
  };
}

describe("a stream of messages", () => {
  test("without a byte holds its sender back, too", async () => {
    const pipe = new PassThrough();
    const messages = new MessageStream(pipe);
    const frames = Buffer.alloc(
      64 * 1024 * Buffer.concat(encodeMessageFrame(message({}), {})).length,
    );
    pipe.write(frames);
    await Bun.sleep(5);
    expect(pipe.isPaused()).toBe(true);
    for (let count = 0; count < 64 * 1024; count += 1) {
      expect(await messages.next()).toHaveLength(0);
    }
    expect(pipe.isPaused()).toBe(false);
  });

  test("gives what is here without waiting, in its order, and lets the sender go on", async () => {
    const pipe = new PassThrough({ highWaterMark: 4 * 1024 * 1024 });
    const messages = new MessageStream(pipe);
    expect(messages.queued()).toBeUndefined();
    const sizes = Array.from({ length: 30 }, (_, index) => 60_000 + index);
    for (const size of sizes) {
      for (const piece of encodeMessageFrame(noteType, { data: new Uint8Array(size) })) {
        pipe.write(piece);
      }
    }
    await Bun.sleep(5);
    expect(pipe.isPaused()).toBe(true);
    const lengths: number[] = [];
    for (let count = 0; count < sizes.length; count += 1) {
      const next = count % 2 === 0 ? messages.queued() : undefined;
      lengths.push((next ?? (await messages.next()))?.length ?? 0);
    }
    expect(lengths).toEqual(sizes.map((size) => size + 4));
    expect(pipe.isPaused()).toBe(false);
    expect(messages.queued()).toBeUndefined();
  });

  test("messages go in pieces as there is room, each message whole before the next", async () => {
    const pipe = new PassThrough({ highWaterMark: 1000 });
    const window = handWindow();
    const sender = new MessageStream(pipe, { window });
    const receiver = new MessageStream(pipe);
    const sent = Promise.all(
      [1, 2, 3].map((fill) => sender.send(noteType, { data: Buffer.alloc(700, fill) })),
    );
    let leastBytes = 0;
    for (let round = 0; round < 30; round += 1) {
      window.grant(90);
      await Bun.sleep(0);
      leastBytes = Math.max(leastBytes, window.leftBytes);
    }
    await sent;
    expect(leastBytes).toBeLessThan(900);
    for (const fill of [1, 2, 3]) {
      const bytes = await receiver.next();
      expect([bytes?.length, bytes?.at(-1), bytes?.at(5)]).toEqual([703, fill, fill]);
    }
  });

  test("who waits for room is let go when the stream is gone", async () => {
    const pipe = new PassThrough();
    const sender = new MessageStream(pipe, { window: handWindow() });
    const sent = sender.send(noteType, { data: Buffer.alloc(10) });
    await Bun.sleep(1);
    pipe.destroy();
    await sent;
    await expect(sender.send(noteType, {})).rejects.toMatchObject({ kind: "unavailable" });
  });
});
