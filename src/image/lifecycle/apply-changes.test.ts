import { describe, expect, test } from "bun:test";
import type { ImageRunConfig } from "../../oci/image-config.ts";
import { applyChanges } from "./apply-changes.ts";

const base: ImageRunConfig = { Cmd: ["old"], Env: ["A=1", "B=2"], WorkingDir: "/w" };

describe("applyChanges() takes", () => {
  const rows: [string, readonly string[], Partial<ImageRunConfig>][] = [
    ["a command as a list, and as a line", ['CMD ["a","b"]'], { Cmd: ["a", "b"] }],
    ["a list that is none as a line", ['CMD ["a'], { Cmd: ["/bin/sh", "-c", '["a'] }],
    ["no command", ["CMD"], { Cmd: ["/bin/sh", "-c"] }],
    ["a variable in place of another", ["ENV A=3 C='d e'"], { Env: ["B=2", "A=3", "C=d e"] }],
    ["a variable in the old form", ["ENV A b c"], { Env: ["B=2", "A=b c"] }],
    [
      "several lines, comments and folded lines",
      ["USER u\n# no\nLABEL a=1 \\\n b=2"],
      {
        User: "u",
        Labels: { a: "1", b: "2" },
      },
    ],
    ["a folder below the last one", ["WORKDIR x", "WORKDIR y"], { WorkingDir: "/w/x/y" }],
    [
      "a label of any name",
      ["LABEL __proto__=1 constructor=2"],
      {
        Labels: JSON.parse('{"__proto__":"1","constructor":"2"}'),
      },
    ],
    [
      "a probe",
      ["HEALTHCHECK --interval=5s --retries=3 CMD x y"],
      {
        Healthcheck: { Test: ["CMD-SHELL", "x y"], Interval: 5_000_000_000, Retries: 3 },
      },
    ],
    ["ports", ["EXPOSE 80 53/UDP"], { ExposedPorts: { "80/tcp": {}, "53/udp": {} } }],
  ];
  test.each(rows)("%s", (_what, changes, wanted) => {
    expect(applyChanges(base, changes)).toMatchObject(wanted);
  });

  test("an entrypoint, which has no use for the old command", () => {
    expect(applyChanges(base, ["ENTRYPOINT e"]).Cmd).toBeUndefined();
    expect(applyChanges(base, ["CMD c", "ENTRYPOINT e"]).Cmd).toEqual(["/bin/sh", "-c", "c"]);
  });
});

describe("applyChanges() refuses", () => {
  test.each([
    ["RUN x", "RUN is not a valid change command"],
    ["constructor x", "constructor is not a valid change command"],
    ["ENV", "ENV requires at least one argument"],
    ["ENV A", "a name without a value"],
    ["LABEL a=1 b", "b is no name=value"],
    ["LABEL a='b", "a quote is not closed"],
    ["USER a b", "USER requires exactly one argument"],
    ["EXPOSE 80/icmp", "Invalid containerPort: 80/icmp"],
    ["HEALTHCHECK x", "NONE or CMD with a command is wanted"],
    ["HEALTHCHECK --constructor=5s CMD x", "--constructor=5s is no flag of it"],
    ["HEALTHCHECK --interval=5 CMD x", "missing unit in duration"],
    [`ENV A=${"x".repeat(70_000)}`, "ENV is not a valid change command"],
  ])("%s", (change, reason) => {
    expect(() => applyChanges(base, [change])).toThrow(reason);
  });
});
