import { expect, test } from "bun:test";
import type { ExecConfig } from "../../api/exec.ts";
import type { LiveContainer } from "../record/live-container.ts";
import { endedExecCountMax, Exec, execCountMax, ExecStore } from "./exec-store.ts";

const containerOf = (): LiveContainer =>
  ({ id: "c", execIds: new Set() }) as unknown as LiveContainer;
const execIn = (container: LiveContainer): Exec =>
  new Exec(container, { Cmd: ["true"] } as unknown as ExecConfig);

test("a state that is waited for is told as it comes, and at once when it is there", async () => {
  const exec = execIn(containerOf());
  const waiting = exec.reaches(["running", "ended"], { waitMaxMs: 5_000 });
  exec.state = { kind: "starting" };
  const startMs = performance.now();
  exec.state = { kind: "running", pid: 7 };
  expect(await waiting).toBe(true);
  expect(await exec.reaches(["running"], { waitMaxMs: 0 })).toBe(true);
  expect(performance.now() - startMs).toBeLessThan(1_000);
});

test("a state that does not come is waited for no longer than said", async () => {
  const exec = execIn(containerOf());
  exec.state = { kind: "starting" };
  expect(await exec.reaches(["ended"], { waitMaxMs: 20 })).toBe(false);
});

test("the oldest of too many ended execs is forgotten, those that run never are", () => {
  const store = new ExecStore();
  const container = containerOf();
  const [running, ...ended] = Array.from({ length: endedExecCountMax + 2 }, () =>
    execIn(container),
  );
  for (const exec of [running, ...ended]) if (exec !== undefined) store.add(exec);
  for (const exec of ended) store.end(exec, 0);
  expect(store.find(ended[0]?.id ?? "")).toBeUndefined();
  expect(store.find(ended[1]?.id ?? "")).toBe(ended[1]);
  expect(store.find(running?.id ?? "")).toBe(running);
  expect([...container.execIds]).toEqual([running?.id ?? ""]);
});

test("a container has a bound of execs that have not ended", () => {
  const store = new ExecStore();
  const container = containerOf();
  for (let count = 0; count < execCountMax; count += 1) container.execIds.add(String(count));
  expect(() => store.add(execIn(container))).toThrow(`it has ${execCountMax} already`);
});
