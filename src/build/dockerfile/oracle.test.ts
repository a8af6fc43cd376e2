/**
 * What BuildKit of Docker 28.5 answered to each Dockerfile of a table, and what we answer.
 *
 * The answers were recorded by test/fixtures/dockerfile/record.mjs.
 */
import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import checks from "../../../test/fixtures/dockerfile/checks.json" with { type: "json" };
import configs from "../../../test/fixtures/dockerfile/configs.json" with { type: "json" };
import { expandInstruction, expandWords } from "./expand.ts";
import { settleArg, settleMetaArgs } from "./arguments.ts";
import type { CommandLine, Dockerfile, Stage } from "./instruction.ts";
import { parseDockerfile } from "./parse.ts";
import { pictureOf } from "../../lib/source-picture.ts";

interface Check {
  readonly name: string;
  readonly text: string;
  readonly error?: {
    readonly message: string;
    readonly ranges?: number[][];
    readonly picture?: string;
  };
}

/** Accepted by us: newer than Docker 28.5, or known there to the labs channel alone. */
const newer = new Set([
  "copy parents",
  "security bad",
  "security variable",
  "security good",
  "device",
  "device required",
]);
/** Of several words equally near, BuildKit tells any one: it told ENV. */
const better = new Set(["unknown near", "unknown near upper"]);
/** Told with the place, which BuildKit leaves out. */
const placedHere = new Set(["copy from undefined"]);
/** BuildKit names the line before, or none. */
const misplacedThere = new Set(["escape twice", "syntax twice"]);
/** Refused by what reads base images, ports and stages, not by the language. */
const elsewhere =
  /failed to parse stage name|base name|empty platform|failed to parse platform|failed to resolve|invalid mount target|invalid containerPort|invalid port|chmod parameter|checksum digest|circular|stage index|lint violation/;

function refusalOf(work: () => unknown): EngineError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
}

const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** As a solver would: stage after stage, with the values known there. */
function evaluate(dockerfile: Dockerfile): Config {
  const given = new Map<string, string>();
  const meta = settleMetaArgs(dockerfile, { given, platform: new Map() });
  const done: Config[] = [];
  for (const stage of dockerfile.stages) {
    const from = expandInstruction(stage.from, { env: meta, escape: dockerfile.directives.escape });
    const base =
      from.kind === "from" ? dockerfile.stages.find((s) => s.name === from.image) : undefined;
    const inherited = base === undefined ? undefined : done[base.index];
    done.push(evaluateStage(stage, { dockerfile, meta, inherited }));
  }
  return done.at(-1) ?? newConfig();
}

interface Config {
  author: string;
  env: Map<string, string>;
  labels: Map<string, string>;
  shell: readonly string[] | undefined;
  cmd: readonly string[];
  entrypoint: readonly string[];
  user: string;
  workdir: string;
  volumes: string[];
  ports: string[];
  stopSignal: string;
  onBuild: string[];
  healthcheck: Record<string, unknown> | undefined;
}

function newConfig(): Config {
  return {
    author: "",
    env: new Map([["PATH", path]]),
    labels: new Map(),
    shell: undefined,
    cmd: [],
    entrypoint: [],
    user: "",
    workdir: "/",
    volumes: [],
    ports: [],
    stopSignal: "",
    onBuild: [],
    healthcheck: undefined,
  };
}

function evaluateStage(
  stage: Stage,
  facts: { dockerfile: Dockerfile; meta: Map<string, string>; inherited: Config | undefined },
): Config {
  const config = structuredClone(facts.inherited ?? newConfig());
  const args = new Map<string, string>();
  const escapeMark = facts.dockerfile.directives.escape;
  const known = { get: (name: string) => args.get(name) ?? config.env.get(name) };
  for (const written of stage.instructions) {
    if (written.kind === "arg") {
      for (const arg of written.args) {
        const value = settleArg(arg, {
          scope: { env: known, escape: escapeMark },
          given: new Map(),
          meta: facts.meta,
        });
        if (value !== undefined) args.set(arg.name, value);
      }
      continue;
    }
    const instruction = expandInstruction(written, { env: known, escape: escapeMark });
    const run = (command: CommandLine): readonly string[] =>
      command.form === "exec"
        ? command.args
        : [...(config.shell ?? ["/bin/sh", "-c"]), command.text];
    switch (instruction.kind) {
      case "env":
        for (const { key, value } of instruction.pairs) {
          config.env.set(key, value);
          args.delete(key);
        }
        break;
      case "label":
        for (const { key, value } of instruction.pairs) config.labels.set(key, value);
        break;
      case "cmd":
        config.cmd = run(instruction.command);
        break;
      case "entrypoint":
        config.entrypoint = run(instruction.command);
        if (facts.inherited !== undefined) config.cmd = [];
        break;
      case "shell":
        config.shell = instruction.args;
        break;
      case "user":
        config.user = instruction.value;
        break;
      case "workdir":
        config.workdir = instruction.value;
        break;
      case "stopsignal":
        config.stopSignal = instruction.value;
        break;
      case "maintainer":
        config.author = instruction.value;
        break;
      case "volume":
        config.volumes.push(...instruction.paths);
        break;
      case "expose":
        config.ports.push(...instruction.ports);
        break;
      case "onbuild":
        config.onBuild.push(instruction.trigger);
        break;
      case "healthcheck": {
        const { check } = instruction;
        config.healthcheck =
          check.kind === "none"
            ? { Test: ["NONE"] }
            : {
                Test:
                  check.command.form === "exec"
                    ? ["CMD", ...check.command.args]
                    : ["CMD-SHELL", check.command.text],
                ...(check.intervalNs === undefined ? {} : { Interval: check.intervalNs }),
                ...(check.timeoutNs === undefined ? {} : { Timeout: check.timeoutNs }),
                ...(check.startPeriodNs === undefined ? {} : { StartPeriod: check.startPeriodNs }),
                ...(check.startIntervalNs === undefined
                  ? {}
                  : { StartInterval: check.startIntervalNs }),
                ...(check.retries === undefined ? {} : { Retries: check.retries }),
              };
        break;
      }
      case "from":
      case "run":
      case "copy":
      case "add":
      case "arg":
        break;
    }
  }
  return config;
}

