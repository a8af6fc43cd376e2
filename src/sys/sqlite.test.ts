import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeTree } from "./fs/fs.ts";
import { run } from "./process/process.ts";
import { openDatabase } from "./sqlite.ts";

const folder = mkdtempSync(join(tmpdir(), "sys-sqlite-"));
afterAll(() => removeTree(folder));

test("a database is durable by its settings and keeps its rows", () => {
  const path = join(folder, "a.db");
  {
    using database = openDatabase(path);
    const pragma = (name: string): unknown =>
      Object.values(database.query<Record<string, unknown>>(`PRAGMA ${name}`).get() ?? {})[0];
    expect(["journal_mode", "synchronous", "foreign_keys", "busy_timeout"].map(pragma)).toEqual([
      "wal",
      2,
      1,
      5000,
    ]);
    database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, bytes BLOB)");
    const insert = database.query("INSERT INTO t (name, bytes) VALUES (?1, ?2)");
    expect(insert.run("a", new Uint8Array([0, 1]))).toEqual({ changes: 1, lastInsertRowid: 1n });
    expect(() => insert.run("a", null)).toThrow("UNIQUE");
  }
  using again = openDatabase(path);
  const select = again.query<{ name: string; bytes: Uint8Array }>("SELECT name, bytes FROM t");
  expect(select.all()).toEqual([{ name: "a", bytes: new Uint8Array([0, 1]) }]);
  expect(again.query("SELECT 1 FROM t WHERE name = ?1").get("none")).toBeUndefined();
  expect(again.query("SELECT 1 AS one WHERE $a = 2").get({ a: 2 })).toEqual({ one: 1 });
  expect(again.check()).toBeUndefined();
});

test("transaction() keeps nothing of work that throws, inner or outer", () => {
  using database = openDatabase(":memory:");
  database.exec("CREATE TABLE t (n INTEGER)");
  const insert = database.query("INSERT INTO t VALUES (?1)");
  const result = database.transaction(() => {
    insert.run(1);
    expect(() =>
      database.transaction(() => {
        insert.run(2);
        throw new TypeError("inner");
      }),
    ).toThrow("inner");
    return "done";
  });
  expect(result).toBe("done");
  expect(() =>
    database.transaction(() => {
      insert.run(3);
      throw new TypeError("outer");
    }),
  ).toThrow("outer");
  expect(database.query<{ n: number }>("SELECT n FROM t").all()).toEqual([{ n: 1 }]);
});

test("what is committed survives the kill of the process", async () => {
  const path = join(folder, "killed.db");
  const program = `
    import { openDatabase } from ${JSON.stringify(join(import.meta.dirname, "sqlite.ts"))};
    const database = openDatabase(${JSON.stringify(path)});
    database.exec("CREATE TABLE t (n INTEGER)");
    database.transaction(() => { for (let n = 0; n < 100; n += 1) database.query("INSERT INTO t VALUES (?1)").run(n); });
    database.exec("BEGIN; INSERT INTO t VALUES (1000)");
    process.kill(process.pid, "SIGKILL");
  `;
  const result = await run({ argv: [process.execPath, "-e", program] });
  expect(result.signalName).toBe("SIGKILL");
  using database = openDatabase(path);
  expect(database.check()).toBeUndefined();
  expect(database.query("SELECT count(*) AS n, max(n) AS top FROM t").get()).toEqual({
    n: 100,
    top: 99,
  });
});

test("a file that is no database is data loss; a missing folder is not", () => {
  const path = join(folder, "broken.db");
  writeFileSync(path, "x".repeat(5000));
  const open = (at: string) => (): void => openDatabase(at).close();
  expect(open(path)).toThrow(expect.objectContaining({ kind: "data-loss" }));
  expect(open(join(folder, "no/a.db"))).toThrow(expect.objectContaining({ kind: "unavailable" }));
});
