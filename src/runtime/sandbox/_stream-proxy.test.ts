import { describe, expect, test } from "bun:test";
import type { StreamConnection, StreamHandlers } from "../../sys/net/stream-socket.ts";
import { StreamProxy } from "./_stream-proxy.ts";

/** A connection whose kernel takes `roomBytes` more. */
class FakeConnection implements StreamConnection {
  roomBytes = 0;
  taken = "";
  readonly told: string[] = [];
  isPaused = false;
  handlers: StreamHandlers | undefined;

  write(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.roomBytes);
    this.roomBytes -= count;
    this.taken += Buffer.from(bytes.subarray(0, count)).toString();
    return count;
  }
  writeBoth(first: Uint8Array, second: Uint8Array): number {
    return this.write(Buffer.concat([first, second]));
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  endWrite(): void {
    this.told.push("end");
  }
  finish(): void {
    this.told.push("finish");
    this.handlers?.close?.(this);
  }
  close(): void {
    this.told.push("reset");
    this.handlers?.close?.(this);
  }

  says(text: string): void {
    this.handlers?.data(this, Buffer.from(text));
  }
  ends(): void {
    this.handlers?.end?.(this);
  }
  isGone(): void {
    this.handlers?.close?.(this);
  }
  takes(countBytes: number): void {
    this.roomBytes += countBytes;
    this.handlers?.drain?.(this);
  }
}

function joined(): {
  readonly proxy: StreamProxy;
  readonly client: FakeConnection;
  readonly server: FakeConnection;
  readonly isOver: () => boolean;
} {
  let isOver = false;
  const proxy = new StreamProxy(() => {
    isOver = true;
  });
  const [client, server] = [new FakeConnection(), new FakeConnection()];
  client.handlers = proxy.handlers(0);
  server.handlers = proxy.handlers(1);
  client.handlers.open?.(client);
  server.handlers.open?.(server);
  return { proxy, client, server, isOver: () => isOver };
}

/** Whether a promise has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  return await Promise.race([promise.then(() => true), Bun.sleep(1).then(() => false)]);
}

describe("a proxied connection", () => {
  test("a client that takes nothing holds the server back", () => {
    const { client, server } = joined();
    client.roomBytes = 3;
    server.says("hello");
    expect([client.taken, server.isPaused]).toEqual(["hel", true]);
    client.takes(100);
    expect([client.taken, server.isPaused]).toEqual(["hello", false]);
  });

  test("a reset by the server is an end to its client, behind all that came before", () => {
    const { client, server, isOver } = joined();
    server.says("hello");
    client.says("never read");
    server.isGone();
    expect(client.told).toEqual([]);
    // What it still says reaches nobody, and costs it nothing of what it is given.
    client.says("more");
    client.takes(100);
    expect([client.taken, client.told]).toEqual(["hello", ["end"]]);
    client.isGone();
    expect(isOver()).toBe(true);
  });

  test("a client that was held back is seen to end after the server has gone", () => {
    const { client, server } = joined();
    client.says("nobody reads this");
    expect(client.isPaused).toBe(true);
    server.isGone();
    expect([client.isPaused, client.told]).toEqual([false, ["end"]]);
  });

  test("a reset by the client is one to the server", () => {
    const { client, server, isOver } = joined();
    client.isGone();
    expect([server.told, isOver()]).toEqual([["reset"], true]);
  });
});

describe("draining", () => {
  test("all is received although the client takes nothing, then delivered and closed", async () => {
    const { proxy, client, server, isOver } = joined();
    server.says("one ");
    expect(server.isPaused).toBe(true);
    const { received, delivered } = proxy.drain({ leftBytes: 100 });
    expect(server.isPaused).toBe(false);
    server.says("two ");
    expect([server.isPaused, await isDone(received)]).toEqual([false, false]);
    server.ends();
    expect([await isDone(received), await isDone(delivered)]).toEqual([true, false]);
    server.isGone();
    client.takes(6);
    expect(await isDone(delivered)).toBe(false);
    client.takes(100);
    expect(await isDone(delivered)).toBe(true);
    expect([client.taken, client.told, isOver()]).toEqual(["one two ", ["end", "finish"], true]);
  });

  test("without room left the client holds the server back again", async () => {
    const [first, second] = [joined(), joined()];
    const room = { leftBytes: 8 };
    const [one, two] = [first.proxy.drain(room), second.proxy.drain(room)];
    first.server.says("12345");
    expect([first.server.isPaused, await isDone(one.received)]).toEqual([false, false]);
    second.server.says("12345");
    expect([second.server.isPaused, await isDone(two.received)]).toEqual([true, true]);
    second.client.takes(100);
    expect([second.client.taken, second.server.isPaused]).toEqual(["12345", false]);
  });

  test("a client that is gone has nothing to be waited for", async () => {
    const { proxy, client, server } = joined();
    server.says("hello");
    const { received, delivered } = proxy.drain({ leftBytes: 100 });
    client.isGone();
    expect([await isDone(received), await isDone(delivered)]).toEqual([true, true]);
  });

  test("a server that was not reached has nothing to be waited for", async () => {
    const proxy = new StreamProxy(() => undefined);
    const client = new FakeConnection();
    client.handlers = proxy.handlers(0);
    client.handlers.open?.(client);
    const { received, delivered } = proxy.drain({ leftBytes: 100 });
    expect([await isDone(received), await isDone(delivered)]).toEqual([true, true]);
    expect(client.told).toEqual(["reset"]);
    const late = new FakeConnection();
    proxy.handlers(1).open?.(late);
    expect(late.told).toEqual(["reset"]);
  });

  test("one that has ended before is done at once", async () => {
    const { proxy, client, server } = joined();
    client.roomBytes = 100;
    server.says("hello");
    server.ends();
    const { received, delivered } = proxy.drain({ leftBytes: 100 });
    expect([await isDone(received), await isDone(delivered)]).toEqual([true, true]);
    expect([client.taken, client.told]).toEqual(["hello", ["end", "finish"]]);
  });
});
