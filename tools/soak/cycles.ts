/** What users do with an engine, one small piece each, also at moments that suit nobody. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openRaw } from "../../test/support/http.ts";
import type { Client } from "../../test/support/clients.ts";
import type { TestDaemon } from "../../test/support/daemon.ts";
import { rootTar } from "../../test/support/images.ts";
import { describeResult, type Result } from "../../test/support/process.ts";

/** What a cycle works with. */
export interface Bench {
  readonly daemon: TestDaemon;
  readonly clients: readonly Client[];
  /** Host and port of a registry that wants `password` of a user `soak`. */
  readonly registry: string;
  /** A number from 0 to below `end`; the same seed gives the same ones. */
  random(end: number): number;
  /** A name that no other cycle has. */
  name(): string;
  /** Notes what should not have happened. */
  surprise(what: string): void;
}

/** What must never be read in a log. */
export const password = "soak-secret-7f3a91";
/** The image that cycles run. */
export const image = "soak-base";
const port = 28_311;

/** Puts the image there from which everything is run. */
export async function putImage({ daemon }: Bench): Promise<void> {
  const entry = { name: "seeded/", type: "directory" } as const;
  const archive = rootTar({ entries: [entry, { name: "seeded/file", content: "x" }], changes: [] });
  await daemon.engine.importImage(image, { archive, changes: ['CMD ["sh"]'] });
}

const flags: readonly (readonly string[])[] = [
  ["--network", "none"],
  ["--network", "host"],
  ["-p", "127.0.0.1::80"],
  ["-p", "127.0.0.1::53/udp", "-P", "--expose", "81"],
  ["-v", "/data"],
  ["-v", "/seeded"],
  ["-v", "/tmp:/host:ro"],
  ["--tmpfs", "/scratch:size=1m"],
  ["--init"],
  ["-u", "1000:1000"],
  ["-m", "64m", "--cpus", "0.5", "--pids-limit", "50"],
  ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
  ["--hostname", "here", "--add-host", "a:10.0.0.1", "--dns", "10.0.0.2", "-e", `P=${password}`],
  ["--log-opt", "max-size=4k", "--log-opt", "max-file=2"],
  ["--log-driver", "none"],
  ["--privileged"],
  ["--pid", "host"],
  ["--ipc", "host"],
  ["--shm-size", "1m", "--ulimit", "nofile=64"],
  [],
];

