/** Docker's SDK for Python, as programs use it, drives the daemon; with a Docker to compare with, that too. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates } from "../support/certificates.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { hasDockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { referenceHost } from "../support/engine.ts";
import { run } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const program = join(import.meta.dir, "../fixtures/python-sdk.py");
const python = await findPython();
if (python === undefined) {
  console.warn("skipped with Docker's SDK for Python: no python3 has it (python3-docker)");
}

/** Debian's Python first: the one on the path may be another, without the packages. */
async function findPython(): Promise<string | undefined> {
  for (const candidate of ["/usr/bin/python3", Bun.which("python3") ?? ""]) {
    if (candidate === "" || !(await Bun.file(candidate).exists())) continue;
    if ((await run([candidate, "-c", "import docker"])).exitCode === 0) return candidate;
  }
  return undefined;
}

const engine = await useEngine({ images: ["busybox"] });
const inDaemon = referenceHost === undefined;

/** What a function of the program answers. */
async function call(
  name: string,
  options: { readonly args?: readonly string[]; readonly env?: Record<string, string> } = {},
): Promise<unknown> {
  const result = await run([python ?? "", "-W", "ignore", program, name, ...(options.args ?? [])], {
    env: { DOCKER_HOST: engine.host, HOME: engine.folder, ...options.env },
    timeoutMs: 60_000,
  });
  assert.equal(result.exitCode, 0, `${name}:\n${result.stderr}`);
  return JSON.parse(result.stdout);
}

describe.skipIf(python === undefined)("Docker's SDK for Python", () => {
  test("runs commands and tells the failed ones", async () => {
    expect(await call("runs")).toEqual({
      plain: "hi\n",
      "removes itself": true,
      "stderr alone": "err\n",
      streamed: ["streamed\n"],
      failed: ["ContainerError", 7, true],
      "no command": ["APIError", 400],
    });
  }, 60_000);

  test("execs: output whole every time, apart, in a terminal, with input", async () => {
    expect(await call("execs")).toEqual({
      "all whole": true,
      apart: [3, "o\n", "e\n"],
      streamed: "a\nb\n",
      piped: "through\n",
      terminal: true,
      "framed by the start": "shown\r\n",
      ended: [false, 5],
      where: "1\n/tmp\n",
      unknown: ["NotFound", 404, "No such exec instance: nothing"],
      "no command": ["APIError", 400, "No exec command specified"],
    });
  }, 60_000);

  test("keeps one running, with ports, volumes and limits, through all its states", async () => {
    expect(await call("detached")).toEqual({
      ports: { "8080/tcp": ["0.0.0.0", "::"], "9000/udp": ["127.0.0.1"] },
      limits: [64 * 1024 * 1024, 50, ["NET_ADMIN"], { "/scratch": "size=1m" }],
      said: "inside\nb c\n150\n",
      listed: ["py-detached"],
      states: ["paused", "running", "py-renamed"],
      mounts: [["py-volume", "/data"]],
      titles: true,
      held: ["APIError", 409],
      waited: 137,
    });
  }, 60_000);

  test("follows logs and waits for ends", async () => {
    expect(await call("logs_and_waits")).toEqual({
      followed: "line 1\nline 2\nline 3\n",
      waited: [3],
      tail: "last\n",
      later: "",
      stamped: 3,
      "not running": 3,
      "bad condition": ["APIError", 400],
    });
  }, 60_000);

  test("attaches before the start, to pipes and to a terminal", async () => {
    expect(await call("attaches")).toEqual({
      piped: "typed\n",
      terminal: true,
      status: 4,
      parts: ["(None, b'two\\n')", "(b'one\\n', None)"],
    });
  }, 60_000);

  test("builds, and tells a build that failed from a request that was wrong", async () => {
    expect(await call("builds")).toEqual({
      tags: ["py-built:1"],
      told: [true, true, true],
      failed: ["BuildError", "The command '/bin/sh -c exit 4' returned a non-zero code: 4"],
      "no base": "BuildError",
      "no instruction": ["APIError", 400],
      label: "value",
      quiet: ["py-built:2"],
      inside: "9\ncopied\n",
    });
  }, 60_000);

  test("tags, saves, loads, lists and removes images", async () => {
    expect(await call("images")).toEqual({
      names: ["py-image:x"],
      loaded: [true],
      listed: [true],
      history: true,
      pruned: 0,
      unknown: ["ImageNotFound", 404, "No such image: py-none:latest"],
      "removed twice": ["ImageNotFound", 404],
    });
  }, 60_000);

  test.skipIf(!hasDockerRegistry || !inDaemon)(
    "pushes, asks about and pulls",
    async () => {
      await using registry = await startDockerRegistry();
      const [amd64, tag] = [process.arch === "x64", `${registry.host}/py:a`];
      expect(await call("registry", { args: [registry.host] })).toEqual({
        pushed: true,
        platform: [amd64, false],
        pulled: [tag],
        every: [true],
        "by digest": true,
        "no tag": ["NotFound", 404],
      });
    },
    60_000,
  );

  test("listens to events, and lists volumes, networks and what takes room", async () => {
    expect(await call("rest")).toEqual({
      events: ["create", "start", "die", "destroy"],
      "stopped listening": true,
      volumes: ["py-other"],
      networks: ["bridge", "host", "none"],
      bridge: "bridge",
      spoken: [true, true],
      disk: ["BuildCache", "Containers", "Images", "LayersSize", "Volumes"],
      pruned: { ContainersDeleted: null, SpaceReclaimed: 0 },
    });
  }, 60_000);

  test("raises the classes that programs catch", async () => {
    expect(await call("refusals")).toEqual({
      "no container": ["NotFound", 404, "No such container: py-none"],
      "no volume": ["NotFound", 404, "get py-none: no such volume"],
      "no network": ["NotFound", 404, "network py-none not found"],
      "name taken": ["APIError", 409],
      "bad name": ["APIError", 400],
      running: ["APIError", 409],
      "bad signal": ["APIError", 400],
      "not paused": "APIError",
      gone: ["NotFound", "NotFound", "NotFound", "NotFound"],
    });
  }, 60_000);

  test("speaks the versions of its past", async () => {
    const answers = await call("versions", { args: ["1.24", "1.30", "1.40", "1.44", "auto"] });
    const each = [0, "old\n", "exited", 1];
    const expected = { "1.24": each, "1.30": each, "1.40": each, "1.44": each, auto: each };
    expect(answers).toEqual(expected);
  }, 60_000);

  test.skipIf(!inDaemon)(
    "shows a sentence for all that is not there yet",
    async () => {
      const answers = await call("not_yet");
      assert.ok(Array.isArray(answers) && answers.length > 0);
      for (const answer of answers) {
        expect(answer).toEqual(["APIError", 501, expect.stringMatching(/^Tug does not .* yet/)]);
      }
    },
    60_000,
  );
});

