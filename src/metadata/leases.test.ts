import { describe, expect, test } from "bun:test";
import { createLeases } from "./leases.ts";

describe("leases", () => {
  test("add() holds a resource until every lease on it is removed", () => {
    const leases = createLeases();
    const first = leases.create();
    const second = leases.create({ id: "pull-1" });
    leases.add(first, "content:sha256:aa");
    leases.add(second, "content:sha256:aa");
    leases.remove(first);
    expect(leases.isHeld("content:sha256:aa")).toBe(true);
    expect(leases.remove(second)).toBe(true);
    expect(leases.isHeld("content:sha256:aa")).toBe(false);
    expect(leases.remove(second)).toBe(false);
  });

  test("a lease past its time holds nothing", () => {
    let nowMs = 1000;
    const leases = createLeases({ nowMs: () => nowMs });
    const id = leases.create({ ttlMs: 50 });
    leases.add(id, "snapshot:a");
    expect(leases.list()).toEqual([{ id, expiresMs: 1050, resources: ["snapshot:a"] }]);
    nowMs = 1050;
    expect(leases.isHeld("snapshot:a")).toBe(false);
    expect(leases.list()).toEqual([]);
    expect(() => leases.add(id, "snapshot:a")).toThrow("no such lease");
  });

  test("create() refuses an ID that is in use", () => {
    const leases = createLeases();
    leases.create({ id: "x" });
    expect(() => leases.create({ id: "x" })).toThrow("it exists");
  });
});
