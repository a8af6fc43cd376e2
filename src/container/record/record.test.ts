import { describe, expect, test } from "bun:test";
import { createRequest } from "../test-stack.ts";
import { decodeContainerRecord } from "./record.ts";

const { config, hostConfig } = createRequest({ Cmd: ["true"] });
const record = {
  version: 1,
  id: "a".repeat(64),
  name: "web",
  createdNs: "1",
  image: { id: "sha256:x" },
  config,
  hostConfig,
  endpointSettings: {},
  args: ["true"],
  mounts: [],
  phase: "running",
  exitCode: 0,
  error: "",
  isOomKilled: false,
  task: { shimName: "0f0f", pid: 7, pidStartTime: "12", ports: [] },
};

describe("decodeContainerRecord()", () => {
  test("takes what was stored", () => {
    expect(decodeContainerRecord(JSON.parse(JSON.stringify(record)))).toEqual(record as never);
  });

  const damages: readonly (readonly [string, unknown])[] = [
    ["version", 2],
    ["id", "../../etc"],
    ["name", 1],
    ["config", null],
    ["mounts", {}],
    ["mounts", [{ type: "bind" }]],
    ["phase", "flying"],
    ["exitCode", "0"],
    ["createdNs", "yesterday"],
    ["startedNs", 12],
    ["task", { shimName: "../x", ports: [] }],
    ["task", { shimName: "x", ports: [], pid: 1 }],
    ["task", { shimName: "x", ports: [], pid: 5, pidStartTime: "x" }],
    ["task", { shimName: "x" }],
  ];
  test.each([...damages])("refuses a %s of %j", (key, value) => {
    expect(() => decodeContainerRecord({ ...record, [key]: value })).toThrow(
      expect.objectContaining({ kind: "data-loss" }),
    );
  });
  test.each([[null], [1], ["x"], [[]]])("refuses %j", (document) => {
    expect(() => decodeContainerRecord(document)).toThrow("read container record: bad record");
  });
});
