import { afterEach, expect, test } from "bun:test";
import { type RestWatch, watchRest } from "./rest.ts";

/** Rests after 100 ms, settles after 20, looks for 5. */
const hurry = 100;

interface Watched extends RestWatch {
  readonly calls: string[];
  /** How much of a processor is used. */
  share: number;
}

const opened: Watched[] = [];

function open(): Watched {
  const calls: string[] = [];
  const beganMs = performance.now();
  const watch = watchRest({
    release: () => calls.push("release"),
    releaseLate: () => calls.push("late"),
    usedMs: () => (performance.now() - beganMs) * watched.share,
    hurry,
  });
  const watched: Watched = { ...watch, calls, share: 0 };
  opened.push(watched);
  return watched;
}

afterEach(() => {
  for (const watch of opened.splice(0)) watch.close();
});

test("what the start needed is given back soon after it, once", async () => {
  const { calls } = open();
  await Bun.sleep(40);
  expect(calls).toEqual(["release"]);
  await Bun.sleep(300);
  expect(calls).toEqual(["release", "late"]);
});

test("a daemon that is at work from its start on gives back when that has ended", async () => {
  const watch = open();
  watch.share = 0.3;
  watch.disturb();
  await Bun.sleep(60);
  expect(watch.calls).toEqual([]);
  watch.share = 0;
  await Bun.sleep(300);
  expect(watch.calls).toEqual(["release", "late"]);
});

test("memory is given back after each rest, and not while requests come", async () => {
  const watch = open();
  await Bun.sleep(80);
  watch.calls.length = 0;
  for (let count = 0; count < 8; count += 1) {
    watch.disturb();
    await Bun.sleep(20);
  }
  expect(watch.calls).toEqual([]);
  await Bun.sleep(200);
  expect(watch.calls).toEqual(["release", "late"]);
  watch.disturb();
  await Bun.sleep(200);
  expect(watch.calls).toEqual(["release", "late", "release", "late"]);
});

test("work that one request has begun is no rest, however long it takes", async () => {
  const watch = open();
  watch.share = 0.3;
  watch.disturb();
  await Bun.sleep(450);
  expect(watch.calls).toEqual([]);
  watch.share = 0;
  await Bun.sleep(250);
  expect(watch.calls).toEqual(["release", "late"]);
});

test("a client that only listens is no work", async () => {
  const watch = open();
  await Bun.sleep(80);
  watch.calls.length = 0;
  watch.share = 0.01;
  watch.disturb();
  await Bun.sleep(200);
  expect(watch.calls).toEqual(["release", "late"]);
});

test("closed, it does nothing any more", async () => {
  const watch = open();
  watch.disturb();
  watch.close();
  await Bun.sleep(250);
  expect(watch.calls).toEqual([]);
});
