import { expect, test } from "bun:test";
import { getPriority } from "node:os";
import { join } from "node:path";
import { run } from "./process.ts";

/** Only root may lift a priority, and only the usual one is lifted. */
const canLift = process.getuid?.() === 0 && getPriority() === 0;
const program = `
  import { getPriority } from "node:os";
  import { spawnSync } from "node:child_process";
  import { readdirSync, readFileSync } from "node:fs";
  import { answerFirst } from ${JSON.stringify(join(import.meta.dir, "priority.ts"))};
  const is = answerFirst();
  const worker = new Worker(URL.createObjectURL(new Blob(["postMessage(0)"])));
  await new Promise((resolve) => { worker.onmessage = resolve; });
  const niceOf = (tid) => {
    try {
      return readFileSync("/proc/self/task/" + tid + "/stat", "latin1").split(") ")[1].split(" ")[16];
    } catch {
      return [];
    }
  };
  const others = readdirSync("/proc/self/task").filter((tid) => Number(tid) !== process.pid);
  const child = spawnSync("nice").stdout.toString().trim();
  console.log(JSON.stringify({
    is, own: getPriority(), child, others: [...new Set(others.flatMap(niceOf))],
  }));
  process.exit();
`;

/** What a process of its own says of its priorities. */
async function prioritiesOf(...before: readonly string[]): Promise<unknown> {
  const argv = [...before, process.execPath, "--eval", program];
  const { stdout, stderr } = await run({ argv, timeoutMs: 20_000 });
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

test.skipIf(!canLift)(
  "answerFirst() lifts the thread alone, not what it starts (needs root, and the usual priority)",
  async () => {
    expect(await prioritiesOf()).toEqual({ is: true, own: -5, child: "0", others: ["0"] });
  },
);

test("answerFirst() leaves a priority that was given alone", async () => {
  const own = Math.min(getPriority() + 7, 19);
  const others = [String(own)];
  const found = await prioritiesOf("nice", "-n", "7");
  expect(found).toEqual({ is: false, own, child: String(own), others });
});

test.skipIf(!canLift)(
  "answerFirst() says that a user may not (needs root, and the usual priority)",
  async () => {
    const without = [
      "setpriv",
      "--bounding-set=-sys_nice",
      "--inh-caps=-sys_nice",
      "--ambient-caps=-all",
    ];
    expect(await prioritiesOf(...without)).toMatchObject({ is: false, own: 0, child: "0" });
  },
);
