import { describe, expect, test } from "bun:test";
import { createRequest } from "../test-stack.ts";
import { applyImageDefaults, argumentsOf } from "./image-defaults.ts";

const image = {
  Entrypoint: ["/entry"],
  Cmd: ["serve"],
  Env: ["PATH=/bin", "A=image"],
  Labels: { one: "image", two: "image" },
  ExposedPorts: { "80/tcp": {} },
  Volumes: { "/data": {} },
  WorkingDir: "/work",
  User: "bob",
  StopSignal: "SIGQUIT",
};

function merge(config: Parameters<typeof createRequest>[0], from: typeof image | object = image) {
  return applyImageDefaults(createRequest(config).config, from);
}

describe("applyImageDefaults()", () => {
  const rows: readonly (readonly [Parameters<typeof createRequest>[0], readonly string[]])[] = [
    [{}, ["/entry", "serve"]],
    [{ Cmd: ["other"] }, ["/entry", "other"]],
    [{ Entrypoint: ["/mine"] }, ["/mine"]],
    [{ Entrypoint: ["/mine"], Cmd: ["x"] }, ["/mine", "x"]],
    [{ Entrypoint: [""], Cmd: ["x"] }, ["x"]],
    [{ Entrypoint: [], Cmd: ["x"] }, ["x"]],
  ];
  test.each([...rows])("runs %j as %j", (config, args) => {
    expect(argumentsOf(merge(config))).toEqual(args);
  });

  test("merges by name, by key, by absence", () => {
    const merged = merge({ Env: ["A=mine", "B=mine"], Labels: { one: "mine" } });
    expect(merged.Env).toEqual(["A=mine", "B=mine", "PATH=/bin"]);
    expect(merged.Labels).toEqual({ one: "mine", two: "image" });
    expect(merged).toMatchObject({
      User: "bob",
      WorkingDir: "/work",
      StopSignal: "SIGQUIT",
      Volumes: { "/data": {} },
      ExposedPorts: { "80/tcp": {} },
    });
    expect(merge({ User: "ann", WorkingDir: "/x" })).toMatchObject({
      User: "ann",
      WorkingDir: "/x",
    });
  });

  const refusals: readonly (readonly [Parameters<typeof createRequest>[0], string])[] = [
    [{}, "no command specified"],
    [{ Entrypoint: [""] }, "no command specified"],
    [{ Cmd: ["x"], Env: ["=x"] }, "invalid environment variable: =x"],
    [{ Cmd: ["x"], Env: [""] }, "invalid environment variable: "],
    [
      { Cmd: ["x"], WorkingDir: "rel" },
      "the working directory 'rel' is invalid, it needs to be an absolute path",
    ],
    [{ Cmd: ["x"], StopSignal: "FOO" }, "invalid signal: FOO"],
    [
      { Cmd: ["x"], Healthcheck: { Interval: 5 } },
      "Interval in Healthcheck cannot be less than 1ms",
    ],
  ];
  test.each([...refusals])("refuses %j", (config, message) => {
    expect(() => merge(config, {})).toThrow(message);
  });
});
