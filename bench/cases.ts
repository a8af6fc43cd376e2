/** What is measured: each case does its work once on one engine and says how long that took. */
import assert from "node:assert/strict";
import { openClient } from "../test/support/clients.ts";
import type { Engine } from "../test/support/engine.ts";
import { run, until } from "../test/support/process.ts";
import { testLabel } from "../test/support/images.ts";
import { type Case, timed } from "./case.ts";
import {
  benchImage,
  call,
  type Contestant,
  createContainer,
  linesPath,
  linesSizeBytes,
  memoryKb,
} from "./engines.ts";
import { buildCases, canMeasureBuilds } from "./build-cases.ts";
import { imageCases } from "./image-cases.ts";
import { hasRegistries } from "./image-registries.ts";
import { crunExec, crunRun, dockerCli, emptyExecutable, pipeBytes, writeBytes } from "./bare.ts";
import { loadArchive } from "./load-archive.ts";

const idle = { Cmd: ["sleep", "600"], StopSignal: "SIGKILL" };
/** A daemon that was asked nothing for so long is idle. */
const restMs = 15_000;
const attachBytes = 200_000_000;
const logBytes = 200_000_000;
const readBytes = 50_000_000;
/** Rotation would drop what is to be read again. */
const wholeLog = { LogConfig: { Type: "json-file", Config: { "max-size": "2g" } } };
const manyCount = 30;
const manyAtOnce = 8;
const idleCount = 50;
const kbPerMb = 1024;

/** Times a command of the docker CLI. */
async function timedCli({ engine }: Contestant, args: readonly string[]): Promise<number> {
  const docker = openClient("docker", { host: engine.host, home: "/tmp" });
  return await timed(async () => await docker.ok(...args));
}

async function withContainer<T>(
  engine: Engine,
  config: Readonly<Record<string, unknown>>,
  work: (id: string) => Promise<T>,
): Promise<T> {
  const id = await createContainer(engine, config);
  try {
    return await work(id);
  } finally {
    await call(engine, "DELETE", `/containers/${id}?force=1&v=1`);
  }
}

const runCase = (name: string, budget: number, flags: readonly string[]): Case => ({
  name,
  unit: "ms",
  budget,
  rounds: 10,
  bare: async () => (await dockerCli("run", "--rm", benchImage, "true")) + (await crunRun()),
  measure: async (contestant) =>
    await timedCli(contestant, ["run", "--rm", ...flags, benchImage, "true"]),
});

/** What an engine holds when it has nothing to do. */
function residentCase(name: string): Case {
  return {
    name,
    unit: "MB",
    budget: 50,
    rounds: 1,
    measure: async (contestant) => {
      await Bun.sleep(restMs);
      const pids = contestant.daemonPids();
      return pids.reduce((sum, pid) => sum + memoryKb(pid, "Rss"), 0) / kbPerMb;
    },
  };
}

/** All cases, in the order of the table. */
export const cases: readonly Case[] = [
  runCase("run bridge", 33, []),
  runCase("run none", 24, ["--net", "none"]),
  runCase("run -p", 40, ["-p", "127.0.0.1::80"]),
  {
    name: "api cycle",
    unit: "ms",
    budget: 20,
    rounds: 15,
    bare: crunRun,
    measure: async ({ engine }) =>
      await timed(async () => {
        const id = await createContainer(engine, { Cmd: ["true"] });
        await call(engine, "POST", `/containers/${id}/start`);
        await call(engine, "POST", `/containers/${id}/wait`);
        await call(engine, "DELETE", `/containers/${id}`);
      }),
  },
  {
    name: "start",
    unit: "ms",
    budget: 15,
    rounds: 15,
    bare: crunRun,
    measure: async ({ engine }) =>
      await withContainer(
        engine,
        idle,
        async (id) =>
          await timed(async () => await call(engine, "POST", `/containers/${id}/start`)),
      ),
  },
  {
    name: "exec",
    unit: "ms",
    budget: 20,
    rounds: 10,
    bare: async () => (await dockerCli("exec", "any", "true")) + (await crunExec()),
    measure: async (contestant) =>
      await withContainer(contestant.engine, idle, async (id) => {
        await call(contestant.engine, "POST", `/containers/${id}/start`);
        return await timedCli(contestant, ["exec", id, "true"]);
      }),
  },
  {
    name: "stop+rm",
    unit: "ms",
    budget: 25,
    rounds: 10,
    measure: async ({ engine }) => {
      const id = await createContainer(engine, idle);
      await call(engine, "POST", `/containers/${id}/start`);
      return await timed(async () => {
        await call(engine, "POST", `/containers/${id}/stop`);
        await call(engine, "DELETE", `/containers/${id}`);
      });
    },
  },
  {
    name: "ps",
    unit: "ms",
    budget: 12,
    rounds: 10,
    bare: async () => await dockerCli("ps"),
    measure: async (contestant) => await timedCli(contestant, ["ps"]),
  },
  {
    name: "tug ps",
    unit: "ms",
    budget: 5,
    rounds: 20,
    isOursOnly: true,
    bare: emptyExecutable,
    measure: async ({ engine }) => {
      const client = openClient("tug", { host: engine.host, home: "/tmp" });
      return await timed(async () => await client.ok("ps"));
    },
  },
  {
    name: "30 started, 8 at a time",
    unit: "ms",
    budget: 340,
    timesDocker: 5,
    rounds: 3,
    measure: startMany,
  },
  {
    name: "200 MB through attach",
    unit: "ms",
    budget: 400,
    timesDocker: 4,
    rounds: 3,
    bare: async () => await pipeBytes(attachBytes),
    measure: attachMany,
  },
  {
    name: "200 MB into the log",
    unit: "ms",
    budget: 1000,
    timesDocker: 5,
    rounds: 3,
    bare: async () => await writeBytes(logBytes),
    measure: async ({ engine }) => {
      const config = { Cmd: printLines(logBytes), HostConfig: wholeLog };
      return await withContainer(engine, config, async (id) => {
        return await timed(async () => {
          await call(engine, "POST", `/containers/${id}/start`);
          await call(engine, "POST", `/containers/${id}/wait`);
        });
      });
    },
  },
  {
    name: "50 MB out of the log",
    unit: "ms",
    budget: 300,
    timesDocker: 10,
    rounds: 3,
    measure: readLog,
  },
  residentCase("idle daemon, after containers"),
  {
    name: "load 204 MB",
    unit: "ms",
    budget: 800,
    rounds: 2,
    measure: async ({ engine }) => {
      const body = Bun.file((await loadArchive()).dockerArchive);
      const headers = { "Content-Type": "application/x-tar" };
      const elapsedMs = await timed(async () => {
        const response = await fetch("http://engine/v1.51/images/load?quiet=1", {
          unix: engine.socketPath,
          method: "POST",
          body,
          headers,
        });
        assert.match(await response.text(), /Loaded image/);
      });
      await call(engine, "DELETE", "/images/tugbench-big:1?force=1");
      return elapsedMs;
    },
  },
  ...(hasRegistries ? imageCases : []),
  ...(canMeasureBuilds ? buildCases : []),
  residentCase("idle daemon, after all of it"),
  {
    name: "per idle container, PSS",
    unit: "MB",
    budget: 3,
    rounds: 1,
    measure: idleMemory,
  },
];

