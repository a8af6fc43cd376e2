import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import { SharedWork } from "./_shared-work.ts";

type Work = SharedWork<number, string>;

function asker(events: string[] = []): {
  readonly controller: AbortController;
  readonly asker: { readonly signal: AbortSignal; readonly onEvent: (event: string) => void };
  readonly events: string[];
} {
  const controller = new AbortController();
  return {
    controller,
    events,
    asker: { signal: controller.signal, onEvent: (event) => void events.push(event) },
  };
}

describe("SharedWork", () => {
  test("does the work of one key once, and tells late askers what they missed", async () => {
    const work: Work = new SharedWork();
    const done = Promise.withResolvers<number>();
    let count = 0;
    const task = async ({ tell }: { readonly tell: (event: string) => void }): Promise<number> => {
      count += 1;
      tell("begun");
      const result = await done.promise;
      tell("ended");
      return result;
    };
    const [first, second] = [asker(), asker()];
    const a = work.run("k", first.asker, task);
    await Promise.resolve();
    const b = work.run("k", second.asker, task);
    done.resolve(7);
    expect(await Promise.all([a, b])).toEqual([7, 7]);
    expect(count).toBe(1);
    expect(first.events).toEqual(["begun", "ended"]);
    expect(second.events).toEqual(["begun", "ended"]);
    expect(work.size).toBe(0);
  });

  test("goes on while one still waits, and is canceled with the last", async () => {
    const work: Work = new SharedWork();
    let isAborted = false;
    const task = async ({ signal }: { readonly signal: AbortSignal }): Promise<number> =>
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          isAborted = true;
          reject(new EngineError("canceled", "stopped"));
        });
      });
    const [first, second] = [asker(), asker()];
    const a = work.run("k", first.asker, task);
    const b = work.run("k", second.asker, task);
    first.controller.abort();
    await Bun.sleep(1);
    expect(isAborted).toBe(false);
    second.controller.abort();
    expect(isAborted).toBe(true);
    for (const each of [a, b])
      expect(await each.catch((error: Error) => error.message)).toBe("context canceled");
  });

  test("work that was canceled is done anew for who comes while it ends", async () => {
    const work: Work = new SharedWork();
    const ended = Promise.withResolvers<void>();
    let count = 0;
    const task = async ({ signal }: { readonly signal: AbortSignal }): Promise<number> => {
      count += 1;
      if (count > 1) return count;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      await ended.promise;
      throw new EngineError("canceled", "stopped");
    };
    const first = asker();
    const a = work.run("k", first.asker, task);
    first.controller.abort();
    const b = work.run("k", asker().asker, task);
    ended.resolve();
    expect(await b).toBe(2);
    expect(await a.catch(() => "canceled")).toBe("canceled");
  });

  test("a failure is every asker's, and the next one tries again", async () => {
    const work: Work = new SharedWork();
    let count = 0;
    const task = async (): Promise<number> => {
      count += 1;
      await Promise.resolve();
      if (count === 1) throw new EngineError("internal", "broken");
      return count;
    };
    const failures = await Promise.allSettled([
      work.run("k", asker().asker, task),
      work.run("k", asker().asker, task),
    ]);
    expect(failures.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await work.run("k", asker().asker, task)).toBe(2);
  });

  test("an asker that is gone already asks for nothing", async () => {
    const work: Work = new SharedWork();
    const first = asker();
    first.controller.abort();
    let isDone = false;
    const result = work.run("k", first.asker, async () => {
      isDone = true;
      return await Promise.resolve(1);
    });
    expect(await result.catch((error: Error) => error.message)).toBe("context canceled");
    expect(isDone).toBe(false);
  });
});