/** Every cycle by its name. */
export const cycles: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  async run(bench) {
    const options = [...pick(bench, flags), ...pick(bench, flags)];
    const pid = options.includes("--pid") || options.includes("--init") ? "true" : "echo $$";
    const result = await client(bench).run(["run", "--rm", ...options, image, "sh", "-c", pid]);
    const isClash = new Set(options).size < options.length || options.includes("host");
    if (result.exitCode !== 0 && !isClash) bench.surprise(describeResult(options, result));
  },
  async terminal(bench) {
    const argv = ["run", "--rm", "-t", image, "sh", "-c", "stty size; seq 2000; exit 7"];
    expect(bench, await client(bench).terminal(argv), 7);
  },
  async input(bench) {
    const input = Buffer.alloc(bench.random(2_000_000), "x");
    const result = await client(bench).run(["run", "--rm", "-i", image, "wc", "-c"], { input });
    expect(bench, result, 0);
    if (result.stdout.trim() !== String(input.length)) bench.surprise(`wc: ${result.stdout}`);
  },
  async failures(bench) {
    expect(bench, await client(bench).run(["run", "--rm", image, "no-such-command"]), 127);
    expect(bench, await client(bench).run(["run", "--rm", image, "/etc"]), 126);
    expect(bench, await client(bench).run(["run", "--rm", "no-such-image:x1"]), 125);
    expect(bench, await client(bench).run(["run", "--rm", "-v", "relative:/x:bad", image]), 125);
  },
  async oom(bench) {
    const hog = ["tail", "/dev/zero"];
    const result = await client(bench).run(["run", "--rm", "-m", "24m", image, ...hog]);
    if (result.exitCode === 0) bench.surprise("the hog of memory ended well");
  },
  async execs(bench) {
    await withContainer(bench, ["--init"], async (name) => {
      const { run } = client(bench);
      expect(bench, await run(["exec", name, "sh", "-c", "exit 3"]), 3);
      expect(bench, await run(["exec", "-e", "A=b", "-w", "/tmp", name, "no-such"]), 127);
      expect(bench, await run(["exec", "-i", name, "cat"], { input: "abc" }), 0);
      expect(bench, await run(["exec", "-d", name, "sleep", "0.2"]), 0);
      expect(bench, await client(bench).terminal(["exec", "-t", name, "tty"]), 0);
      await broken(bench, ["exec", name, "yes"]);
      await broken(bench, ["exec", "-i", name, "cat"]);
      for (const question of ["top", "inspect", "diff", "port"]) {
        expect(bench, await run([question, name]), 0);
      }
    });
  },
  async followers(bench) {
    await withContainer(bench, [], async (name) => {
      const argvs = [
        ["logs", "-f", name],
        ["attach", name],
        ["stats", name],
        ["wait", name],
      ];
      await Promise.all([...argvs, ["events"]].map((argv) => broken(bench, argv)));
    });
  },
  async flood(bench) {
    const name = bench.name();
    await broken(bench, ["run", "--rm", "--name", name, image, "yes"]);
    await client(bench).run(["rm", "-fv", name]);
  },
  async oddMoments(bench) {
    const { run } = client(bench);
    const name = bench.name();
    const verbs = [["kill"], ["stop", "-t", "0"], ["restart", "-t", "0"], ["pause"], ["unpause"]];
    const argv = ["run", "-d", "--name", name, "-p", "127.0.0.1::80", "-v", "/data", image];
    const started = run([...argv, "sleep", "60"]);
    const asked = [0, 1, 2].map(async () => {
      await Bun.sleep(bench.random(150));
      await run([...pick(bench, verbs), name]);
    });
    await Promise.all([started, ...asked]);
    await Promise.all([run(["rm", "-fv", name]), run(["rm", "-fv", name])]);
  },
  async createOnly(bench) {
    const { run } = client(bench);
    const name = bench.name();
    const create = ["create", "--name", name, "-v", "/seeded", image];
    expect(bench, await run(create), 0);
    expect(bench, await run(create), 1);
    await broken(bench, ["export", name]);
    expect(bench, await run(["rm", "-v", name]), 0);
  },
  async ports(bench) {
    const { run } = client(bench);
    const argv = ["-p", `127.0.0.1:${port}:80`, image, "httpd", "-f", "-p", "80", "-h", "/etc"];
    await withContainer(bench, argv, async () => {
      expect(bench, await run(["run", "--rm", ...argv]), 125);
      const page = await bench.daemon.engine.fetchText(`http://127.0.0.1:${port}/passwd`);
      if (!page.includes("root")) bench.surprise(`page: ${page}`);
    });
  },
  async startsAgain(bench) {
    await withContainer(bench, [image, "sh", "-c", "sleep 0.1; exit 1"], async (name) => {
      const { run } = client(bench);
      await Bun.sleep(bench.random(300));
      expect(bench, await run(["start", name]), 0);
      await run(["start", "-a", name]);
    });
  },
  async volumes(bench) {
    const { run } = client(bench);
    const name = bench.name();
    expect(bench, await run(["volume", "create", name]), 0);
    expect(
      bench,
      await run(["run", "--rm", "-v", `${name}:/seeded`, image, "ls", "/seeded/file"]),
      0,
    );
    expect(bench, await run(["volume", "rm", name]), 0);
    expect(bench, await run(["volume", "rm", name]), 1);
  },
  async networks(bench) {
    const { run } = client(bench);
    const name = bench.name();
    if ((await run(["network", "create", name])).exitCode !== 0) return;
    await withContainer(bench, ["--network", name], async (container) => {
      expect(bench, await run(["exec", container, "nslookup", container]), 0);
    });
    expect(bench, await run(["network", "rm", name]), 0);
  },
  async builds(bench) {
    const folder = join(bench.daemon.folder, bench.name());
    mkdirSync(folder);
    writeFileSync(join(folder, "Dockerfile"), dockerfile);
    writeFileSync(join(folder, "changing"), `${bench.random(20)}`);
    writeFileSync(join(folder, "big"), Buffer.alloc(bench.random(4_000_000), "b"));
    writeFileSync(join(folder, "secret"), password);
    const tag = bench.name();
    const argv = ["build", "-q", "-t", tag, "--build-arg", `ODD=${bench.random(4)}`, folder];
    const isClassic = bench.random(2) === 0;
    const env = { DOCKER_BUILDKIT: isClassic ? "0" : "1" };
    const secret = isClassic ? [] : ["--secret", `id=s,src=${folder}/secret`];
    if (bench.random(3) === 0) return await broken(bench, [...argv, ...secret], env);
    const [docker] = bench.clients;
    const used = isClassic ? (docker ?? client(bench)) : client(bench);
    const result = await used.run([...argv, ...secret], { env, timeoutMs: 60_000 });
    expect(bench, result, 0);
    await client(bench).run(["rmi", tag]);
  },
  async classicBuilds(bench) {
    const tag = bench.name();
    const input = `FROM ${image}\nRUN echo ${bench.random(10)} >/x\nENV A=${bench.random(5)}\nRUN ls\n`;
    const [docker] = bench.clients;
    const argv = ["build", "-q", "-t", tag, "-"];
    const used = docker ?? client(bench);
    expect(bench, await used.run(argv, { input, env: { DOCKER_BUILDKIT: "0" } }), 0);
    expect(bench, await used.run(["rmi", tag]), 0);
  },
  async archives(bench) {
    const { run } = client(bench);
    const [name, file] = [bench.name(), join(bench.daemon.folder, bench.name())];
    expect(bench, await run(["import", "-", name], { input: rootTar() }), 0);
    expect(bench, await run(["save", "-o", file, name, image]), 0);
    await broken(bench, ["save", name]);
    expect(bench, await run(["rmi", name]), 0);
    await broken(bench, ["load", "-i", file]);
    expect(bench, await run(["load", "-i", file]), 0);
    expect(bench, await run(["rmi", name]), 0);
    expect(bench, await run(["load"], { input: "no archive" }), 1);
  },
  async transfers(bench) {
    const { run } = client(bench);
    const name = `${bench.registry}/soak/${bench.random(5)}:${bench.random(3)}`;
    await withContainer(bench, [], async (container) => {
      await run(["exec", container, "sh", "-c", `seq ${bench.random(300_000)} >/many`]);
      expect(bench, await run(["commit", container, name]), 0);
    });
    await broken(bench, ["push", name]);
    await run(["push", name]);
    await run(["rmi", name]);
    await broken(bench, ["pull", name]);
    await run(["pull", name]);
    await run(["rmi", name]);
    expect(bench, await run(["pull", `${bench.registry}/soak/none:1`]), 1);
  },
  async questions(bench) {
    for (const words of ["ps -a", "images -a", "info", "version", "system df", "volume ls"]) {
      expect(bench, await client(bench).run(words.split(" ")), 0);
    }
  },
  async halfRequests(bench) {
    for (const text of [
      "POST /v1.51/containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
      "GET /v1.51/events HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /v1.51/images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
      "POST /v1.51/build HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
      "POST /session HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\nPRI",
      "no http at all\r\n\r\n",
    ]) {
      using connection = await openRaw(bench.daemon.engine.socketPath);
      connection.send(text);
      await Bun.sleep(bench.random(30));
    }
  },
};