describe("parseDockerfile() and expandInstruction() refuse what BuildKit refuses", () => {
  for (const check of checks as readonly Check[]) {
    if (newer.has(check.name) || elsewhere.test(check.error?.message ?? "")) continue;
    test(check.name, () => {
      const refusal = refusalOf(() =>
        evaluate(parseDockerfile(new TextEncoder().encode(check.text))),
      );
      if (better.has(check.name)) {
        expect(refusal?.message).toMatch(/ \(did you mean (run|RUN)\?\)$/);
        return;
      }
      const message = placedHere.has(check.name)
        ? refusal?.message.replace(/^dockerfile parse error on line \d+: /, "")
        : refusal?.message;
      expect(message).toBe(check.error?.message as string);
      const ranges = check.error?.ranges ?? [];
      const start = ranges[0]?.[0] ?? 0;
      if (refusal === undefined || start === 0 || misplacedThere.has(check.name)) return;
      expect(refusal.details["location"]).toEqual({
        startLine: start,
        endLine: ranges.at(-1)?.[1],
      });
    });
  }
});

describe("pictureOf() draws what BuildKit draws", () => {
  for (const check of checks as readonly Check[]) {
    const { ranges = [], picture } = check.error ?? {};
    const startLine = ranges[0]?.[0] ?? 0;
    const isOnePlace = ranges.every(([line], index) => line === startLine + index);
    if (picture === undefined || startLine === 0 || !isOnePlace) continue;
    test(check.name, () => {
      const lines = check.text.split("\n");
      const location = { startLine, endLine: ranges.at(-1)?.[1] ?? startLine };
      const trimmed = (text: string): string => text.replace(/[ \r]+$/gm, "");
      const drawn = pictureOf(lines, location, { name: "stdin" });
      expect(trimmed(drawn)).toBe(trimmed(picture));
    });
  }
});

interface Recorded {
  readonly name: string;
  readonly text: string;
  readonly failure?: string;
  readonly author?: string;
  readonly config?: Readonly<Record<string, unknown>>;
}

describe("an image has the configuration that BuildKit gives it", () => {
  for (const recorded of configs as readonly Recorded[]) {
    test(recorded.name, () => {
      const work = (): Config => evaluate(parseDockerfile(new TextEncoder().encode(recorded.text)));
      if (recorded.failure !== undefined) {
        const sentence = /failed to solve: (.*)/.exec(recorded.failure)?.[1] as string;
        expect(refusalOf(work)?.message).toBe(sentence);
        return;
      }
      const config = work();
      const wanted = recorded.config ?? {};
      expect([...config.env].map(([key, value]) => `${key}=${value}`)).toEqual(
        wanted["Env"] as string[],
      );
      expect(Object.fromEntries(config.labels)).toEqual(
        (wanted["Labels"] ?? {}) as Record<string, string>,
      );
      expect(config.cmd).toEqual((wanted["Cmd"] ?? []) as string[]);
      expect(config.entrypoint).toEqual((wanted["Entrypoint"] ?? []) as string[]);
      expect(config.shell).toEqual(wanted["Shell"] as string[]);
      expect(config.user).toBe((wanted["User"] ?? "") as string);
      expect(config.stopSignal).toBe((wanted["StopSignal"] ?? "") as string);
      expect(config.author).toBe(recorded.author ?? "");
      expect(config.onBuild).toEqual((wanted["OnBuild"] ?? []) as string[]);
      expect(config.healthcheck).toEqual(wanted["Healthcheck"] as Record<string, unknown>);
      expect(config.volumes.map((each) => each.trim()).sort()).toEqual(
        Object.keys((wanted["Volumes"] ?? {}) as object).sort(),
      );
      if (recorded.name.startsWith("workdir"))
        expect(config.workdir).toBe(wanted["WorkingDir"] as string);
    });
  }
});

test("words of EXPOSE are cut after expansion", () => {
  const env = new Map([["P", "90 91/udp"]]);
  expect(expandWords('1$P "a b"', { env, escape: "\\" })).toEqual(["190", "91/udp", "a b"]);
});
