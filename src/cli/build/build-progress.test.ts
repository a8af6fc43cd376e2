import { expect, test } from "bun:test";
import { type StatusResponse, timestampOfNs, type Vertex } from "../../api/buildkit/control.ts";
import { BuildTrace } from "./build-trace.ts";
import { openPlainProgress } from "./plain-progress.ts";
import { openTerminalProgress } from "./terminal-progress.ts";

const second = 1_000_000_000n;

function vertex(digest: string, change: Partial<Vertex> = {}): Vertex {
  return {
    digest,
    inputs: [],
    name: `step ${digest}`,
    cached: false,
    started: undefined,
    completed: undefined,
    error: "",
    progressGroup: undefined,
    ...change,
  };
}

function progress(change: Partial<StatusResponse>): StatusResponse {
  return { vertexes: [], statuses: [], logs: [], warnings: [], ...change };
}

const at = (seconds: bigint) => timestampOfNs(seconds * second);

function log(of: string, text: string, seconds = 1n): StatusResponse {
  const msg = Buffer.from(text);
  return progress({ logs: [{ vertex: of, timestamp: at(seconds), stream: 1, msg }] });
}

test("plain: a number a step, output with its time, one end", () => {
  let text = "";
  const plain = openPlainProgress((piece) => {
    text += piece;
  });
  plain.update(progress({ vertexes: [vertex("a"), vertex("b")] }));
  plain.update(progress({ vertexes: [vertex("a", { started: at(1n) })] }));
  plain.update(log("a", "one\ntw", 2n));
  plain.update(
    progress({ vertexes: [vertex("b", { started: at(2n), completed: at(2n), cached: true })] }),
  );
  plain.update(log("a", "o\x1b[31m\nlast", 3n));
  plain.update(progress({ vertexes: [vertex("a", { completed: at(4n) })] }));
  plain.close();
  expect(text.split("\n")).toEqual([
    "#1 step a",
    "#1 1.000 one",
    "#1 ...",
    "",
    "#2 step b",
    "#2 CACHED",
    "",
    "#1 step a",
    "#1 2.000 two\\x1b[31m",
    "#1 last",
    "#1 DONE 3.0s",
    "",
    "",
  ]);
});

test("plain: failed and canceled steps say so, output of the same piece comes before the end", () => {
  let text = "";
  const plain = openPlainProgress((piece) => {
    text += piece;
  });
  plain.update({
    ...log("a", "sorry\n"),
    vertexes: [vertex("a", { started: at(1n), completed: at(1n), error: "exit code: 1" })],
  });
  plain.update(
    progress({
      vertexes: [vertex("b", { started: at(1n), completed: at(1n), error: "context canceled" })],
    }),
  );
  expect(text).toBe(
    "#1 step a\n#1 0.000 sorry\n#1 ERROR: exit code: 1\n\n#2 step b\n#2 CANCELED\n\n",
  );
});

test("a trace keeps the last lines of a step, and what a line said last", () => {
  const trace = new BuildTrace();
  trace.apply(progress({ vertexes: [vertex("a", { started: at(0n) })] }));
  trace.apply(log("a", `10%\r50%\r100%\r\n${"x\n".repeat(1000)}`));
  const [step] = trace.steps;
  expect(step?.lines).toHaveLength(200);
  trace.apply(log("a", "10%\r20%\r\n"));
  expect(step?.lines.at(-1)?.text).toBe("20%");
});

test("terminal: no line is wider than it, what runs shows its output, what is done does not", () => {
  let text = "";
  const terminal = openTerminalProgress({
    output: {
      err: (piece) => {
        text += piece;
      },
      columns: 40,
    },
    rows: () => 10,
    isColored: false,
    builder: "tug:default",
    now: () => 5n * second,
  });
  terminal.update(progress({ vertexes: [vertex("a", { started: at(1n), completed: at(2n) })] }));
  terminal.update(
    progress({ vertexes: [vertex("b", { started: at(2n), name: "x".repeat(100) })] }),
  );
  terminal.update(log("b", `${"out ".repeat(40)}\n`, 3n));
  terminal.close();
  const lines = text
    .replace(/\x1b\[[?\d]*[A-Zhl]/gi, "")
    .trimEnd()
    .split("\n");
  expect(lines[0]).toContain("(1/2)");
  expect(lines[1]).toMatch(/^\r? => step a +1\.0s$/);
  expect(lines[2]).toMatch(/^ => x+… +3\.0s$/);
  for (const line of lines) expect(line.replace("\r", "").length).toBeLessThan(40);
});