const dockerfile = `# syntax=docker/dockerfile:1
FROM ${image} AS one
ARG ODD
COPY changing /changing
RUN --mount=type=secret,id=s cat /run/secrets/s >/dev/null; echo $ODD >/odd
FROM ${image} AS two
COPY big /
RUN --mount=type=cache,target=/cache date >>/cache/dates; sleep 0.1
FROM one
COPY --from=two /big /from-two
RUN cat /changing /odd
`;

function client(bench: Bench): Client {
  return pick(bench, bench.clients);
}

function pick<T>(bench: Bench, list: readonly T[]): T {
  const found = list[bench.random(list.length)];
  if (found === undefined) throw new RangeError("nothing to pick from");
  return found;
}

function expect(bench: Bench, result: Result, exitCode: number): void {
  if (result.exitCode !== exitCode) bench.surprise(describeResult([`wanted ${exitCode}:`], result));
}

/** Runs a container for the time of `use`; `argv` may end with image and command. */
async function withContainer(
  bench: Bench,
  argv: readonly string[],
  use: (name: string) => Promise<void>,
): Promise<void> {
  const name = bench.name();
  const command = argv.includes(image)
    ? []
    : [image, "sh", "-c", "while echo on; do sleep 0.1; done"];
  const { run } = client(bench);
  const started = await run(["run", "-d", "--name", name, ...argv, ...command]);
  if (started.exitCode === 0) await use(name);
  else if (!/already|allocated|in use/.test(started.stderr))
    bench.surprise(describeResult(argv, started));
  await run(["rm", "-fv", name]);
}

/** Runs a client that is killed after a while. */
async function broken(
  bench: Bench,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  await using running = client(bench).start(argv, { env });
  await Bun.sleep(30 + bench.random(400));
  running.kill(pick(bench, ["SIGKILL", "SIGTERM", "SIGINT"]));
}
