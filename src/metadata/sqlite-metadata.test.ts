import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../lib/errors.ts";
import { silentLogger } from "../lib/log.ts";
import type { DiskReserve } from "./disk-reserve.ts";
import type { Metadata, TableDefinition } from "./metadata.ts";
import { openMetadata } from "./sqlite-metadata.ts";

interface Fruit {
  readonly name: string;
  readonly weightGrams: number;
}

const fruits: TableDefinition<Fruit> = {
  name: "fruit",
  decode(document) {
    if (typeof document === "object" && document !== null) {
      if ("name" in document && "weightGrams" in document) {
        const { name, weightGrams } = document;
        if (typeof name === "string" && typeof weightGrams === "number") {
          return { name, weightGrams };
        }
      }
    }
    throw new EngineError("data-loss", "read fruit: not a fruit");
  },
};

let root: string;
let path: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tug-metadata-"));
  path = join(root, "metadata.db");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function open(reserve?: DiskReserve): Metadata {
  const extra = reserve === undefined ? {} : { reserve };
  return openMetadata({ path, logger: silentLogger, ...extra });
}

function fruit(name: string, weightGrams = 1): Fruit {
  return { name, weightGrams };
}

/** Changes the file behind the engine's back. */
function edit(sql: string): void {
  const database = new Database(path);
  database.run(sql);
  database.close();
}

/** Overwrites bytes in the middle of the file. */
function damage(fromFraction: number, toFraction: number): void {
  const size = statSync(path).size;
  const from = Math.floor(size * fromFraction);
  const length = Math.floor(size * toFraction) - from;
  const fd = openSync(path, "r+");
  writeSync(fd, Buffer.alloc(length, 0xa5), 0, length, from);
  closeSync(fd);
}

