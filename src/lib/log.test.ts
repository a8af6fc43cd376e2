import { expect, test } from "bun:test";
import { EngineError } from "./errors.ts";
import { createLogger, type LogLevel } from "./log.ts";

function collect(format: "text" | "json", level: () => LogLevel = () => "info") {
  const lines: string[] = [];
  return { lines, logger: createLogger({ format, level, write: (line) => void lines.push(line) }) };
}

test("text is logfmt on one line, whatever is in it", () => {
  const { lines, logger } = collect("text");
  logger.with({ id: "abc" }).warn("odd\nname", { path: "/a b", count: 3, none: undefined });
  expect(lines[0]).toMatch(/^time=\S+ level=warn msg="odd\\nname" id=abc path="\/a b" count=3$/);
});

test("json holds the message of an error and of its cause", () => {
  const { lines, logger } = collect("json");
  const error = new EngineError("internal", "open store", { cause: new RangeError("disk") });
  logger.error("no", { error });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "error", error: "open store: disk" });
});

test("the level is asked at each line", () => {
  let level: LogLevel = "error";
  const { lines, logger } = collect("text", () => level);
  logger.info("dropped");
  level = "debug";
  logger.debug("kept");
  expect(lines.length).toBe(1);
  expect(lines[0]).toContain("msg=kept");
});
