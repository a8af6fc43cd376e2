import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { EngineError } from "../../lib/errors.ts";
import { silentLogger } from "../../lib/log.ts";
import type { Endpoint } from "../../network/network-service.ts";
import type { Shim, ShimListener } from "../../runtime/shim.ts";
import { readHostFacts } from "../../runtime/spec/host-facts.ts";
import { type RunStepOptions, type RunStepRequest, runStep } from "./run-step.ts";

const root = mkdtempSync(join(tmpdir(), "tug-run-step-"));
const unheard: unknown[] = [];
const hear = (reason: unknown): void => void unheard.push(reason);
beforeAll(() => void process.on("unhandledRejection", hear));
afterAll(() => {
  process.off("unhandledRejection", hear);
  rmSync(root, { recursive: true, force: true });
});

/** A shim whose command does what `start` does with who listens. */
function fakeShim(start: (listener: ShimListener) => Promise<void>): {
  readonly shim: Shim;
  readonly asked: string[];
} {
  const asked: string[] = [];
  const output = new PassThrough();
  let listener: ShimListener | undefined;
  const shim = {
    containerId: "",
    pid: process.pid,
    name: "shim0",
    listen(each: ShimListener) {
      listener = each;
    },
    openSandbox: () => Promise.resolve({ ports: [] }),
    attach: () => Promise.resolve(output),
    async start() {
      asked.push("start");
      if (listener === undefined) throw new EngineError("internal", "nobody listens");
      await start(listener);
      output.end();
      return { pid: 4_194_000, pidStartTime: "1" };
    },
    state: () => {
      asked.push("state");
      return Promise.resolve({ phase: "adopted" });
    },
    abandon: () => Promise.resolve(void asked.push("abandon")),
  };
  return { shim: shim as unknown as Shim, asked };
}

function optionsWith(shim: Shim, asked: string[]): RunStepOptions {
  const options = {
    dataRoot: root,
    execRoot: root,
    host: readHostFacts({ seccompPath: "unconfined" }),
    defaults: {
      runtimes: { crun: { path: "/usr/bin/crun", args: [] } },
      defaultRuntime: "crun",
      cgroupParent: "/tug-run-step",
      ulimits: [],
    },
    shims: {
      acquire: () => Promise.resolve(shim),
      forget: (name: string) => Promise.resolve(void asked.push(`forget ${name}`)),
    },
    networks: {
      allocate: () => Promise.resolve({} as Endpoint),
      connect: () => Promise.resolve({}),
      disconnect: () => Promise.resolve(),
    },
    snapshots: {
      mounts: () => ({ type: "bind", source: root, isReadOnly: false }),
      layersOf: () => [],
    },
    logger: silentLogger,
  };
  return options as unknown as RunStepOptions;
}

const request: RunStepRequest = {
  run: {
    args: ["true"],
    env: [],
    hiddenEnv: [],
    mounts: [],
    extraHosts: [],
    network: "none",
    user: "",
    workingDir: "/",
    isInsecure: false,
  },
  snapshotKey: "build-1",
  results: new Map(),
  build: { client: {}, ulimits: [] } as unknown as RunStepRequest["build"],
  platform: { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" },
  onOutput: () => undefined,
  signal: new AbortController().signal,
};

test("a shim that has told of the end is not asked to end: it may serve another by now", async () => {
  const { shim, asked } = fakeShim((listener) => {
    listener.exited({ exitCode: 3, isOomKilled: false } as never);
    return Promise.resolve();
  });
  await expect(runStep(optionsWith(shim, asked), request)).rejects.toThrow(/exit code: 3/);
  expect(asked).toEqual(["start", "forget shim0"]);
});

test("a shim that was killed in the start is told once, and as a failure that is heard", async () => {
  const { shim, asked } = fakeShim((listener) => {
    listener.lost("killed");
    return Promise.reject(new EngineError("unavailable", "it is gone"));
  });
  await expect(runStep(optionsWith(shim, asked), request)).rejects.toThrow(/it is gone/);
  await Bun.sleep(1);
  expect(asked).toEqual(["start", "forget shim0"]);
  expect(unheard).toEqual([]);
});

test("a shim whose command never started is given up", async () => {
  const { shim, asked } = fakeShim(() => Promise.reject(new EngineError("conflict", "no")));
  await expect(runStep(optionsWith(shim, asked), request)).rejects.toThrow(/no/);
  expect(asked).toEqual(["start", "state", "abandon", "forget shim0"]);
});
