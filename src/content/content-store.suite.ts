import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { readAll } from "../lib/stream-limit.ts";
import { createDigester, digestOf, parseDigest } from "../oci/digest.ts";
import { type ContentStore, type Ingest, ingestRefOf, isDigestRef } from "./content-store.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const limit = { sizeMaxBytes: 1024 * 1024, what: "test" };

/** What every content store must do; `reopen` opens the same store anew, as after a crash. */
export function testContentStore(
  name: string,
  make: () => Promise<{
    readonly store: ContentStore;
    readonly reopen: () => Promise<ContentStore>;
    readonly close: () => Promise<void>;
  }>,
): void {
  describe(name, () => {
    let made: Awaited<ReturnType<typeof make>>;
    let store: ContentStore;
    beforeEach(async () => {
      made = await make();
      store = made.store;
    });
    afterEach(async () => made.close());

    test("put() stores bytes under their digest, once", async () => {
      const blob = await store.put(text("hello"));
      expect(blob.digest).toBe(digestOf("hello"));
      expect(blob.sizeBytes).toBe(5);
      expect(await store.put(text("hello"))).toEqual(blob);
      expect(await store.list()).toEqual([blob]);
      expect(await store.read(blob.digest, limit)).toEqual(Buffer.from("hello"));
      expect(await readAll(store.open(blob.digest), limit)).toEqual(text("hello"));
      expect((await (await made.reopen()).list()).length).toBe(1);
    });

    test("put() takes the empty blob", async () => {
      const blob = await store.put(new Uint8Array(0));
      expect(store.get(blob.digest).sizeBytes).toBe(0);
      expect(await readAll(store.open(blob.digest), limit)).toHaveLength(0);
    });

    test("findArrival() shows the file of a write while it grows, and what became of it", async () => {
      const digest = digestOf("0123456789");
      const ref = ingestRefOf(digest);
      expect(store.findArrival(digest)).toBeUndefined();
      const broken = await store.ingest({ ref, expected: digest });
      await broken.write(text("01234"));
      const arrival = store.findArrival(digest);
      expect(await Bun.file(arrival?.path ?? "").text()).toBe("01234");
      await broken.suspend();
      expect(await arrival?.isKept).toBe(false);
      expect(store.findArrival(digest)).toBeUndefined();
      const ingest = await store.ingest({ ref, expected: digest, resume: true });
      const again = store.findArrival(digest);
      await ingest.write(text("56789"));
      const { path } = await ingest.commit();
      expect(await again?.isKept).toBe(true);
      expect(again?.blobPath).toBe(path);
      expect(store.findArrival(digest)).toBeUndefined();
    });

    test("follow() gives the growing file a name that stays when the write is over", async () => {
      const ingest = await store.ingest({ ref: "growing" });
      await ingest.write(text("01234"));
      const path = ingest.follow();
      expect(await Bun.file(path).text()).toBe("01234");
      await ingest.write(text("56789"));
      await ingest.commit();
      expect(await Bun.file(path).text()).toBe("0123456789");
      const after = await made.reopen();
      expect(await after.sweep()).toBe(1);
      expect(await Bun.file(path).exists()).toBe(false);
      expect(await after.read(digestOf("0123456789"), limit)).toEqual(Buffer.from("0123456789"));
    });

    test("many puts of equal bytes at once agree", async () => {
      const blobs = await Promise.all(Array.from({ length: 8 }, () => store.put(text("same"))));
      expect(new Set(blobs.map(({ digest }) => digest)).size).toBe(1);
      expect(await store.list()).toHaveLength(1);
    });

    test("open() streams a range and refuses one beyond the end", async () => {
      const { digest } = await store.put(text("0123456789"));
      const part = await readAll(store.open(digest, { offset: 3, length: 4 }), limit);
      expect(Buffer.from(part).toString()).toBe("3456");
      const rest = await readAll(store.open(digest, { offset: 8 }), limit);
      expect(Buffer.from(rest).toString()).toBe("89");
      expect(() => store.open(digest, { offset: 8, length: 3 })).toThrow("bytes 8 to 11 of 10");
      expect(() => store.open(digest, { offset: -1 })).toThrow("bytes -1");
    });

    test("a blob of several chunks comes whole and in order", async () => {
      const bytes = Buffer.alloc(700_001, "abcdefghij");
      const { digest } = await store.put(bytes);
      expect(Buffer.compare(await readAll(store.open(digest), limit), bytes)).toBe(0);
    });

    test("what is not there is not-found", async () => {
      const digest = digestOf("nothing");
      expect(store.find(digest)).toBeUndefined();
      expect(() => store.get(digest)).toThrow("does not exist");
      expect(() => store.open(digest)).toThrow("does not exist");
      await expect(store.read(digest, limit)).rejects.toMatchObject({ kind: "not-found" });
      expect(await store.remove(digest)).toBe(false);
    });

    test("commit() makes a blob of what was written, and nothing before", async () => {
      const expected = digestOf("hello world");
      await using ingest = await store.ingest({ ref: "a-1", expected });
      await ingest.write(text("hello "));
      await ingest.write(text("world"));
      expect(ingest.sizeBytes).toBe(11);
      expect(store.find(expected)).toBeUndefined();
      expect((await ingest.commit()).digest).toBe(expected);
      expect(store.get(expected).sizeBytes).toBe(11);
      await expect(ingest.write(text("x"))).rejects.toMatchObject({ kind: "conflict" });
    });

    test("commit() refuses bytes with the wrong digest, and leaves nothing", async () => {
      const ingest = await store.ingest({ ref: "a", expected: digestOf("right") });
      await ingest.write(text("wrong"));
      await expect(ingest.commit()).rejects.toMatchObject({ kind: "data-loss" });
      expect(await store.list()).toEqual([]);
      expect(await store.sweep()).toBe(0);
      await (await store.ingest({ ref: "a" }))[Symbol.asyncDispose]();
    });

    test("write() refuses bytes beyond the limit; the ingest is lost then", async () => {
      await using ingest = await store.ingest({ ref: "a", sizeMaxBytes: 5 });
      await ingest.write(text("12345"));
      await expect(ingest.write(text("6"))).rejects.toMatchObject({ kind: "invalid-argument" });
      await expect(ingest.commit()).rejects.toMatchObject({ kind: "conflict" });
      expect(await store.list()).toEqual([]);
    });

    test("one ref has one writer at a time", async () => {
      const first = await store.ingest({ ref: "a" });
      await expect(store.ingest({ ref: "a" })).rejects.toMatchObject({ kind: "unavailable" });
      await first[Symbol.asyncDispose]();
      await using second = await store.ingest({ ref: "a" });
      expect(second.sizeBytes).toBe(0);
    });

    for (const ref of ["", "../x", "a/b", "A", ".hidden", "x".repeat(129), "a\0b"]) {
      test(`ingest() refuses the ref ${JSON.stringify(ref).slice(0, 20)}`, async () => {
        await expect(store.ingest({ ref })).rejects.toMatchObject({ kind: "invalid-argument" });
      });
    }

    test("an ingest that a crash left is resumed by its ref, or begun anew", async () => {
      const expected = digestOf("hello world");
      await abandon(store, { ref: "a", bytes: text("hello ") });
      await abandon(store, { ref: "b", bytes: text("rubbish") });
      const after = await made.reopen();
      await using resumed = await after.ingest({ ref: "a", expected, resume: true });
      expect(resumed.sizeBytes).toBe(6);
      await resumed.write(text("world"));
      expect((await resumed.commit()).sizeBytes).toBe(11);
      await using begun = await after.ingest({ ref: "b" });
      expect(begun.sizeBytes).toBe(0);
    });

    test("suspend() keeps the bytes for who takes the write up again", async () => {
      await using first = await store.ingest({ ref: "a" });
      await first.write(text("hello "));
      await first.suspend();
      expect(await store.sweep({ keep: new Set(["a"]) })).toBe(0);
      await using again = await store.ingest({ ref: "a", resume: true });
      expect(again.sizeBytes).toBe(6);
      await again.write(text("world"));
      const { digest } = await again.commit({ expected: digestOf("hello world") });
      expect(digest).toBe(digestOf("hello world"));
    });

    test("commit() takes the digest that is learnt last, also of another algorithm", async () => {
      await using wrong = await store.ingest({ ref: "a" });
      await wrong.write(text("hello"));
      await expect(wrong.commit({ expected: digestOf("other") })).rejects.toMatchObject({
        kind: "data-loss",
      });
      const digester = createDigester(parseDigest(`sha512:${"0".repeat(128)}`));
      digester.update(text("hello"));
      const expected = digester.digest();
      await using right = await store.ingest({ ref: "a" });
      await right.write(text("hello"));
      expect((await right.commit({ expected })).digest).toBe(expected);
      expect(store.get(expected).sizeBytes).toBe(5);
    });

    test("sweep() removes what a crash left, and not what is being written", async () => {
      await abandon(store, { ref: "left", bytes: text("x") });
      const after = await made.reopen();
      await using held = await after.ingest({ ref: "held" });
      await held.write(text("y"));
      expect(await after.sweep()).toBe(1);
      await held.commit();
      expect(await after.list()).toHaveLength(1);
    });

    test("sweep() keeps what is named for its digest, for a time", async () => {
      const expected = digestOf("hello world");
      const ref = ingestRefOf(expected);
      const first = await store.ingest({ ref, expected });
      await first.write(text("hello "));
      await first.suspend();
      await expect(first.write(text("x"))).rejects.toMatchObject({ kind: "conflict" });
      const after = await made.reopen();
      expect(await after.sweep()).toBe(0);
      const second = await after.ingest({ ref, expected, resume: true });
      expect(second.sizeBytes).toBe(6);
      await second.write(text("world"));
      expect((await second.commit()).digest).toBe(expected);
      await second.suspend();
      expect(await after.sweep({ keepMs: 0 })).toBe(0);
      const third = await after.ingest({ ref });
      await third.suspend();
      expect(await after.sweep({ keepMs: 0 })).toBe(1);
    });

    test("takeBack() makes a blob an unfinished write again, which is checked when it is taken up", async () => {
      const expected = digestOf("hello world");
      const ref = ingestRefOf(expected);
      const { path } = await store.put(text("hello world"), { durable: false });
      await store.takeBack(expected);
      expect(store.find(expected)).toBeUndefined();
      await expect(store.takeBack(expected)).rejects.toMatchObject({ kind: "not-found" });
      const after = await made.reopen();
      expect(await after.sweep()).toBe(0);
      const whole = await after.ingest({ ref, expected, resume: true });
      expect(whole.sizeBytes).toBe(11);
      await whole.commit();
      expect(after.get(expected).path).toBe(path);
      // As a power cut may leave it.
      chmodSync(path, 0o600);
      writeFileSync(path, new Uint8Array(11));
      await after.takeBack(expected);
      const damaged = await after.ingest({ ref, expected, resume: true });
      await expect(damaged.commit()).rejects.toMatchObject({ kind: "data-loss" });
      expect(after.find(expected)).toBeUndefined();
    });

    test("a ref tells its digest; the long ones are cut", () => {
      const long = `sha512:${"ab".repeat(64)}`;
      expect(isDigestRef(ingestRefOf(digestOf("x")))).toBe(true);
      expect(isDigestRef(ingestRefOf(parseDigest(long)))).toBe(true);
      expect(isDigestRef("import-1")).toBe(false);
    });

    test("read() refuses a blob above the limit", async () => {
      const { digest } = await store.put(text("hello"));
      await expect(store.read(digest, { sizeMaxBytes: 4 })).rejects.toMatchObject({
        kind: "data-loss",
      });
      expect(store.find(digest)).toBeDefined();
    });

    test("remove() tells whether there was one", async () => {
      const { digest } = await store.put(text("hello"));
      expect(await store.remove(digest)).toBe(true);
      expect(await store.remove(digest)).toBe(false);
      expect(await store.list()).toEqual([]);
    });
  });
}

/** Ingests of a process that is no more: kept here, for a collected file handle is an error. */
const abandoned: Ingest[] = [];

/** Writes a part of a blob and goes away, as a crash does. */
async function abandon(
  store: ContentStore,
  options: { readonly ref: string; readonly bytes: Uint8Array },
): Promise<void> {
  const ingest = await store.ingest({ ref: options.ref });
  abandoned.push(ingest);
  await ingest.write(options.bytes);
}
