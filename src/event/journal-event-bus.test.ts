import { describe, expect, test } from "bun:test";
import type { EventMessage } from "../api/system.ts";
import type { EventQuery } from "./event-bus.ts";
import { matchesEvent } from "./event-filter.ts";
import { createEventBus, listenerBacklogMax } from "./journal-event-bus.ts";

async function collect(
  events: AsyncIterable<EventMessage>,
  countMax = Number.POSITIVE_INFINITY,
): Promise<string[]> {
  const actions: string[] = [];
  for await (const event of events) {
    actions.push(event.Action);
    if (actions.length >= countMax) break;
  }
  return actions;
}

describe("publish()", () => {
  test("writes a container's event as Docker does, old fields included", async () => {
    const bus = createEventBus();
    const events = bus.subscribe();
    bus.publish({
      type: "container",
      action: "create",
      id: "abc",
      attributes: { image: "busybox", name: "x" },
      timeNs: 1_700_000_000_123_456_789n,
    });
    for await (const event of events) {
      expect(JSON.stringify({ ...event, timeNano: String(event.timeNano) })).toBe(
        '{"status":"create","id":"abc","from":"busybox","Type":"container","Action":"create",' +
          '"Actor":{"ID":"abc","Attributes":{"image":"busybox","name":"x"}},"scope":"local",' +
          '"time":1700000000,"timeNano":"1700000000123456789"}',
      );
      break;
    }
    expect(bus.listenerCount).toBe(0);
  });

  test("writes other events without the old fields", async () => {
    const bus = createEventBus();
    const events = bus.subscribe();
    bus.publish({ type: "volume", action: "create", id: "v" });
    for await (const event of events) {
      expect(Object.keys(event)).toEqual(["Type", "Action", "Actor", "scope", "time", "timeNano"]);
      break;
    }
  });

  test("gives strictly rising times, even when the clock stands or goes back", async () => {
    let nowNs = 5_000_000n;
    const bus = createEventBus({ nowNs: () => nowNs });
    for (let i = 0; i < 5; i += 1) bus.publish({ type: "daemon", action: "reload", id: "d" });
    nowNs = 1n;
    bus.publish({ type: "daemon", action: "reload", id: "d" });
    const times: bigint[] = [];
    nowNs = 10_000_000n;
    for await (const event of bus.subscribe({ sinceNs: 0n, untilNs: 9_000_000n })) {
      times.push(event.timeNano);
    }
    expect(times).toEqual([5_000_000n, 5_000_001n, 5_000_002n, 5_000_003n, 5_000_004n, 5_000_005n]);
  });
});

describe("subscribe()", () => {
  test("replays the journal from `since` and goes on with what comes", async () => {
    let nowNs = 1_000_000n;
    const bus = createEventBus({ nowNs: () => nowNs });
    for (const action of ["a", "b", "c"]) {
      bus.publish({ type: "container", action, id: "1" });
      nowNs += 1_000_000n;
    }
    const collected = collect(bus.subscribe({ sinceNs: 2_000_000n }), 3);
    bus.publish({ type: "container", action: "d", id: "1" });
    expect(await collected).toEqual(["b", "c", "d"]);
  });

  test("without `since` tells nothing of the past", async () => {
    const bus = createEventBus();
    bus.publish({ type: "container", action: "old", id: "1" });
    const collected = collect(bus.subscribe(), 1);
    bus.publish({ type: "container", action: "new", id: "1" });
    expect(await collected).toEqual(["new"]);
  });

  test("ends when `until` passes", async () => {
    const bus = createEventBus();
    const untilNs = BigInt(Date.now() + 30) * 1_000_000n;
    const events = bus.subscribe({ untilNs });
    bus.publish({ type: "container", action: "a", id: "1" });
    expect(await collect(events)).toEqual(["a"]);
    expect(bus.listenerCount).toBe(0);
  });

  test("ends at the signal, also while it waits", async () => {
    const bus = createEventBus();
    const stop = new AbortController();
    const collected = collect(bus.subscribe({ signal: stop.signal }));
    bus.publish({ type: "container", action: "a", id: "1" });
    stop.abort();
    expect(await collected).toEqual(["a"]);
    expect(await collect(bus.subscribe({ signal: stop.signal, sinceNs: 0n }))).toEqual(["a"]);
    expect(bus.listenerCount).toBe(0);
  });

  test("forgets the oldest events beyond the capacity", async () => {
    const bus = createEventBus({ capacity: 3 });
    for (let i = 0; i < 10; i += 1) bus.publish({ type: "daemon", action: `${i}`, id: "d" });
    const untilNs = BigInt(Date.now() + 1000) * 1_000_000n;
    expect(await collect(bus.subscribe({ sinceNs: 0n, untilNs }), 3)).toEqual(["7", "8", "9"]);
  });

  test("loses nothing below the limit, and ends a listener beyond it with an error", async () => {
    const bus = createEventBus();
    const slow = bus.subscribe();
    const quick = bus.subscribe({ matches: (event) => event.Action === "0" });
    for (let i = 0; i <= listenerBacklogMax; i += 1) {
      bus.publish({ type: "daemon", action: `${i}`, id: "d" });
    }
    expect(bus.listenerCount).toBe(1);
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of slow) seen.push(event.Action);
    })();
    await expect(reading).rejects.toMatchObject({ kind: "unavailable" });
    expect(seen).toHaveLength(listenerBacklogMax);
    expect(await collect(quick, 1)).toEqual(["0"]);
  });

  test("gives each of many listeners every event it asked for", async () => {
    const bus = createEventBus();
    const queries: EventQuery[] = ["a", "b"].map((id) => ({
      matches: (event) => matchesEvent(event, new Map([["container", [id]]])),
    }));
    const both = queries.map((query) => collect(bus.subscribe(query), 2));
    for (const id of ["a", "b", "a", "b"]) {
      bus.publish({ type: "container", action: `of-${id}`, id });
    }
    expect(await Promise.all(both)).toEqual([
      ["of-a", "of-a"],
      ["of-b", "of-b"],
    ]);
  });
});
