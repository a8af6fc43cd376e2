/** Clients that vanish in the middle of a stream leave nothing behind. */
import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { codeOf } from "../../src/lib/errors.ts";
import { textAt } from "../support/json.ts";
import { startDaemon } from "../support/daemon.ts";
import { rootTar } from "../support/images.ts";
import { until } from "../support/process.ts";

const roundCount = 50;
const settleMaxMs = 15_000;
/** What the daemon may hold more of afterwards: a store's own file, a spare shim's socket. */
const fdSpareCount = 3;
const memorySpareBytes = 48 * 1024 * 1024;
const testMaxMs = 90_000;

const daemon = await startDaemon();
const { engine } = daemon;
const archive = rootTar();
await engine.importImage("busybox", { archive });
const talker = await engine.runDetached({
  Image: "busybox",
  Cmd: ["sh", "-c", "while :; do echo a line of output that is not short; usleep 1000; done"],
});
const sleeper = await engine.runDetached({
  Image: "busybox",
  Cmd: ["sh", "-c", "while read line; do echo $line; done; exec sleep 1000"],
  OpenStdin: true,
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** Requests after which the client vanishes; `send` is sent when the answer has begun, or at once. */
interface Vanishing {
  readonly target: string | (() => Promise<string>);
  readonly headers?: string;
  readonly body?: string;
  /** Sent without waiting for an answer; the rest of the body never comes. */
  readonly part?: Uint8Array;
}

const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
const attach = "/attach?stream=1&stdin=1&stdout=1&stderr=1";
const upload = `Content-Type: application/x-tar\r\nContent-Length: ${archive.length}\r\n`;
const socketHead =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const exec = async (Cmd: readonly string[]): Promise<string> => {
  const body = { AttachStdin: true, AttachStdout: true, Cmd };
  const made = await engine.api("POST", `/containers/${sleeper}/exec`, body);
  return `POST /exec/${textAt(made.json, "Id")}/start`;
};
const startBody = {
  headers: "Content-Type: application/json\r\nContent-Length: 2\r\n",
  body: "{}",
};

const streams: Readonly<Record<string, Vanishing>> = {
  "logs that are followed": { target: `GET /containers/${talker}/logs?follow=1&stdout=1` },
  "logs of one who is silent": { target: `GET /containers/${sleeper}/logs?follow=1&stdout=1` },
  "attach, upgraded": { target: `POST /containers/${talker}${attach}`, headers: upgrade },
  "attach, raw": { target: `POST /containers/${sleeper}${attach}` },
  "attach by websocket": {
    target: `GET /containers/${talker}/attach/ws?stream=1&stdout=1`,
    headers: socketHead,
  },
  events: { target: "GET /events" },
  wait: { target: `POST /containers/${sleeper}/wait?condition=next-exit` },
  "wait for the removal": { target: `POST /containers/${sleeper}/wait?condition=removed` },
  save: { target: "GET /images/busybox/get" },
  "exec that talks": {
    target: async () => await exec(["sh", "-c", "head -c 9999999 /dev/zero"]),
    ...startBody,
  },
  "exec that reads": { target: async () => await exec(["cat"]), ...startBody },
  load: { target: "POST /images/load", headers: upload, part: archive.subarray(0, 100_000) },
  import: {
    target: "POST /images/create?fromSrc=-&repo=cf-never",
    headers: upload,
    part: archive.subarray(0, 600_000),
  },
  "a body that never comes": {
    target: "POST /containers/create",
    headers: "Content-Type: application/json\r\nContent-Length: 1000\r\n",
    part: Buffer.from('{"Image":'),
  },
  "half a head": { target: "GET /containers/json HTTP/1.1\r\nHost: x" },
};

describe("a client that vanishes", () => {
  for (const [name, what] of Object.entries(streams)) {
    test(
      `in ${name}, ${roundCount} times`,
      async () => {
        await vanish(what);
        const before = await settled();
        for (let round = 0; round < roundCount; round += 1) await vanish(what);
        await until(
          async () => (await settled()).fdCount <= before.fdCount + fdSpareCount,
          () => `${before.fdCount} descriptors, of which new: ${newDescriptors(before.fds)}`,
          settleMaxMs,
        );
        const after = await settled();
        expect(after.memoryBytes - before.memoryBytes).toBeLessThan(memorySpareBytes);
        expect((await engine.api("GET", "/_ping")).status).toBe(200);
        expect(await runningExecs()).toEqual([]);
      },
      testMaxMs,
    );
  }

  test(
    "leaves no image, no upload and no process",
    async () => {
      expect((await engine.api("GET", "/images/cf-never/json")).status).toBe(404);
      expect(readdirSync(`${daemon.dataRoot}/content/ingest`)).toEqual([]);
      for (const id of [talker, sleeper]) {
        expect((await engine.api("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
      }
      expect(await daemon.leaks()).toEqual([]);
    },
    testMaxMs,
  );
});

async function vanish(what: Vanishing): Promise<void> {
  const target = typeof what.target === "string" ? what.target : await what.target();
  using connection = await engine.raw();
  const [method = "", path = ""] = target.split(" ");
  const isHalf = target.includes("HTTP/1.1");
  const head = isHalf
    ? target
    : `${method} /v1.51${path} HTTP/1.1\r\nHost: x\r\n${what.headers ?? ""}\r\n${what.body ?? ""}`;
  connection.send(head);
  if (what.part !== undefined) connection.send(what.part);
  const isAnswered = what.part === undefined && !isHalf;
  const end = performance.now() + 2_000;
  while (isAnswered && connection.received.length === 0 && performance.now() < end) {
    await Bun.sleep(1);
  }
  if (!isAnswered) await Bun.sleep(5);
}

interface Held {
  readonly fdCount: number;
  readonly fds: ReadonlySet<string>;
  readonly memoryBytes: number;
}

/** What the daemon holds once it holds no more than a moment ago. */
async function settled(): Promise<Held> {
  let last = held();
  for (let look = 0; look < 20; look += 1) {
    await Bun.sleep(50);
    const now = held();
    if (now.fdCount >= last.fdCount) return now;
    last = now;
  }
  return last;
}

function held(): Held {
  const folder = `/proc/${daemon.pid}/fd`;
  const fds = readdirSync(folder).map((fd) => linkOf(`${folder}/${fd}`));
  const [, pages = "0"] = readFileSync(`/proc/${daemon.pid}/statm`, "utf8").split(" ");
  return { fdCount: fds.length, fds: new Set(fds), memoryBytes: Number(pages) * 4096 };
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "gone";
    throw error;
  }
}

function newDescriptors(before: ReadonlySet<string>): string {
  return [...held().fds].filter((fd) => !before.has(fd)).join(" ");
}

/** Processes in the sleeper besides its own; those that talk or read lost their client and end. */
async function runningExecs(): Promise<readonly string[]> {
  const end = performance.now() + settleMaxMs;
  for (;;) {
    const top = await engine.api("GET", `/containers/${sleeper}/top?ps_args=-o%20pid,comm`);
    const names = (top.json as { Processes?: readonly (readonly string[])[] }).Processes ?? [];
    const others = names.slice(1).map((fields) => fields.join(" "));
    if (others.length === 0 || performance.now() > end) return others;
    await Bun.sleep(100);
  }
}
