import { describe, expect, test } from "bun:test";
import { digestOf } from "./digest.ts";
import {
  decodeImageConfig,
  encodeImageConfig,
  type ImageConfig,
  imageConfigMaxBytes,
  imagePlatform,
} from "./image-config.ts";

const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

const config: ImageConfig = {
  architecture: "arm64",
  os: "linux",
  variant: "v8",
  created: "2024-01-01T00:00:00Z",
  author: "someone",
  config: {
    User: "1000:1000",
    ExposedPorts: { "80/tcp": {} },
    Env: ["PATH=/bin", "A=b=c", "EMPTY="],
    Entrypoint: ["/init"],
    Cmd: ["serve", ""],
    Volumes: { "/data": {} },
    WorkingDir: "/srv",
    Labels: { a: "b" },
    StopSignal: "SIGQUIT",
    StopTimeout: 3,
    Healthcheck: { Test: ["CMD", "true"], Interval: 30_000_000_000, Retries: 3 },
    OnBuild: ["RUN x"],
    Shell: ["/bin/sh", "-c"],
    ArgsEscaped: true,
  },
  rootfs: { type: "layers", diff_ids: [digestOf("a"), digestOf("b")] },
  history: [{ created_by: "ADD x", empty_layer: true }],
  docker_version: "28.5",
};

test("decodeImageConfig() reads everything and comes back the same", () => {
  expect(decodeImageConfig(encodeImageConfig(config))).toEqual(config);
});

test("decodeImageConfig() takes null for missing, as Go writes it", () => {
  const decoded = decodeImageConfig(
    bytes({
      ...config,
      config: { Env: null, Cmd: null, Volumes: null, Labels: null },
      history: null,
    }),
  );
  expect(decoded.config).toEqual({});
  expect(decoded.history).toBeUndefined();
});

test("decodeImageConfig() takes a volume whose value is null", () => {
  const decoded = decodeImageConfig(bytes({ ...config, config: { Volumes: { "/d": null } } }));
  expect(decoded.config?.Volumes).toEqual({ "/d": {} });
});

test("decodeImageConfig() takes an image without layers", () => {
  expect(decodeImageConfig(bytes({ os: "linux" })).rootfs.diff_ids).toEqual([]);
});

test("decodeImageConfig() takes a command that is a text, as Docker does", () => {
  const decoded = decodeImageConfig(bytes({ config: { Cmd: "sh", Entrypoint: "/init now" } }));
  expect(decoded.config).toEqual({ Cmd: ["sh"], Entrypoint: ["/init now"] });
});

test.each(["2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00.123456789+02:00"])(
  "decodeImageConfig() takes the time %s",
  (created) => {
    expect(decodeImageConfig(bytes({ created })).created).toBe(created);
  },
);

test("decodeImageConfig() takes no time for none", () => {
  expect(decodeImageConfig(bytes({ created: "", history: [{ created: "" }] }))).toMatchObject({
    history: [{}],
  });
});

test("imagePlatform() is normalised", () => {
  expect(imagePlatform(config)).toEqual({ os: "linux", architecture: "arm64" });
});

describe("decodeImageConfig() refuses", () => {
  const run = (value: unknown): unknown => ({ ...config, config: value });
  const rootfs = (value: unknown): unknown => ({ ...config, rootfs: value });
  const rows: [string, unknown, string][] = [
    ["no object", "x", "an object is wanted"],
    ["a time that is none", { ...config, created: "yesterday" }, "created: a time as RFC 3339"],
    ["a time that is a duration", { ...config, created: "10m" }, "created: a time as RFC 3339"],
    ["the 13th month", { ...config, created: "2026-13-01T00:00:00Z" }, "failed to parse"],
    ["a step at no time", { ...config, history: [{ created: "1" }] }, "history[0].created: a time"],
    ["a config that is a list", run([]), "image config.config: an object is wanted"],
    ["an environment that is a text", run({ Env: "A=b" }), "config.Env: an array is wanted"],
    ["an environment of numbers", run({ Env: [1] }), "config.Env[0]: a string is wanted"],
    ["an environment of nulls", run({ Env: [null] }), "a string is wanted"],
    ["10,001 variables", run({ Env: Array(10_001).fill("A=b") }), "more than 10000 entries"],
    ["NUL in a variable", run({ Env: ["A=\0"] }), "Env[0]: holds a NUL byte"],
    ["a variable no process can have", run({ Env: ["x".repeat(131_073)] }), "longer than 131072"],
    ["NUL in the working directory", run({ WorkingDir: "/a\0" }), "WorkingDir: holds a NUL byte"],
    ["ports that are a list", run({ ExposedPorts: ["80"] }), "ExposedPorts: an object is wanted"],
    ["labels that are numbers", run({ Labels: { a: 1 } }), 'Labels["a"]: a string is wanted'],
    ["a flag that is a text", run({ Tty: "true" }), "config.Tty: a boolean is wanted"],
    ["a negative interval", run({ Healthcheck: { Interval: -1 } }), "Interval: negative"],
    [
      "a diff ID that is none",
      rootfs({ type: "layers", diff_ids: ["x"] }),
      "diff_ids[0]: not a digest",
    ],
    ["another rootfs", rootfs({ type: "disk" }), '"layers" is wanted'],
    [
      "too many layers",
      rootfs({ diff_ids: Array(513).fill(digestOf("a")) }),
      "more than 512 layers",
    ],
    ["history that is no list", { ...config, history: {} }, "history: an array is wanted"],
    ["an os that is a number", { ...config, os: 1 }, "image config.os: a string is wanted"],
  ];
  test.each(rows)("%s", (_title, value, sentence) => {
    expect(() => decodeImageConfig(bytes(value))).toThrow(sentence);
  });
  test("more bytes than its bound", () => {
    expect(() => decodeImageConfig(new Uint8Array(imageConfigMaxBytes + 1))).toThrow("more than");
  });
});
