/** The unmodified docker CLI, the same commands to Tug and to Docker: what it prints must be the same. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, type Result } from "../support/process.ts";
import { hasPeer, openPair, type Side } from "./peer.ts";
import { clearTalk, image } from "./talk.ts";

const hasCli = Bun.which("docker") !== null;
if (!hasCli) console.warn("skipped: there is no docker CLI on the path");
const pair = hasPeer && hasCli ? await openPair() : undefined;
const folder = mkdtempSync("/tmp/cf-cli-");
writeFileSync(join(folder, "env"), "FROM_FILE=1\n");
const testMaxMs = 120_000;
const label = ["--label", "cf-comparison"];
const sleeper = ["--label", "cf-comparison", "--stop-signal", "KILL", image, "sleep", "300"];

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await pair?.[Symbol.asyncDispose]();
});

interface Line {
  readonly args: readonly string[];
  readonly input?: string;
  /** Printed output is not compared: it is each engine's own. */
  readonly isOwn?: boolean;
}

const line = (text: string, more: Partial<Line> = {}): Line => ({ args: text.split(" "), ...more });
const runs = (...args: readonly string[]): Line => ({ args: ["run", "--rm", ...label, ...args] });

/** Sessions: command after command, on one engine. */
const sessions: Readonly<Record<string, readonly Line[]>> = {
  run: [
    runs(image, "echo", "hello"),
    runs(image, "sh", "-c", "echo err >&2; exit 7"),
    runs(image, "cf-nothing"),
    runs(image, "/etc"),
    { ...runs("cf-nothing:1", "true"), isOwn: true },
    runs("--name", "a b", image, "true"),
    runs("--cpus", "99", image, "true"),
    runs("-m", "1k", image, "true"),
    runs("--network", "cf-nothing", image, "true"),
    runs("-v", "/etc:relative", image, "true"),
    runs("-u", "nobody-here", image, "true"),
    runs(
      "-w",
      "/tmp",
      "-e",
      "A=1",
      "--env-file",
      join(folder, "env"),
      image,
      "sh",
      "-c",
      "pwd; echo $A $FROM_FILE",
    ),
    runs("-u", "1000:5", image, "id", "-u"),
    runs("--read-only", image, "touch", "/x"),
    runs("--tmpfs", "/t:size=1m", image, "sh", "-c", "df -k /t | tail -1"),
    runs("-h", "box", image, "hostname"),
    runs("--add-host", "db:10.0.0.1", image, "grep", "db", "/etc/hosts"),
    runs("--dns", "1.1.1.1", "--network", "none", image, "grep", "^nameserver", "/etc/resolv.conf"),
    runs("--ulimit", "nofile=100:200", image, "sh", "-c", "ulimit -n; ulimit -Hn"),
    runs("--cap-drop", "all", image, "grep", "CapEff", "/proc/self/status"),
    runs(image, "grep", "Cap", "/proc/self/status"),
    runs("--privileged", image, "sh", "-c", "grep Seccomp: /proc/self/status"),
    runs(image, "sh", "-c", "grep -E 'Seccomp:|NoNewPrivs' /proc/self/status"),
    runs("--security-opt", "no-new-privileges", image, "grep", "NoNewPrivs", "/proc/self/status"),
    runs("--sysctl", "net.ipv4.ip_forward=0", image, "cat", "/proc/sys/net/ipv4/ip_forward"),
    runs(
      image,
      "sh",
      "-c",
      "mount | grep -vE 'overlay|cgroup|/etc/|/proc/|firmware' | awk '{print $3,$5,$6}' | sort",
    ),
    runs(image, "sh", "-c", "ls -l /dev | grep -v kcore | awk '{print $1,$3,$4,$NF}' | sort"),
    runs(image, "sh", "-c", "env | sort | grep -v HOSTNAME"),
    runs("-t", image, "sh", "-c", "env | sort | grep -v HOSTNAME; tty"),
    runs("--pid", "host", image, "sh", "-c", "[ $$ -gt 1 ] && echo shared"),
    runs("--ipc", "host", "--shm-size", "1m", image, "true"),
    runs("--shm-size", "1m", image, "sh", "-c", "df -k /dev/shm | tail -1"),
    runs("--oom-score-adj", "100", image, "cat", "/proc/self/oom_score_adj"),
    runs("--group-add", "1234", image, "id", "-G"),
    { ...runs("-i", image, "cat"), input: "fed\n" },
    { ...runs("-i", image, "sh", "-c", "read a; echo $a; exit 3"), input: "x\ny\n" },
    runs("--mount", "type=bind,src=/cf-nothing,dst=/x", image, "true"),
    runs("--mount", "type=tmpfs,dst=/x,tmpfs-size=64k", image, "sh", "-c", "df -k /x | tail -1"),
    runs("-v", "cf-cli-volume:/v", image, "sh", "-c", "echo kept > /v/f"),
    runs("-v", "cf-cli-volume:/v:ro", image, "sh", "-c", "cat /v/f; touch /v/x"),
    line("volume rm cf-cli-volume"),
  ],
  containers: [
    { args: ["run", "-d", "--name", "cf-cli", ...sleeper] },
    line(
      "ps --no-trunc --filter name=cf-cli --format {{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Ports}}|{{.Mounts}}|{{.Networks}}",
    ),
    line("ps -a --filter name=cf-cli --format json", { isOwn: true }),
    line("top cf-cli -o args"),
    line("port cf-cli"),
    line("exec cf-cli echo in"),
    line("exec cf-cli cf-nothing"),
    line("exec cf-cli sh -c", {}),
    line("exec -u 1000 -w /tmp -e X=1 cf-cli env"),
    line("exec -i cf-cli cat", { input: "through\n" }),
    line("exec -d cf-cli true"),
    line("exec cf-nothing true"),
    line("pause cf-cli"),
    line("pause cf-cli"),
    line("exec cf-cli true"),
    line("unpause cf-cli"),
    line("unpause cf-cli"),
    line("rename cf-cli cf-cli2"),
    line("rename cf-cli cf-cli3"),
    line("kill -s ODD cf-cli2"),
    line("kill -s USR1 cf-cli2", { isOwn: true }),
    line("restart -t 0 cf-cli2"),
    line("rm cf-cli2"),
    line("stop -t 0 cf-cli2"),
    line("stop cf-cli2"),
    line("wait cf-cli2"),
    line("kill cf-cli2"),
    line("start cf-cli2"),
    line("attach --no-stdin cf-nothing"),
    line(
      "inspect -f {{.State.Status}}|{{.Config.Image}}|{{.HostConfig.NetworkMode}}|{{json.Mounts}} cf-cli2",
    ),
    line("inspect cf-nothing"),
    line("rm -f cf-cli2"),
    line("rm cf-cli2"),
    line("rm -f cf-cli2"),
    {
      args: [
        "create",
        "--name",
        "cf-cli4",
        ...label,
        image,
        "sh",
        "-c",
        "echo out; usleep 100000; echo err >&2; exit 2",
      ],
    },
    line("start -a cf-cli4"),
    line("logs cf-cli4"),
    line("logs -n 1 cf-cli4"),
    line("logs -f cf-cli4"),
    line("logs --since 1h cf-cli4"),
    line("logs cf-nothing"),
    line("start cf-nothing"),
    line("diff cf-nothing", { isOwn: true }),
    line("rm -v cf-cli4"),
  ],
  images: [
    line(`tag ${image} cf-cli-image:1`),
    line("images cf-cli-image --format {{.Repository}}:{{.Tag}}|{{.Size}}"),
    line("image ls --filter reference=cf-cli-image -q"),
    line("image inspect -f {{json.Config.Cmd}}|{{.Os}}|{{.Architecture}} cf-cli-image:1"),
    line("history --format {{.CreatedBy}}|{{.Size}}|{{.Comment}} cf-cli-image:1"),
    line(`save -o ${folder}/image.tar cf-cli-image:1`),
    line("rmi cf-cli-image:1"),
    line("rmi cf-cli-image:1"),
    line(`load -q -i ${folder}/image.tar`),
    line(`load -i ${folder}/image.tar`),
    line(`load -i ${folder}/env`, { isOwn: true }),
    line("image inspect cf-nothing"),
    line("tag cf-nothing x"),
    line(`tag ${image} UPPER`),
    line("rmi cf-cli-image:1"),
    line("history cf-nothing"),
    line(`save -o ${folder}/x.tar cf-nothing`),
  ],
  "volumes, networks and the system": [
    line("volume create --label cf-comparison cf-cli-v"),
    line("volume ls --filter name=cf-cli-v"),
    line("volume inspect -f {{.Name}}|{{.Driver}}|{{.Scope}}|{{json.Labels}} cf-cli-v"),
    line("volume rm cf-cli-v"),
    line("volume rm cf-cli-v"),
    line("volume rm -f cf-cli-v"),
    line("volume inspect cf-cli-v"),
    line(
      "network ls --filter name=bridge --filter driver=bridge --format {{.Name}}|{{.Driver}}|{{.Scope}}",
    ),
    line("network inspect -f {{.Name}}|{{.Driver}}|{{.EnableIPv6}} bridge"),
    line("network inspect cf-nothing"),
    line("version --format {{.Server.APIVersion}}|{{.Server.MinAPIVersion}}|{{.Server.Os}}"),
    line("info --format {{.OSType}}|{{.Architecture}}|{{.CgroupVersion}}|{{.NCPU}}"),
    line("events --since 1 --until 2"),
    line("container prune -f --filter label=cf-never"),
    line("volume prune -f --filter label=cf-never"),
  ],
};

