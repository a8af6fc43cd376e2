/** Builds of Dockerfiles, contexts and clients that mean ill; what a build must never do, see or keep. */
import assert from "node:assert/strict";
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StatusResponse } from "../../src/api/buildkit/control.ts";
import {
  type BuildSessionOptions,
  openBuildSession,
} from "../../src/client/session/build-session.ts";
import { openBuildConnection } from "../../src/client/session/solve.ts";
import { openTransport } from "../../src/client/transport.ts";
import { uniqueName } from "../support/engine.ts";
import { at, parseLines } from "../support/json.ts";
import { run } from "../support/process.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const transport = openTransport({ kind: "unix", path: engine.socketPath });
/** Long enough to be shared between a context and a layer instead of copied. */
const large = "original\n".repeat(10_000);

/** What a hostile file is made of: content, or the target of a link. */
type Files = Readonly<Record<string, string | { readonly link: string }>>;

function makeFolder(files: Files): string {
  const folder = mkdtempSync(join(engine.folder, "ctx-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    if (typeof content === "string") writeFileSync(join(folder, name), content);
    else symlinkSync(content.link, join(folder, name));
  }
  return folder;
}

interface Built {
  readonly output: string;
  readonly error: string;
  /** All that the client was told. */
  readonly told: string;
}

/** Builds over BuildKit's protocol. */
async function build(
  files: Files,
  options: Partial<BuildSessionOptions> & {
    readonly attrs?: Readonly<Record<string, string>>;
    readonly entitlements?: readonly string[];
    readonly name?: string;
  } = {},
): Promise<Built> {
  const { attrs = {}, entitlements = [], name, ...offered } = options;
  const folder = makeFolder(files);
  const folders = new Map(["context", "dockerfile"].map((key) => [key, folder] as const));
  await using session = await openBuildSession(transport, { sharedKey: "", folders, ...offered });
  using connection = await openBuildConnection(transport);
  const statuses: StatusResponse[] = [];
  const told = (): string => Buffer.from(JSON.stringify(statuses, replacer)).toString();
  const output = (): string =>
    Buffer.concat(statuses.flatMap(({ logs }) => logs.map(({ msg }) => msg))).toString();
  try {
    await connection.solve({
      request: {
        session: session.id,
        frontend: "dockerfile.v0",
        frontendAttrs: new Map(Object.entries({ "no-cache": "", ...attrs })),
        entitlements,
        exporters: name === undefined ? [] : [{ type: "moby", attrs: new Map([["name", name]]) }],
      },
      onStatus: (status) => statuses.push(status),
    });
    return { output: output(), error: "", told: told() };
  } catch (error) {
    assert(error instanceof Error);
    const details = JSON.stringify(error, replacer);
    return { output: output(), error: error.message, told: told() + error.message + details };
  }
}

/** Bytes as text, so that what is in them is found. */
function replacer(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  const isBuffer = typeof value === "object" && value !== null && at(value, "type") === "Buffer";
  if (isBuffer) return Buffer.from(at(value, "data") as number[]).toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString() : value;
}

/** Builds by `POST /build`. @returns what it prints, and how it failed */
async function buildClassic(dockerfile: string, query = ""): Promise<Built> {
  const body = tar([{ name: "Dockerfile", content: dockerfile }]);
  const headers = { "Content-Type": "application/x-tar" };
  const answer = await engine.api("POST", `/build?nocache=1&${query}`, body, { headers });
  if (answer.status !== 200) return { output: "", error: answer.message, told: answer.text };
  const messages = parseLines(answer.text);
  const output = messages.map((message) => String(at(message, "stream") ?? "")).join("");
  const error = messages.map((message) => String(at(message, "error") ?? "")).join("");
  return { output, error, told: answer.text };
}

/** What tells how a process is confined. */
const confinement = [
  "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status",
  "awk '$5 ~ \"^/(proc|sys|dev)\" {print $5, $6}' /proc/self/mountinfo | sort",
  "ls -l /dev | sed 's/^\\(.\\{10\\}\\).* /\\1 /' | sort",
  "for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done | sed 's/[0-9]\\+//'",
  "ulimit -a",
  "umask",
  "id",
  "mount -t tmpfs x /mnt 2>&1",
  "mknod /tmp/k b 8 0 && head -c1 /tmp/k 2>&1",
  "unshare -U true 2>&1",
  "cat /proc/kcore 2>&1 | head -c1 | wc -c",
  "echo 1 2>&1 > /proc/sys/kernel/panic",
].join("; ");

describe("a Dockerfile", () => {
  test("is given no privileges that the client or the engine does not give", async () => {
    const insecure = { Dockerfile: "FROM busybox\nRUN --security=insecure id\n" };
    expect((await build(insecure)).error).toContain("security.insecure is not allowed");
    expect((await build(insecure, { entitlements: ["security.insecure"] })).error).toContain(
      "granting entitlement security.insecure is not allowed by build daemon configuration",
    );
    const host = { Dockerfile: "FROM busybox\nRUN --network=host id\n" };
    expect((await build(host)).error).toContain("network.host is not allowed");
    expect((await build(host, { entitlements: ["network.host"] })).error).toBe("");
  });

  test("is given no more by a classic build", async () => {
    const insecure = "FROM busybox\nRUN --security=insecure id\n";
    expect((await buildClassic(insecure)).error).toContain("security.insecure is not allowed");
    const viaHost = await buildClassic(insecure, "networkmode=host");
    expect(viaHost.error).toContain("security.insecure is not allowed");
    const host = "FROM busybox\nRUN --network=host ls /sys/class/net\n";
    expect((await buildClassic(host)).error).toContain("network.host is not allowed");
    expect((await buildClassic(host, "networkmode=host")).error).toBe("");
  });

  test("runs commands as confined as containers are", async () => {
    const Dockerfile = `FROM busybox\nRUN (${confinement}) 2>&1; true\n`;
    const { output, error } = await build({ Dockerfile });
    expect(error).toBe("");
    const inContainer = ["run", "--rm", "busybox", "/bin/sh", "-c", `(${confinement}) 2>&1; true`];
    expect(output.trimEnd()).toBe(await engine.client("tug").ok(...inContainer));
    expect(output).toContain("NoNewPrivs:\t0\nSeccomp:\t2\n");
  });

  test("puts nothing in the place of the kernel's folders and of devices, links or not", async () => {
    const image =
      "FROM busybox AS evil\nRUN ln -s /proc one; ln -s one two; ln -s /dev three; mkdir /x\nFROM evil\n";
    for (const [mount, sentence] of [
      ["type=bind,from=evil,target=/proc", "not of type proc"],
      ["type=bind,from=evil,rw,target=/two", "not of type proc"],
      ["type=tmpfs,target=/one/sys", "inside /proc"],
      ["type=cache,target=/dev", "/dev is the engine's"],
      ["type=bind,from=evil,source=/x,target=/three", "/dev is the engine's"],
      ["type=tmpfs,target=/sys", "/sys is the engine's"],
    ]) {
      const { error } = await build({ Dockerfile: `${image}RUN --mount=${mount} true\n` });
      expect(error).toContain(sentence ?? "");
    }
    const volume = uniqueName("volume");
    const hostile = "FROM busybox\nRUN ln -s /dev three\nVOLUME /three\n";
    expect((await build({ Dockerfile: hostile }, { name: volume })).error).toBe("");
    const run = await engine.client("tug").run(["run", "--rm", volume, "true"]);
    expect(run.exitCode).not.toBe(0);
    expect(run.stderr).toContain("/dev is the engine's");
  });

  test("is no image that a registry has, whatever it is called", async () => {
    const digest = `sha256:${"a".repeat(64)}`;
    const Dockerfile = "FROM busybox\n";
    for (const name of [`trusted/app@${digest}`, `trusted/app:1@${digest}`]) {
      const { error } = await build({ Dockerfile }, { name });
      expect(error).toContain("refusing to create a tag with a digest reference");
      const classic = await buildClassic(Dockerfile, `t=${encodeURIComponent(name)}`);
      expect(classic.error).toContain("build tag cannot contain a digest");
    }
    expect((await engine.api("GET", `/images/trusted/app@${digest}/json`)).status).toBe(404);
  });

  test("takes no files of the host", async () => {
    const repository = join(engine.folder, "host.git");
    await run(["git", "init", "--quiet", "--bare", repository]);
    for (const source of [`file://${repository}`, "file:///etc/passwd", "../../../etc/shadow"]) {
      const { error } = await build({ Dockerfile: `FROM busybox\nADD ${source} /x\n` });
      expect(error).toContain("not found");
    }
    const links = {
      Dockerfile:
        "FROM busybox\nRUN --mount=target=/m,source=l ls -A /m\n" +
        "RUN --mount=target=/m,source=up/../l ls -A /m\n",
      l: { link: "/" },
      up: { link: "../../.." },
      inside: "x",
    };
    const { output, error } = await build(links);
    expect(error).toBe("");
    expect(output).toBe("Dockerfile\ninside\nl\nup\nDockerfile\ninside\nl\nup\n");
  });

  test.each([
    ["a file of the host", "/etc/shadow"],
    ["a device without an end", "/dev/zero"],
    ["a folder above", "../../../../../../../etc/shadow"],
  ])("that is a link to %s is not read", async (_what, link) => {
    const started = performance.now();
    const { error, told } = await build({ Dockerfile: { link } });
    expect(error).not.toBe("");
    expect(told).not.toContain("root:");
    expect(performance.now() - started).toBeLessThan(10_000);
    expect((await engine.api("GET", "/_ping")).status).toBe(200);
  });
});

describe("a command", () => {
  test("changes neither the context, nor the layers that it reads, nor what they share", async () => {
    const name = uniqueName("shared");
    const evil = (path: string): string =>
      `echo evil >> ${path}; chmod 777 ${path}; touch -d @1 ${path}; chown 7 ${path}; ` +
      `ln ${path} ${path}.2 2>/dev/null; echo more >> ${path}.2; rm -f ${path}.2`;
    const stages = [
      "FROM busybox AS base\nCOPY big /big\nCOPY big /again",
      "FROM base AS one",
      "RUN --mount=target=/m,rw --mount=from=base,target=/b,rw " +
        "--mount=type=cache,id=hostile-seed,from=base,target=/c " +
        "--mount=from=base,source=/big,target=/f,rw " +
        `${["/big", "/m/big", "/b/big", "/b/again", "/c/big", "/f"].map(evil).join("; ")}; true`,
      "RUN --mount=target=/m --mount=from=base,target=/b " +
        `(${["/m/big", "/b/big"].map(evil).join("; ")}) 2>/dev/null; ` +
        "mount -o remount,rw,bind /m 2>/dev/null; (echo x >> /m/big) 2>/dev/null || true",
      "FROM base",
      "COPY --from=one /bin/true /unused",
      "COPY big /third",
      "RUN --mount=target=/m --mount=from=base,target=/b " +
        "md5sum /m/big /b/big /b/again /big /again /third | cut -d' ' -f1 | sort | uniq -c; " +
        "stat -c '%a %u' /m/big /b/big /big",
    ];
    const { output, error } = await build(
      { Dockerfile: `${stages.join("\n")}\n`, big: large },
      { name, sharedKey: uniqueName("key") },
    );
    expect(error).toBe("");
    expect(output).toMatch(/^ *6 [0-9a-f]{32}\n(644 0\n){3}$/);
    const client = engine.client("tug");
    await client.ok("run", "--rm", name, "sh", "-c", evil("/big"));
    expect(await client.ok("run", "--rm", name, "cat", "/big")).toBe(large.trimEnd());
  }, 60_000);

  test("finds a secret for its own eyes, and nothing keeps it", async () => {
    const secret = uniqueName("s3cret");
    const Dockerfile =
      "FROM busybox\n" +
      "RUN --mount=type=secret,id=s stat -c '%a %u %g' /run/secrets/s; cat /run/secrets/s | wc -c\n" +
      "RUN --mount=type=secret,id=s,uid=7,gid=8,mode=0440 stat -c '%a %u %g' /run/secrets/s\n" +
      'RUN --mount=type=secret,id=s,env=TOKEN test -n "$TOKEN" && test ! -e /run/secrets/s\n' +
      "RUN --mount=type=secret,id=s echo x >> /run/secrets/s || ls /run/secrets\n" +
      "RUN test ! -e /run\n";
    const name = uniqueName("kept");
    const { output, told, error } = await build(
      { Dockerfile },
      { name, secret: async () => await Promise.resolve(Buffer.from(secret)) },
    );
    expect(error).toBe("");
    expect(output).toContain(`400 0 0\n${secret.length}\n440 7 8\n`);
    expect(told).not.toContain(secret);
    const history = await engine.api("GET", `/images/${name}/history`);
    const image = await engine.api("GET", `/images/${name}/json`);
    expect(history.text + image.text).not.toContain(secret);
    if (engine.daemon === undefined) return;
    expect(await holders(secret)).toEqual([]);
  });

  test("whose build fails leaves credentials nowhere", async () => {
    const password = uniqueName("passw0rd");
    const Dockerfile = "FROM 127.0.0.1:9/private/base\n";
    const { error, told } = await build({ Dockerfile }, {
      credentials: async () =>
        await Promise.resolve({ kind: "password", username: "me", password }),
    } as object);
    expect(error).not.toBe("");
    expect(told).not.toContain(password);
    const auth = { username: "me", password, serveraddress: "127.0.0.1:9" };
    const encoded = Buffer.from(JSON.stringify(auth)).toString("base64url");
    await engine.api("POST", "/images/create?fromImage=127.0.0.1:9/x", undefined, {
      headers: { "X-Registry-Auth": encoded },
    });
    const url = `http://me:${password}@127.0.0.1:9/f`;
    const added = await build({ Dockerfile: `FROM busybox\nADD ${url} /f\n` });
    expect(added.error).not.toContain(password);
    if (engine.daemon === undefined) return;
    expect(engine.daemon.log()).not.toContain(password);
    expect(engine.daemon.log()).not.toContain(encoded);
  });
});

/** Files of the daemon that hold a text. */
async function holders(text: string): Promise<readonly string[]> {
  const { daemon } = engine;
  if (daemon === undefined) return [];
  const roots = [daemon.dataRoot, daemon.execRoot, join(daemon.folder, "daemon.log")];
  const found = await run(["grep", "-rlaF", "-D", "skip", "--", text, ...roots]);
  return found.stdout.split("\n").filter((line) => line !== "");
}