async function startMany({ engine }: Contestant): Promise<number> {
  const ids = await Promise.all(
    Array.from({ length: manyCount }, async () => await createContainer(engine, idle)),
  );
  const queue = [...ids];
  const elapsedMs = await timed(async () => {
    await Promise.all(
      Array.from({ length: manyAtOnce }, async () => {
        for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
          await call(engine, "POST", `/containers/${id}/start`);
        }
      }),
    );
  });
  await removeAll(engine, ids);
  return elapsedMs;
}

async function removeAll(engine: Engine, ids: readonly string[]): Promise<void> {
  for (const id of ids) await call(engine, "DELETE", `/containers/${id}?force=1`);
}

/** From the start of the container to its last byte at the client. */
async function attachMany({ engine }: Contestant): Promise<number> {
  const config = {
    Cmd: ["dd", "if=/dev/zero", "bs=64k", `count=${Math.ceil(attachBytes / 65_536)}`],
    AttachStdout: true,
    HostConfig: { LogConfig: { Type: "none" } },
  };
  return await withContainer(engine, config, async (id) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const attached = Promise.withResolvers<void>();
    let count = 0;
    const socket = await Bun.connect({
      unix: engine.socketPath,
      socket: {
        data: (_, chunk) => {
          attached.resolve();
          count += chunk.length;
          if (count >= attachBytes) resolve();
        },
        close: () => resolve(),
      },
    });
    socket.write(
      `POST /v1.51/containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: engine\r\n` +
        "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n",
    );
    await attached.promise;
    const elapsedMs = await timed(async () => {
      await call(engine, "POST", `/containers/${id}/start`);
      await promise;
    });
    assert.ok(count >= attachBytes, `only ${count} bytes came through attach`);
    socket.end();
    return elapsedMs;
  });
}

/** A command that writes so many bytes of lines, faster than any engine takes them. */
function printLines(sizeBytes: number): readonly string[] {
  const count = Math.ceil(sizeBytes / linesSizeBytes);
  return ["cat", ...Array.from({ length: count }, () => linesPath)];
}

async function readLog({ engine }: Contestant): Promise<number> {
  const config = { Cmd: printLines(readBytes), HostConfig: wholeLog };
  return await withContainer(engine, config, async (id) => {
    await call(engine, "POST", `/containers/${id}/start`);
    await call(engine, "POST", `/containers/${id}/wait`);
    return await timed(async () => {
      const response = await engine.open("GET", `/containers/${id}/logs?stdout=1`);
      let count = 0;
      for await (const chunk of response.body ?? []) count += chunk.length;
      assert.ok(count >= readBytes, `only ${count} bytes came out of the log`);
    });
  });
}

/** What stands beside each of many containers that do nothing. */
async function idleMemory(contestant: Contestant): Promise<number> {
  const { engine } = contestant;
  const before = new Set(contestant.companionPids());
  const ids: string[] = [];
  for (let count = 0; count < idleCount; count += 1) {
    const id = await createContainer(engine, { ...idle, Labels: { [testLabel]: "1" } });
    ids.push(id);
    await call(engine, "POST", `/containers/${id}/start`);
  }
  await until(() => contestant.companionPids().length >= idleCount, "all to be there");
  await Bun.sleep(2_000);
  const pids = contestant.companionPids().filter((pid) => !before.has(pid));
  const pssKb = pids.reduce((sum, pid) => sum + memoryKb(pid, "Pss"), 0);
  await removeAll(engine, ids);
  return pssKb / Math.max(pids.length, 1) / kbPerMb;
}

/** Tells whether the docker CLI is there: the cases that need it are skipped otherwise. */
export async function hasDockerCli(): Promise<boolean> {
  return Bun.which("docker") !== null && (await run(["docker", "--version"])).exitCode === 0;
}
