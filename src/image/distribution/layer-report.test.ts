import { describe, expect, test } from "bun:test";
import type { ProgressMessage } from "../image-service.ts";
import { LayerReport, progressBar } from "./layer-report.ts";

describe("progressBar()", () => {
  // As Docker 28.5 sent them.
  const bars: readonly (readonly [number, number, string])[] = [
    [38_400, 1_984_317, `[>${" ".repeat(50)}]   38.4kB/1.984MB`],
    [36_445, 3_001_593, `[>${" ".repeat(50)}]  36.45kB/3.002MB`],
    [3_001_593, 3_001_593, `[${"=".repeat(50)}>]  3.002MB/3.002MB`],
    [2_128_384, 1_984_317, `[${"=".repeat(50)}>]  2.128MB`],
    [0, 0, ""],
    [1_000, 0, "     1kB"],
    [50, 100, `[${"=".repeat(25)}>${" ".repeat(25)}]      50B/100B`],
  ];
  for (const [current, total, bar] of bars) {
    test(`of ${current} of ${total} is Docker's`, () => {
      expect(progressBar(current, total)).toBe(bar);
    });
  }
});

describe("LayerReport", () => {
  const make = () => {
    const told: ProgressMessage[] = [];
    const report = new LayerReport("abc", (message) => void told.push(message));
    return { told, report, statuses: () => told.map(({ status }) => status) };
  };

  test("tells nothing before its first message, then what came last", () => {
    const { told, report, statuses } = make();
    report.bytes("Downloading", { current: 1, total: 2 });
    report.status("Download complete");
    expect(told).toEqual([]);
    report.show("Pulling fs layer");
    expect(statuses()).toEqual(["Pulling fs layer", "Download complete"]);
    expect(told[0]).toEqual({ status: "Pulling fs layer", progressDetail: {}, id: "abc" });
  });

  test("tells only that a layer is here when it is", () => {
    const { report, statuses } = make();
    report.status("Download complete");
    report.showOnly("Already exists");
    expect(statuses()).toEqual(["Already exists"]);
  });

  test("tells of bytes ten times a second, and at once when the work changes", () => {
    const { told, report } = make();
    report.begin();
    for (let current = 0; current < 1_000; current += 1) {
      report.bytes("Downloading", { current, total: 1_000 });
    }
    expect(told).toHaveLength(1);
    report.bytes("Extracting", { current: 0, total: 1_000 });
    expect(told.at(-1)).toMatchObject({
      status: "Extracting",
      progressDetail: { current: 0, total: 1_000 },
    });
  });

  test("says that it waits only when that takes a while", async () => {
    const { report, statuses } = make();
    report.begin();
    report.waiting();
    report.status("Download complete");
    await Bun.sleep(150);
    expect(statuses()).toEqual(["Download complete"]);
    report.waiting();
    await Bun.sleep(150);
    expect(statuses()).toEqual(["Download complete", "Waiting"]);
    report.waiting();
    report.end();
    await Bun.sleep(150);
    expect(statuses()).toHaveLength(2);
  });

  test("counts seconds as Docker does", () => {
    const { report, statuses } = make();
    report.begin();
    report.retrying(0.2);
    report.retrying(5);
    expect(statuses()).toEqual(["Retrying in 1 second", "Retrying in 5 seconds"]);
  });
});