const hasOpenssl = Bun.which("openssl") !== null;
if (!hasOpenssl) console.warn("skipped: there is no openssl to make certificates with");

describe.skipIf(python === undefined || !hasOpenssl || !inDaemon)("from_env with TLS", () => {
  const folder = mkdtempSync("/tmp/tugpytls-");
  const port = 28_000 + (process.pid % 900);
  let daemon: TestDaemon | undefined;
  beforeAll(async () => {
    await makeCertificates(folder, {
      ca: {},
      server: { signer: "ca", extension: "subjectAltName=IP:127.0.0.1" },
      client: { signer: "ca", extension: "extendedKeyUsage=clientAuth" },
    });
    const file = (name: string): string => join(folder, name);
    mkdirSync(file("client"));
    copyFileSync(file("ca.pem"), file("client/ca.pem"));
    copyFileSync(file("client.pem"), file("client/cert.pem"));
    copyFileSync(file("client.key"), file("client/key.pem"));
    const own = ["--tlscert", file("server.pem"), "--tlskey", file("server.key")];
    const host = ["-H", `tcp://127.0.0.1:${port}`, "--tlsverify", "--tlscacert", file("ca.pem")];
    daemon = await startDaemon({ flags: [...host, ...own] });
    await daemon.engine.ensureImages("busybox");
  });
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  test("all its streams pass", async () => {
    const env = {
      // A machine's own list of authorities would come before the one that is given.
      REQUESTS_CA_BUNDLE: "",
      CURL_CA_BUNDLE: "",
      DOCKER_HOST: `tcp://127.0.0.1:${port}`,
      DOCKER_TLS_VERIFY: "1",
      DOCKER_CERT_PATH: join(folder, "client"),
    };
    // TLS has no half-close that Python could use: what it pipes there is not looked at.
    expect(await call("execs", { env })).toMatchObject({ "all whole": true, terminal: true });
    expect(await call("logs_and_waits", { env })).toMatchObject({ waited: [3] });
    expect(await call("images", { env })).toMatchObject({ loaded: [true] });
  }, 90_000);
});
