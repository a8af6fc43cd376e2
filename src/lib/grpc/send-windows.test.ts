import { describe, expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import { prefaceBytes, type SendWindow, SendWindows } from "./send-windows.ts";

const startBytes = 65_535;

function frame(type: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function granted(stream: number, countBytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(countBytes);
  return frame(8, stream, payload);
}

function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  }
  return frame(4, 0, payload);
}

class FakeStream extends EventEmitter {
  id: number | undefined;
  constructor(id?: number) {
    super();
    this.id = id;
  }
}

function opened(id = 1): { readonly windows: SendWindows; readonly window: SendWindow } {
  const windows = new SendWindows({ skipBytes: 0 });
  return { windows, window: windows.open(new FakeStream(id)) };
}

describe("what a stream may send", () => {
  test("is what HTTP/2 begins with, less what was sent", () => {
    const { window } = opened();
    window.spend(65_000);
    expect(window.leftBytes).toBe(535);
    window.spend(1000);
    expect(window.leftBytes).toBe(0);
  });

  test.each<readonly [string, Buffer[], number]>([
    ["its own updates", [granted(1, 100), granted(1, 7)], startBytes + 107],
    ["a reserved bit does not count", [granted(1, 0x8000_0001)], startBytes + 1],
    ["those of others, and of the connection", [granted(3, 100), granted(0, 100)], startBytes],
    ["settings", [settings([3, 5], [4, 1000], [6, 9])], 1000],
    ["the last of two", [settings([4, 1000], [4, 50])], 50],
    ["settings and updates together", [granted(1, 100), settings([4, 1000])], 1100],
    ["settings without a window", [settings([3, 1])], startBytes],
    ["an acknowledgement of settings", [frame(4, 0)], startBytes],
    ["data that look like frames", [frame(0, 1, granted(1, 100))], startBytes],
    ["what follows data", [frame(0, 1, Buffer.alloc(20_000)), granted(1, 1)], startBytes + 1],
    ["an update of a wrong length", [frame(8, 1, Buffer.alloc(5)), granted(1, 1)], startBytes + 1],
    ["settings that are too long", [frame(4, 0, Buffer.alloc(60_000)), granted(1, 1)], 65_536],
    ["settings of a broken length", [frame(4, 0, Buffer.alloc(7)), granted(1, 1)], startBytes + 1],
  ])("%s, however the bytes come", (_, frames, expected) => {
    const bytes = Buffer.concat(frames);
    for (const stepBytes of [1, 2, 5, 9, 13, bytes.length]) {
      const { windows, window } = opened();
      for (let at = 0; at < bytes.length; at += stepBytes) {
        // The giver may use its memory again.
        const chunk = Buffer.from(bytes.subarray(at, at + stepBytes));
        windows.receive(chunk);
        chunk.fill(0xff);
      }
      expect(window.leftBytes).toBe(expected);
    }
  });

  test("a smaller window than was used is no room, until there is some", () => {
    const { windows, window } = opened();
    window.spend(5000);
    windows.receive(settings([4, 1000]));
    expect(window.leftBytes).toBe(0);
    windows.receive(granted(1, 4001));
    expect(window.leftBytes).toBe(1);
  });

  test("a server's connection begins with the client's preface", () => {
    const windows = new SendWindows({ skipBytes: prefaceBytes });
    const window = windows.open(new FakeStream(1));
    windows.receive(Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    windows.receive(granted(1, 1));
    expect(window.leftBytes).toBe(startBytes + 1);
  });

  test("a stream gets its number later, and loses it", () => {
    const windows = new SendWindows({ skipBytes: 0 });
    const stream = new FakeStream();
    const window = windows.open(stream);
    windows.receive(granted(5, 1));
    stream.id = 5;
    stream.emit("ready");
    windows.receive(granted(5, 10));
    expect(window.leftBytes).toBe(startBytes + 10);
    stream.emit("close");
    windows.receive(granted(5, 100));
    expect(window.leftBytes).toBe(startBytes + 10);
  });

  test("who waits is called once, and not after having forgotten", () => {
    const { windows, window } = opened();
    const calls: string[] = [];
    window.onMore(() => calls.push("first"));
    const forget = window.onMore(() => calls.push("second"));
    windows.receive(granted(3, 1));
    expect(calls).toEqual([]);
    forget();
    windows.receive(granted(1, 1));
    windows.receive(settings([4, 1]));
    expect(calls).toEqual(["first"]);
    window.onMore(() => calls.push("third"));
    windows.receive(settings([4, 2]));
    expect(calls).toEqual(["first", "third"]);
  });
});