describe("the docker CLI", () => {
  for (const [name, lines] of Object.entries(sessions)) {
    test.skipIf(pair === undefined)(
      name,
      async () => {
        if (pair === undefined) return;
        const [peer, tug] = [await record(pair.peer, lines), await record(pair.tug, lines)];
        expect(tug).toEqual(peer);
      },
      testMaxMs,
    );
  }

  test.skipIf(pair === undefined)("compose and buildx find an engine", async () => {
    if (pair === undefined) return;
    const DOCKER_CONFIG = process.env["TUG_PEER_CONFIG"] ?? "";
    if (DOCKER_CONFIG === "") {
      console.warn("skipped: docker compose; name its folder with TUG_PEER_CONFIG");
      return;
    }
    const env = { DOCKER_HOST: pair.tug.engine.host, DOCKER_CONFIG };
    for (const args of [["version"], ["ls", "-a"]]) {
      const result = await run(["docker", "compose", ...args], { env });
      expect([result.exitCode, result.stderr]).toEqual([0, ""]);
    }
  });
});

/** What the CLI says to each line; one text a line, so that a difference names its command. */
async function record(side: Side, lines: readonly Line[]): Promise<readonly unknown[]> {
  await clearTalk(side.engine);
  const said: unknown[] = [];
  try {
    for (const { args, input, isOwn } of lines) {
      const result = await run(["docker", ...args.map(withSpace)], {
        env: { DOCKER_HOST: side.engine.host, DOCKER_CONFIG: folder, DOCKER_CLI_HINTS: "false" },
        ...(input === undefined ? {} : { input }),
      });
      said.push([args.join(" "), result.exitCode, isOwn === true ? [] : texts(side, result)]);
    }
  } finally {
    await clearTalk(side.engine);
  }
  return said;
}

/** Lines are cut at spaces; templates need theirs. */
function withSpace(word: string): string {
  return word.replaceAll("{{json.", "{{json .");
}

function texts(side: Side, { stdout, stderr }: Result): readonly unknown[] {
  return [stdout, stderr].map((text) => side.normalise(runtimeWords(text)));
}

/** The OCI runtime's own words after what both engines say. */
function runtimeWords(text: string): string {
  return text.replaceAll(/(OCI runtime (?:create|exec) failed: )[^\n]*/g, "$1<words>");
}
