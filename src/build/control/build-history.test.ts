import { describe, expect, test } from "bun:test";
import { solveRequestOf } from "./_test-requests.ts";
import { historyEvents, type HistoryEvent } from "../../api/buildkit/history.ts";
import { timestampOfNs } from "../../api/buildkit/control.ts";
import { BuildHistory, type BuildOutcome } from "./build-history.ts";
import { BuildJob } from "./build-jobs.ts";
import { readHistoryFilters } from "./_history-filter.ts";

const good: BuildOutcome = { response: new Map([["k", "v"]]) };

function ended(history: BuildHistory, ref: string, outputBytes = 0): BuildJob {
  const job = new BuildJob(solveRequestOf(ref));
  history.start(job);
  if (outputBytes > 0) {
    const bytes = Buffer.alloc(outputBytes);
    const digest = "sha256:00" as never;
    job.progress.push({ kind: "log", digest, stream: "stdout", bytes, atNs: "1" });
  }
  history.complete(job, good);
  return job;
}

const refs = (history: BuildHistory): readonly (string | undefined)[] =>
  history.list().map(({ record }) => record?.ref);

describe("BuildHistory", () => {
  test("tells builds that run and that have ended, the newest first", () => {
    const history = new BuildHistory();
    const first = ended(history, "a");
    const second = new BuildJob(solveRequestOf("b"));
    history.start(second);
    const [running, over] = history.list();
    expect([running?.type, over?.type]).toEqual([historyEvents.started, historyEvents.completed]);
    expect(running?.record?.completedAt).toBeUndefined();
    expect(over?.record?.exporterResponse.get("k")).toBe("v");
    expect([history.find("a"), history.find("b")]).toEqual([first, second]);
  });

  test("forgets the oldest beyond its bounds, but none that is pinned or runs", () => {
    const history = new BuildHistory({ countMax: 3, outputMaxBytes: 1000 });
    ended(history, "pinned");
    history.pin("pinned", true);
    const running = new BuildJob(solveRequestOf("running"));
    history.start(running);
    for (const ref of ["a", "b"]) ended(history, ref);
    expect(refs(history)).toEqual(["b", "running", "pinned"]);
    ended(history, "loud", 2000);
    expect(refs(history)).toEqual(["running", "pinned"]);
    history.pin("pinned", false);
    history.complete(running, good);
    expect(refs(history)).toEqual(["running", "pinned"]);
  });

  test("removes what has ended, not what runs, and has nothing of a build of the client's own", () => {
    const history = new BuildHistory();
    ended(history, "a");
    history.start(new BuildJob(solveRequestOf("b")));
    history.start(new BuildJob({ ...solveRequestOf("own"), internal: true }));
    history.remove("a");
    expect(refs(history)).toEqual(["b"]);
    expect(() => history.remove("b")).toThrow("running");
    expect(() => history.remove("a")).toThrow("no build record a");
    expect(() => history.pin("own", true)).toThrow("no build record own");
  });

  test("an answer to an older build of the same name changes nothing", () => {
    const history = new BuildHistory();
    const older = new BuildJob(solveRequestOf("a"));
    history.start(older);
    history.start(new BuildJob(solveRequestOf("a")));
    history.complete(older, good);
    expect(history.list().map(({ type }) => type)).toEqual([historyEvents.started]);
  });

  test("tells listeners what becomes of records, until they go", async () => {
    const history = new BuildHistory();
    const stop = new AbortController();
    const seen: HistoryEvent[] = [];
    const listening = (async () => {
      for await (const event of history.listen(stop.signal)) seen.push(event);
    })();
    ended(history, "a");
    history.remove("a");
    await Bun.sleep(0);
    stop.abort();
    await listening;
    ended(history, "later");
    const { started, completed, deleted } = historyEvents;
    expect(seen.map(({ type }) => type)).toEqual([started, completed, deleted]);
  });

  test("finds documents of results, and names them by platform where there are several", () => {
    const history = new BuildHistory();
    const job = new BuildJob(solveRequestOf("a"));
    history.start(job);
    const blob = (digest: string, platform?: string) => ({
      kind: "attestation" as const,
      ...(platform === undefined ? {} : { platform }),
      descriptor: { mediaType: "m", digest, size: 1, annotations: new Map() },
      bytes: Buffer.from("x"),
    });
    const blobs = [blob("1", "linux/amd64"), blob("2", "linux/arm64")];
    history.complete(job, { ...good, blobs });
    const record = history.list()[0]?.record;
    expect(record?.result).toBeUndefined();
    expect([...(record?.results.keys() ?? [])]).toEqual(["linux/amd64", "linux/arm64"]);
    expect(history.findBlob("2")).toEqual(blobs[1] as never);
    expect(history.findBlob("3")).toBeUndefined();
  });
});

describe("filters of records", () => {
  const secondNs = 1_000_000_000n;
  const nowNs = 1000n * secondNs;
  const history = new BuildHistory();
  ended(history, "abc");
  const [event] = history.list();
  const record = {
    ...(event?.record ?? expect.unreachable()),
    createdAt: timestampOfNs(900n * secondNs),
    completedAt: timestampOfNs(910n * secondNs),
  };
  const holds = (...filters: string[]): boolean => readHistoryFilters(filters, nowNs)(record);

  test.each([
    ["ref==abc", true],
    ["ref~=b", true],
    ["ref!=abc", false],
    ["status==completed", true],
    ["status==error", false],
    ["duration>5s", true],
    ["duration>10s", false],
    ["duration>=10s", true],
    ["startedAt>2m", true],
    ["startedAt>1m", false],
    ["completedAt<1970-01-01T00:16:00Z", true],
    ["repository~=git", false],
    ["ref==abc,status==error", false],
  ])("%s: %p", (filter, isHeld) => {
    expect(holds(filter)).toBe(isHeld);
  });

  test("one of several is enough, none at all holds", () => {
    expect(holds("ref==x", "ref==abc")).toBe(true);
    expect(holds()).toBe(true);
  });

  test.each(["", "nonsense", "color==red", "ref>1", "duration>soon", "duration==1s"])(
    "%p is refused",
    (filter) => {
      expect(() => holds(filter)).toThrow("invalid filter");
    },
  );
});
