import { describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../lib/log.ts";
import { compareFiles, explainHit, explainMiss } from "./explain.ts";
import { type StepFacts, StepHistory } from "./step-history.ts";

const facts: StepFacts = {
  key: "sha256:1",
  build: "first",
  text: "RUN make",
  action: "a",
  variables: { PATH: "p", V: "1" },
  below: "sha256:below",
  sources: [{ label: "src", digest: "d", files: "c1 644 a.c\nc2 644 b.c" }],
};
const known = { isIgnored: false, isArgument: (name: string) => name === "V" };

function miss(change: Partial<StepFacts>): readonly string[] {
  return explainMiss(facts, { ...facts, key: "sha256:2", ...change }, known);
}

describe("explainMiss()", () => {
  test.each<[string, Partial<StepFacts>, string]>([
    ["command", { action: "b", text: "RUN all" }, "the command changed (it was: RUN make)"],
    ["options", { action: "b" }, "its options or words that are expanded changed"],
    ["argument", { variables: { PATH: "p", V: "2" } }, "build argument V changed"],
    ["lost argument", { variables: { PATH: "p" } }, "build argument V is gone"],
    ["variable", { variables: { PATH: "q", V: "1" } }, "variable PATH changed"],
    ["new variable", { variables: { ...facts.variables, N: "1" } }, "variable N is new"],
    ["below", { below: "sha256:other" }, "the step before it was made anew"],
    ["epoch", { epochS: 5 }, "SOURCE_DATE_EPOCH changed"],
    [
      "files",
      { sources: [{ label: "src", digest: "e", files: "c1 755 a.c\nc3 644 c.c" }] },
      "the files of src changed: a.c (mode or owner), c.c (new), b.c (removed)",
    ],
    [
      "files that are not listed",
      { sources: [{ label: "src", digest: "e" }] },
      "the files of src changed",
    ],
    ["nothing that is noted", {}, "what it is made of changed"],
  ])("tells a changed %s", (_, change, reason) => {
    expect(miss(change)).toEqual([reason]);
  });

  test("tells a changed base image, not the layers below", () => {
    const based = { ...facts, base: `sha256:${"1".repeat(64)}` };
    const now = { ...facts, key: "x", base: `sha256:${"2".repeat(64)}`, below: "sha256:other" };
    expect(explainMiss(based, now, known)).toEqual([
      "the base image changed (sha256:111111111111 → sha256:222222222222)",
    ]);
  });

  test("tells what has no earlier result, and what was not to be looked for", () => {
    expect(explainMiss(undefined, facts, known)).toEqual(["nothing was built here before"]);
    expect(explainMiss(facts, facts, known)[0]).toContain("not kept any more");
    expect(explainMiss(facts, facts, { ...known, isIgnored: true })[0]).toContain("not to be used");
  });
});

test("explainHit() tells age and build, where they are known", () => {
  const at = 1_000_000_000_000n;
  const found = { key: facts.key, madeNs: String(at), nowNs: at + 181_000_000_000n };
  expect(explainHit(facts, found)).toEqual(["made 3 minutes ago by build first"]);
  expect(explainHit(undefined, { ...found, nowNs: at })).toEqual(["made just now"]);
  expect(explainHit({ ...facts, key: "other" }, { ...found, madeNs: undefined })).toEqual(["made"]);
});

test("compareFiles() names some, and counts the rest", () => {
  const lines = Array.from({ length: 25 }, (_, index) => `c 644 with space ${index}`).join("\n");
  const changes = compareFiles("", lines);
  expect(changes).toHaveLength(11);
  expect(changes[0]).toBe("with space 0 (new)");
  expect(changes.at(-1)).toBe("and 15 more");
});

describe("StepHistory", () => {
  test("finds what was noted, also after it was stored; a broken record is none", () => {
    const root = mkdtempSync(join(tmpdir(), "tug-history-"));
    try {
      const history = new StepHistory({ root, logger: silentLogger });
      history.note("place", facts);
      expect(history.find("place")).toEqual(facts);
      history.save();
      const next = new StepHistory({ root, logger: silentLogger });
      expect(next.find("place")).toEqual(facts);
      expect(next.find("other")).toBeUndefined();
      const [name = ""] = readdirSync(root);
      for (const text of ["{", "null", '{"key":1}', `${readFileSync(join(root, name), "utf8")}x`]) {
        writeFileSync(join(root, name), text);
        expect(next.find("place")).toBeUndefined();
      }
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });

  test("keeps no more than there is room for", () => {
    const root = mkdtempSync(join(tmpdir(), "tug-history-"));
    try {
      const history = new StepHistory({ root, logger: silentLogger, recordsMax: 20 });
      for (let index = 0; index < 30; index += 1) history.note(`p${index}`, facts);
      history.note("large", {
        ...facts,
        sources: [{ label: "x", digest: "d", files: "x".repeat(3 * 1024 * 1024) }],
      });
      history.save();
      expect(readdirSync(root)).toHaveLength(20);
      const next = new StepHistory({ root, logger: silentLogger });
      expect(next.find("large")).toBeUndefined();
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});