describe("records", () => {
  test("put() survives a reopen, remove() too", () => {
    {
      using metadata = open();
      const table = metadata.table(fruits);
      table.put("b", fruit("pear", 2));
      table.put("a", fruit("plum"));
      table.put("b", fruit("pear", 3));
      table.put("c", fruit("fig"));
      expect(table.remove("c")).toBe(true);
      expect(table.remove("c")).toBe(false);
    }
    using metadata = open();
    const table = metadata.table(fruits);
    expect(table.list()).toEqual([
      ["a", fruit("plum")],
      ["b", fruit("pear", 3)],
    ]);
    expect(table.find("b")).toEqual(fruit("pear", 3));
    expect(table.find("c")).toBeUndefined();
    expect(metadata.damages).toEqual([]);
  });

  /** Runs statements with `table` in a process that is killed at the end of them. */
  function runAndKill(statements: string, prefix: readonly string[] = []): string {
    const script = `
      import { openMetadata } from ${JSON.stringify(join(import.meta.dir, "sqlite-metadata.ts"))};
      import { silentLogger } from ${JSON.stringify(join(import.meta.dir, "../lib/log.ts"))};
      const metadata = openMetadata({ path: ${JSON.stringify(path)}, logger: silentLogger });
      const table = metadata.table({ name: "fruit", decode: (d) => d });
      ${statements}
      process.kill(process.pid, "SIGKILL");`;
    const child = Bun.spawnSync([...prefix, process.execPath, "-e", script]);
    expect(child.signalCode).toBe("SIGKILL");
    return child.stderr.toString();
  }

  /** As `runAndKill`. @returns how often the process synced */
  function syncs(statements: string): number {
    const trace = ["strace", "-f", "-e", "trace=fsync,fdatasync"];
    return runAndKill(statements, trace).match(/f(data)?sync\(/g)?.length ?? 0;
  }

  test.each(["", ", { durable: false }"])("put(key, record%s) outlives the process", (how) => {
    runAndKill(`table.put("a", { name: "plum", weightGrams: 1 }${how});`);
    using metadata = open();
    expect(metadata.table(fruits).find("a")).toEqual(fruit("plum"));
  });

  test.skipIf(Bun.which("strace") === null)(
    "put() is synced before it returns; one that need not be durable is not (needs strace)",
    () => {
      const puts = (count: number, how: string): number =>
        syncs(`for (let at = 0; at < ${count}; at += 1) table.put("k" + at, {}${how});`);
      expect(puts(9, "") - puts(0, "")).toBeGreaterThanOrEqual(9);
      expect(puts(9, ", { durable: false }") - puts(0, "")).toBe(0);
    },
  );

  test.skipIf(Bun.which("strace") === null)(
    "a table's own word holds where a change does not say (needs strace)",
    () => {
      const loose = (how: string): number =>
        syncs(`const loose = metadata.table({ name: "loose", decode: (d) => d, durable: false });
          for (let at = 0; at < 9; at += 1) loose.put("k" + at, {}${how});
          loose.remove("k1"${how});`);
      // The first opening makes the file.
      syncs("");
      const none = syncs("");
      expect(loose("") - none).toBe(0);
      expect(loose(", { durable: true }") - none).toBeGreaterThanOrEqual(9);
    },
  );

  test.skipIf(Bun.which("strace") === null)(
    "a transaction is synced unless it, and all inside, need not be durable (needs strace)",
    () => {
      // The first opening makes the file.
      syncs("");
      const none = syncs("");
      const put = (key: string): string => `table.put("${key}", { name: "plum", weightGrams: 1 });`;
      const loose = (work: string): string =>
        `metadata.transaction(() => { ${work} }, { durable: false });`;
      const firm = (work: string): string => `metadata.transaction(() => { ${work} });`;
      expect(syncs(loose(put("a"))) - none).toBe(0);
      expect(syncs(loose(loose(put("b")))) - none).toBe(0);
      expect(syncs(loose(firm(""))) - none).toBe(0);
      expect(syncs(loose(firm(put("c")))) - none).toBeGreaterThanOrEqual(1);
      expect(syncs(firm(loose(put("d")))) - none).toBeGreaterThanOrEqual(1);
      using metadata = open();
      const keys = metadata.table(fruits).list();
      expect(keys.map(([key]) => key).join("")).toBe("abcd");
    },
  );

  test.skipIf(Bun.which("strace") === null)(
    "commits that wait together share a sync; one inside a transaction waits for it (needs strace)",
    () => {
      syncs("");
      const none = syncs("");
      const put = (key: string): string =>
        `metadata.commit(() => table.put("${key}", { name: "plum", weightGrams: 1 }))`;
      const many = ["a", "b", "c", "d", "e"].map(put).join(", ");
      expect(syncs(`await Promise.all([${many}]);`) - none).toBe(1);
      const nested = `let inner;
        metadata.transaction(() => { inner = ${put("f")}; }, { durable: false });
        await inner;`;
      expect(syncs(nested) - none).toBe(1);
      expect(syncs("await metadata.flush();") - none).toBe(0);
      using metadata = open();
      const keys = metadata.table(fruits).list();
      expect(keys.map(([key]) => key).join("")).toBe("abcdef");
    },
  );

  test("commit() resolves to what the work returns; work that throws leaves nothing", async () => {
    using metadata = open();
    const table = metadata.table(fruits);
    const made = await metadata.commit(() => {
      table.put("a", fruit("plum"));
      return table.list().length;
    });
    expect(made).toBe(1);
    const failing = metadata.commit(() => {
      table.put("b", fruit("pear"));
      throw new EngineError("conflict", "no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(table.list()).toEqual([["a", fruit("plum")]]);
  });

  test("a flush under way outlives the database", async () => {
    const metadata = open();
    const flush = metadata.commit(() => metadata.table(fruits).put("a", fruit("plum")));
    metadata[Symbol.dispose]();
    await flush;
    await metadata.flush();
    using again = open();
    expect(again.table(fruits).find("a")).toEqual(fruit("plum"));
  });

  test("list() is in the order of the keys after every change", () => {
    using metadata = open();
    const table = metadata.table(fruits);
    for (const key of ["m", "z", "a"]) table.put(key, fruit(key));
    expect(table.list().map(([key]) => key)).toEqual(["a", "m", "z"]);
    table.remove("m");
    table.put("0", fruit("0"));
    expect(table.list().map(([key]) => key)).toEqual(["0", "a", "z"]);
  });
});

describe("transaction()", () => {
  test("undoes every change when the work throws, in memory and on disk", () => {
    {
      using metadata = open();
      const table = metadata.table(fruits);
      table.put("kept", fruit("plum"));
      const failing = (): void =>
        metadata.transaction(() => {
          table.put("new", fruit("fig"));
          table.remove("kept");
          table.put("kept", fruit("fig"));
          throw new EngineError("conflict", "no");
        });
      expect(failing).toThrow("no");
      expect(table.list()).toEqual([["kept", fruit("plum")]]);
    }
    using metadata = open();
    expect(metadata.table(fruits).list()).toEqual([["kept", fruit("plum")]]);
  });

  test("nests: an inner failure that is caught undoes the inner changes alone", () => {
    {
      using metadata = open();
      const table = metadata.table(fruits);
      metadata.transaction(() => {
        table.put("outer", fruit("plum"));
        const inner = (): void =>
          metadata.transaction(() => {
            table.put("inner", fruit("fig"));
            throw new EngineError("conflict", "inner");
          });
        expect(inner).toThrow("inner");
        metadata.transaction(() => table.put("second", fruit("pear")));
      });
    }
    using metadata = open();
    expect(
      metadata
        .table(fruits)
        .list()
        .map(([key]) => key),
    ).toEqual(["outer", "second"]);
  });

  test("returns what the work returns and sees its own writes", () => {
    using metadata = open();
    const table = metadata.table(fruits);
    const found = metadata.transaction(() => {
      table.put("a", fruit("plum"));
      return table.find("a");
    });
    expect(found).toEqual(fruit("plum"));
  });
});

describe("damage", () => {
  test("a record that does not decode is quarantined, the others stay", () => {
    {
      using metadata = open();
      const table = metadata.table(fruits);
      for (const key of ["a", "b", "c"]) table.put(key, fruit(key));
    }
    edit(`UPDATE records SET document = '{"name":7}' WHERE key = 'b'`);
    edit(`UPDATE records SET document = '{nonsense' WHERE key = 'c'`);
    {
      using metadata = open();
      expect(
        metadata
          .table(fruits)
          .list()
          .map(([key]) => key),
      ).toEqual(["a"]);
      expect(metadata.damages).toHaveLength(2);
      expect(metadata.damages[0]).toContain(`record "b" of table fruit is quarantined`);
    }
    using metadata = open();
    metadata.table(fruits);
    expect(metadata.damages).toEqual([]);
    metadata[Symbol.dispose]();
    const database = new Database(path);
    const rows = database.query("SELECT key, document, reason FROM quarantine ORDER BY key").all();
    expect(rows).toHaveLength(2);
    expect(rows[0]).toEqual({
      key: "b",
      document: '{"name":7}',
      reason: "read fruit: not a fruit",
    });
    database.close();
  });

  const pad = "x".repeat(900);
  const damages: readonly (readonly [what: string, from: number, to: number])[] = [
    ["in the middle", 0.45, 0.55],
    ["in its head", 0, 0.02],
    ["all over", 0, 1],
  ];
  for (const [what, from, to] of damages) {
    test(`a file damaged ${what} is moved aside and its records are back from file and copy`, () => {
      {
        using metadata = open();
        const table = metadata.table(fruits);
        metadata.transaction(() => {
          for (let i = 0; i < 500; i += 1) table.put(`k${i}`, fruit(pad, i));
        });
      }
      damage(from, to);
      using metadata = open();
      const table = metadata.table(fruits);
      expect(table.list()).toHaveLength(500);
      expect(table.find("k250")).toEqual(fruit(pad, 250));
      expect(metadata.damages[0]).toContain("database was damaged");
      expect(readdirSync(root).some((name) => name.startsWith("metadata.db.damaged-"))).toBe(true);
      table.put("after", fruit("plum"));
    });
  }

  test("without a copy, the readable rows of a damaged file are salvaged", () => {
    {
      using metadata = open();
      const table = metadata.table(fruits);
      metadata.transaction(() => {
        for (let i = 0; i < 500; i += 1) table.put(`k${i}`, fruit(pad, i));
      });
    }
    rmSync(`${path}.backup`);
    damage(0.5, 0.52);
    using metadata = open();
    const count = metadata.table(fruits).list().length;
    expect(count).toBeGreaterThan(300);
    expect(count).toBeLessThan(500);
  });

  test("a schema of a newer release is refused and the file left alone", () => {
    open()[Symbol.dispose]();
    edit("INSERT INTO migrations (version, time) VALUES (99, '')");
    expect(() => open()).toThrow("newer release (schema 99)");
    expect(readdirSync(root).some((name) => name.includes("damaged"))).toBe(false);
  });

  test("a second writer is refused", () => {
    using metadata = open();
    metadata.table(fruits).put("a", fruit("plum"));
    expect(() => open()).toThrow("another process has it open");
  });
});

describe("on a full disk (needs root)", () => {
  const isRoot = process.getuid?.() === 0;
  test.skipIf(!isRoot)(
    "what is there can be changed and removed, nothing new is made",
    async () => {
      const { openDiskReserve } = await import("./disk-reserve.ts");
      const mount = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", root]);
      expect(mount.exitCode).toBe(0);
      try {
        const reserve = openDiskReserve({ root, logger: silentLogger, sizeBytes: 512 * 1024 });
        expect(reserve.isHeld).toBe(true);
        using metadata = open(reserve);
        const table = metadata.table(fruits);
        for (let i = 0; i < 20; i += 1) table.put(`k${i}`, fruit("x".repeat(900)));
        fill(join(root, "filler"));
        const creations = (): void => {
          for (let i = 0; i < 300; i += 1) table.put(`new${i}`, fruit("x".repeat(4000)));
        };
        expect(creations).toThrow("no space left on device");
        expect(reserve.isHeld).toBe(true);
        for (let i = 0; i < 20; i += 1) expect(table.remove(`k${i}`)).toBe(true);
        expect(reserve.isHeld).toBe(false);
        expect(table.find("k3")).toBeUndefined();
      } finally {
        Bun.spawnSync(["umount", "-l", root]);
      }
    },
  );

  function fill(target: string): void {
    const fd = openSync(target, "w");
    for (const size of [65_536, 4096, 512]) {
      for (;;) {
        try {
          if (writeSync(fd, Buffer.alloc(size)) < size) break;
        } catch {
          break;
        }
      }
    }
  }
});
