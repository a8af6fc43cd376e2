import { describe, expect, test } from "bun:test";
import { GroupCommit } from "./_group-commit.ts";

/** A disk that syncs when it is told to; `seen` is how much each sync put there. */
function slowDisk(): {
  readonly commits: GroupCommit;
  readonly seen: number[];
  write(): void;
  finish(error?: Error): Promise<void>;
} {
  let written = 0;
  const seen: number[] = [];
  const running: PromiseWithResolvers<void>[] = [];
  const commits = new GroupCommit(async () => {
    const sync = Promise.withResolvers<void>();
    running.push(sync);
    seen.push(written);
    await sync.promise;
  });
  return {
    commits,
    seen,
    write() {
      written += 1;
      commits.wrote();
    },
    async finish(error) {
      await Bun.sleep(0);
      if (error === undefined) running.shift()?.resolve();
      else running.shift()?.reject(error);
      await Bun.sleep(0);
    },
  };
}

/** Whether a promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  promise.catch(() => undefined);
  return await Promise.race([promise.then(always, always), Bun.sleep(0).then(() => false)]);
}

function always(): boolean {
  return true;
}

describe("GroupCommit", () => {
  test("syncs nothing when nothing was written, and nothing twice", async () => {
    const { commits, seen, write, finish } = slowDisk();
    await commits.flush();
    expect(seen).toEqual([]);
    write();
    const flush = commits.flush();
    await finish();
    await flush;
    await commits.flush();
    expect(seen).toEqual([1]);
  });

  test("those who wrote before a sync began share it", async () => {
    const { commits, seen, write, finish } = slowDisk();
    write();
    write();
    const flushes = [commits.flush(), commits.flush(), commits.flush()];
    await finish();
    await Promise.all(flushes);
    expect(seen).toEqual([2]);
  });

  test("those who wrote after it began wait for one more, and together", async () => {
    const { commits, seen, write, finish } = slowDisk();
    write();
    const first = commits.flush();
    await Bun.sleep(0);
    write();
    const second = commits.flush();
    write();
    const third = commits.flush();
    await finish();
    await first;
    expect(await isSettled(second)).toBe(false);
    expect(await isSettled(third)).toBe(false);
    await finish();
    await Promise.all([second, third]);
    expect(seen).toEqual([1, 3]);
    expect(commits.isSynced).toBe(true);
  });

  test("a sync that fails is told to those who waited for it, not to the next", async () => {
    const { commits, seen, write, finish } = slowDisk();
    write();
    const first = commits.flush();
    await Bun.sleep(0);
    write();
    const second = commits.flush();
    first.catch(() => undefined);
    await finish(new Error("EIO"));
    await expect(first).rejects.toThrow("EIO");
    expect(commits.isSynced).toBe(false);
    await finish();
    await second;
    expect(seen).toEqual([1, 2]);
    expect(commits.isSynced).toBe(true);
  });

  test("a write that was synced otherwise needs no flush", async () => {
    const { commits, seen, write } = slowDisk();
    write();
    commits.synced();
    await commits.flush();
    expect(seen).toEqual([]);
  });
});
