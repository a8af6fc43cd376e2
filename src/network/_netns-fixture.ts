import { describe, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import { sleep } from "../lib/concurrency/retry.ts";

const isInside = process.env["TUG_TEST_NETNS"] === "1";
const suiteTimeoutMs = 60_000;

/**
 * Runs a suite that needs root and nft in a network namespace of its own, which plays the host: the
 * machine's own bridges and rules are never touched. The test file runs itself again there.
 */
export function describeHost(name: string, path: string, suite: () => void): void {
  if (isInside) {
    describe(name, suite);
    return;
  }
  const canRun = process.getuid?.() === 0 && spawnSync("nft", ["--version"]).status === 0;
  if (canRun) test(`${name}: passes in a namespace`, () => runInside(path), suiteTimeoutMs);
  else test.skip(`${name}: needs root and nft`, () => undefined);
}

async function runInside(path: string): Promise<void> {
  const child = spawn("unshare", ["-n", process.execPath, "test", path], {
    env: { ...process.env, TUG_TEST_NETNS: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  child.stdout.on("data", (chunk) => said.push(String(chunk)));
  child.stderr.on("data", (chunk) => said.push(String(chunk)));
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect(code === 0 ? "" : said.join("")).toBe("");
}

/** A process in a network namespace of its own, for tests. */
export class TestNamespace implements Disposable {
  readonly #keeper: ChildProcess;
  readonly #children: ChildProcess[] = [];
  readonly pid: number;

  constructor(keeper: ChildProcess, pid: number) {
    this.#keeper = keeper;
    this.pid = pid;
  }

  /** Makes one with its loopback up. */
  static async create(): Promise<TestNamespace> {
    const keeper = spawn("unshare", ["-n", "--kill-child", "sleep", "300"], { stdio: "ignore" });
    const pid = keeper.pid ?? 0;
    const namespace = new TestNamespace(keeper, pid);
    const own = readlinkSync("/proc/self/ns/net");
    while (readlinkSync(`/proc/${pid}/ns/net`) === own) await sleep(2);
    namespace.sh("ip link set lo up");
    return namespace;
  }

  /** Runs a script inside and returns what it says. */
  sh(script: string): string {
    return sh(`exec nsenter -t ${this.pid} -n sh -c '${script}'`);
  }

  /** Does what the shim does with its plan. */
  configure(
    interfaces: readonly { name: string; addresses: readonly string[]; gateway?: string }[],
  ): void {
    for (const { name, addresses, gateway } of interfaces) {
      const lines = addresses.map((address) => `ip address add ${address} dev ${name}`);
      lines.push(`ip link set ${name} up`);
      if (gateway !== undefined) lines.push(`ip route add default via ${gateway}`);
      this.sh(lines.join(" && "));
    }
  }

  /** Serves inside: each client is told `label` and its own address as seen here. */
  async serve(label: string, port: number): Promise<void> {
    const program = `
      const answer = (ip) => "${label} " + ip.replace("::ffff:", "");
      require("net").createServer((c) => { c.on("error", () => {}); c.end(answer(c.remoteAddress) + "\\n"); })
        .listen(${port}, "0.0.0.0", () => {
          const udp = require("dgram").createSocket("udp4");
          udp.on("message", (_, from) => udp.send(answer(from.address) + "\\n", from.port, from.address));
          udp.bind(${port}, "0.0.0.0", () => console.log("ready"));
        });`;
    const argv = ["-t", String(this.pid), "-n", process.execPath, "-e", program];
    const child = spawn("nsenter", argv, { stdio: ["ignore", "pipe", "inherit"] });
    this.#children.push(child);
    await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  }

  /** What a client inside is told by a TCP server; empty when it is not reached. */
  askTcp(host: string, port: number, patienceS = 1): string {
    return ask(`nsenter -t ${this.pid} -n`, `cat < /dev/tcp/${host}/${port}`, patienceS);
  }

  /** What a client inside is told by a UDP server; empty when it is not reached. */
  askUdp(host: string, port: number): string {
    const talk = `exec 3<>/dev/udp/${host}/${port}; echo x >&3; timeout 0.5 dd bs=2048 count=1 <&3`;
    return ask(`nsenter -t ${this.pid} -n`, talk);
  }

  /** Whether a host answers packets from inside: by a refusal, at a port nobody serves. */
  reaches(host: string): boolean {
    const script = `nsenter -t ${this.pid} -n timeout 1 bash -c ": < /dev/tcp/${host}/1"`;
    return spawnSync("sh", ["-c", script], { encoding: "utf8" }).stderr.includes("refused");
  }

  [Symbol.dispose](): void {
    for (const child of this.#children) child.kill("SIGKILL");
    this.#keeper.kill("SIGKILL");
  }
}

/** What a client on the host itself is told; it must not block this process, which may serve. */
export async function askHost(host: string, port: number): Promise<string> {
  const child = spawn("timeout", ["1", "bash", "-c", `cat < /dev/tcp/${host}/${port}`], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += String(chunk);
  });
  await new Promise((resolve) => child.once("close", resolve));
  return said.trim();
}

/** Runs a script in the own namespace. */
export function sh(script: string): string {
  const result = spawnSync("sh", ["-c", script], { encoding: "utf8" });
  if (result.status === 0) return result.stdout.trim();
  throw new EngineError("internal", `${script}: ${result.stderr}`);
}

function ask(prefix: string, talk: string, patienceS = 1): string {
  const argv = ["-c", `exec ${prefix} timeout ${patienceS} bash -c '${talk}'`];
  return spawnSync("sh", argv, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).stdout.trim();
}
