import os from "node:os";
import { existsSync } from "node:fs";
import { afterEach, expect, test } from "bun:test";
import { type HelperPool, type HelperPoolOptions, openHelperPool } from "./helper-pool.ts";

const pools: HelperPool[] = [];

/** Helpers that answer by a line of shell: the question is in $line. */
function pool(script: string, change: Partial<HelperPoolOptions> = {}): HelperPool {
  const opened = openHelperPool({
    argv: ["sh", "-c", `while read -r line; do ${script}; done`],
    what: "ask",
    helpersMax: 2,
    idleMs: 10_000,
    answerSizeMaxBytes: 1000,
    ...change,
  });
  pools.push(opened);
  return opened;
}

afterEach(async () => {
  for (const each of pools.splice(0)) await each[Symbol.asyncDispose]();
});

test("one helper answers one question after the other", async () => {
  const shell = pool('echo "$$ $line"');
  const first = await shell.ask("one");
  const second = await shell.ask("two");
  expect(first).toEndWith(" one");
  expect(second.split(" ")[0]).toBe(first.split(" ")[0] ?? "");
});

test("news come before the answer, to who asked", async () => {
  const shell = pool('echo "+1"; printf "+2\\n+3\\nanswer %s\\n" "$line"');
  const news: string[] = [];
  expect(await shell.ask("a", { onNews: (line) => void news.push(line) })).toBe("answer a");
  expect(news).toEqual(["1", "2", "3"]);
  expect(await shell.ask("b")).toBe("answer b");
  expect(news).toHaveLength(3);
});

test("no more helpers than allowed, and everybody gets his own answer", async () => {
  const shell = pool('sleep 0.02; echo "$$ $line"');
  const answers = await Promise.all(["a", "b", "c", "d", "e"].map((each) => shell.ask(each)));
  expect(answers.map((each) => each.split(" ")[1])).toEqual(["a", "b", "c", "d", "e"]);
  expect(new Set(answers.map((each) => each.split(" ")[0])).size).toBe(2);
});

test("a helper that was started ahead takes the first question; one is enough", async () => {
  const shell = pool('echo "$$"', {
    argv: ["sh", "-c", "echo +up; while read -r _; do echo $$; done"],
  });
  shell.warmUp();
  shell.warmUp();
  const [first, second] = await Promise.all([shell.ask("a"), shell.ask("b")]);
  expect(await shell.ask("c")).toBeOneOf([first, second]);
  expect(first).not.toBe(second);
  expect(shell.isBusy).toBe(false);
});

test("tells when all helpers are at work", async () => {
  const shell = pool('sleep 0.05; echo "$line"');
  const first = shell.ask("a");
  expect(shell.isBusy).toBe(false);
  const second = shell.ask("b");
  expect(shell.isBusy).toBe(true);
  await first;
  await second;
  expect(shell.isBusy).toBe(false);
});

test("a helper that ends is told with what it printed, and the next question has a new one", async () => {
  const shell = pool('case $line in die) echo sorry >&2; exit 3;; esac; echo "$line"');
  await expect(shell.ask("die")).rejects.toMatchObject({
    kind: "internal",
    message: "ask: the helper ended with exit code 3",
  });
  expect(await shell.ask("live")).toBe("live");
});

test("a helper that was told to end with its answer is not asked again", async () => {
  const shell = pool('case $line in last) printf "+now\\nanswer\\n";; *) echo "$line";; esac');
  const stop = new AbortController();
  const onNews = (): void => stop.abort();
  expect(await shell.ask("last", { signal: stop.signal, onNews })).toBe("answer");
  expect(await shell.ask("next")).toBe("next");
});

test("an abort ends the helper at its work", async () => {
  const shell = pool('sleep "$line"; echo "$$"');
  const stop = new AbortController();
  const asked = shell.ask("30", { signal: stop.signal });
  await Bun.sleep(30);
  stop.abort();
  await expect(asked).rejects.toMatchObject({ kind: "canceled" });
  expect(await shell.ask("0")).toMatch(/^\d+$/);
  await expect(shell.ask("0", { signal: stop.signal })).rejects.toMatchObject({ kind: "canceled" });
});

test("an answer that is too long is none", async () => {
  const shell = pool("head -c 5000 /dev/zero | tr '\\0' x; echo");
  await expect(shell.ask("x")).rejects.toMatchObject({
    message: "ask: the helper answered too much",
  });
});

test("closing ends those at work and those at rest; a helper at rest goes by itself", async () => {
  const shell = pool('echo "$$"; sleep "$line"', { idleMs: 30 });
  const pid = Number(await shell.ask("0"));
  await Bun.sleep(150);
  expect(() => process.kill(pid, 0)).toThrow();
  const busy = pool('sleep 30; echo "$$"');
  const asked = busy.ask("x");
  await Bun.sleep(20);
  await busy[Symbol.asyncDispose]();
  await expect(asked).rejects.toMatchObject({ kind: "canceled" });
  await expect(busy.ask("x")).rejects.toMatchObject({ kind: "canceled" });
});

test("of those at rest one stays, and a further one soon goes", async () => {
  const shell = pool('echo "$$"; sleep "$line"', { idleMs: 60_000 });
  const pids = (await Promise.all([shell.ask("0"), shell.ask("0")])).map(Number);
  const running = (): readonly number[] => pids.filter((pid) => existsSync(`/proc/${pid}/cmdline`));
  expect(running()).toHaveLength(2);
  for (let tries = 0; tries < 100 && running().length === 2; tries += 1) await Bun.sleep(50);
  expect(running()).toHaveLength(1);
  expect(pids).toContain(Number(await shell.ask("0")));
});

test("helpers, and what they start, give way to who asked them", async () => {
  const shell = pool("nice");
  expect(Number(await shell.ask("how nice?"))).toBe(os.getPriority() + 5);
});
