/**
 * `tug run` and `docker run` are given the same flags before a server that writes down the request:
 * both must ask for the same container, and refuse the same flags with the same sentence.
 *
 * Needs the docker CLI of 28 or newer; without it the comparison is skipped, visibly.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const docker = Bun.which("docker");
const major =
  docker === null ? 0 : Number(/version (\d+)\./.exec(await textOf([docker, "-v"]))?.[1] ?? 0);
const folder = mkdtempSync(join(tmpdir(), "tug-cli-create-"));
const clients = ["docker", "tug"] as const;
type Client = (typeof clients)[number];
const requests = new Map<Client, string>();
const servers: Server[] = [];

writeFileSync(
  join(folder, "vars"),
  "# comment\nA=1\n  B=two words\nHOME\nNOT_SET_ANYWHERE\n\nC=\n",
);
writeFileSync(join(folder, "bad-vars"), "A B=1\n");
writeFileSync(join(folder, "labels"), "a=b\nbare\n");
writeFileSync(
  join(folder, "seccomp.json"),
  '{ "defaultAction": "SCMP_ACT_ALLOW",\n "x": [1, 2] }\n',
);
writeFileSync(join(folder, "cid"), "taken");

beforeAll(async () => {
  await Promise.all(clients.map(startRecorder));
});

afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true, force: true });
});

function startRecorder(client: Client): Promise<void> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (chunk: Buffer) => parts.push(chunk));
    request.on("end", () => {
      const path = (request.url ?? "").replace(/^\/v[\d.]+/, "");
      response.setHeader("Api-Version", "1.51");
      response.setHeader("Ostype", "linux");
      response.setHeader("Content-Type", "application/json");
      if (path.startsWith("/containers/create")) {
        requests.set(client, `${path} ${Buffer.concat(parts).toString()}`);
        response.statusCode = 500;
        response.end('{"message":"recorded"}');
      } else response.end(path === "/_ping" ? "OK" : '{"OSType":"linux"}');
    });
  });
  servers.push(server);
  return new Promise((resolve) => server.listen(join(folder, `${client}.sock`), resolve));
}

/** Flag sets that are sent. Words are split at spaces, `%20` is one; `~` is the test's folder. */
const accepted: readonly string[] = [
  "busybox",
  "-d -it --name x -e A=1 -p 8080:80 -v /a:/b:ro --network-alias y --network foo busybox sh -c echo",
  "-a stdout -a STDIN -i busybox",
  "--rm -i busybox cat",
  "-e HOME -e NOT_SET_ANYWHERE -e X= --env-file ~/vars busybox",
  "-l a -l b=c=d --label-file ~/labels busybox",
  "-p 127.0.0.1::80 -p 5000-5001:6000-6001/udp -p [::1]:9000:9000 -p 8000-8010:80 busybox",
  "-p 80 -p 80-82 -P --expose 90-92 --expose 53/udp busybox",
  "-p target=80,published=8080,protocol=udp busybox",
  "-v ./x:/y -v vol:/z:nocopy -v /anon -v /a:relative busybox",
  "--mount type=bind,src=/a,dst=/b,ro,bind-propagation=rshared,bind-nonrecursive busybox",
  "--mount type=bind,src=/a,dst=/b,readonly,bind-recursive=writable --mount type=bind,source=/q,destination=/r,bind-recursive=disabled busybox",
  "--mount type=volume,src=v,dst=/v,volume-nocopy,volume-label=a=b,volume-driver=d,volume-opt=x=y,volume-subpath=p busybox",
  "--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 --mount dst=/plain busybox",
  "--mount type=image,src=i,dst=/i,image-subpath=s --mount type=bind,src=./rel,target=/c,consistency=cached busybox",
  '--mount type=volume,src=v,dst=/v,"volume-opt=o=a,b" busybox',
  "--tmpfs /x --tmpfs /y:size=1m,mode=700 --read-only busybox",
  "--network host busybox",
  "--network none busybox",
  "--network container:abc busybox",
  "--net bridge busybox",
  "--network bridge --mac-address 02:42:ac:11:00:02 busybox",
  "--mac-address 02:42:ac:11:00:02 busybox",
  "--network name=foo,alias=a,alias=b,ip=1.2.3.4,driver-opt=a=b,mac-address=02:42:ac:11:00:02,gw-priority=3 --network bar busybox",
  "--network foo --ip 1.2.3.4 --ip6 fd00::3 --link-local-ip 169.254.1.1 --mac-address 02:42:ac:11:00:02 --link a:b busybox",
  "--link a --link c:d busybox",
  "--dns 1.1.1.1 --dns-search . --dns-search x.example --dns-option ndots:2 --dns-opt rotate busybox",
  "--add-host a:1.2.3.4 --add-host b=::1 --add-host h:host-gateway --add-host c:[::2] busybox",
  "--hostname hh --domainname dd --user 1:2 --workdir /w --group-add 5 --stop-signal INT --stop-timeout 0 busybox",
  "--entrypoint /bin/x busybox -a --rm",
  "--entrypoint= busybox",
  "--cap-add net_admin --cap-add CAP_SYS_TIME --cap-drop ALL --privileged busybox",
  "--security-opt no-new-privileges --security-opt seccomp=~/seccomp.json --security-opt label=disable busybox",
  "--security-opt systempaths=unconfined --security-opt apparmor=unconfined busybox",
  "--userns host --uts host --pid host --ipc host --cgroupns private busybox",
  "--pid container:x --ipc container:y busybox",
  "--device /dev/null --device /dev/a:/dev/b:r --device /dev/c:rw --device vendor.com/class=one busybox",
  "--device-cgroup-rule a%20*:*%20rwm busybox",
  "--device-read-bps /dev/a:1mb --device-write-bps /dev/a:2kb --device-read-iops /dev/a:3 --device-write-iops /dev/a:4 busybox",
  "--blkio-weight 300 --blkio-weight-device /dev/a:30 busybox",
  "-m 64m --memory-swap -1 --memory-reservation 32m --memory-swappiness 3 --oom-kill-disable --oom-score-adj 5 busybox",
  "--memory-swap 1g --memory 512MiB --shm-size 1m busybox",
  "--cpus 1.5 -c 5 --cpuset-cpus 0-1 --cpuset-mems 0 --cpu-period 1000 --cpu-quota 500 --cpu-rt-period 7 --cpu-rt-runtime 8 busybox",
  "--pids-limit -1 --ulimit nofile=1:2 --ulimit core=0 --ulimit nproc=-1 busybox",
  "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=5 --annotation a=b --annotation c busybox",
  "--restart on-failure:3 busybox",
  "--restart unless-stopped busybox",
  "--log-driver local --log-opt a=b --log-opt c busybox",
  "--health-cmd x --health-interval 1s --health-timeout 1m30s --health-retries 3 --health-start-period 5s --health-start-interval 6s busybox",
  "--no-healthcheck --init busybox",
  "--init=false busybox",
  "--gpus all busybox",
  "--gpus 2 busybox",
  "--gpus device=1,driver=x busybox",
  "--storage-opt size=1 --volumes-from x --volumes-from y:ro --volume-driver d --runtime r --cgroup-parent p busybox",
  "--cidfile ~/new-cid --platform linux/amd64 --isolation x busybox",
  "-itd busybox",
  "-dp8080:80 busybox",
  "-- busybox -x",
  "registry.example:5000/a/b:tag@sha256:0123456789012345678901234567890123456789012345678901234567890123 x",
];

/** Flag sets that are refused before anything is sent. */
const refused: readonly string[] = [
  "--mount type=bind busybox",
  "--mount foo busybox",
  "--mount foo=bar busybox",
  "--mount type=bind,dst=/x,tmpfs-size=1 busybox",
  "--mount type=bind,src=/a,dst=/b,bind-recursive=readonly busybox",
  "--mount type=bind,src=/a,dst=/b,ro,bind-recursive=readonly busybox",
  "--mount type=bind,src=/a,dst=/b,bind-recursive=foo busybox",
  "--mount type=volume,dst=/x,readonly=foo busybox",
  "--mount type=tmpfs,dst=/x,tmpfs-mode=9 busybox",
  "--mount type=tmpfs,dst=/x,tmpfs-size=q busybox",
  "--mount type=volume,volume-nocopy=x,dst=/a busybox",
  "-v :/x busybox",
  "-p foo busybox",
  "-p 80:foo busybox",
  "-p 1-2:80-82 busybox",
  "-p 1:2:3:4 busybox",
  "-p 127.0.0.1:80:80/foo busybox",
  "-p 99999:80 busybox",
  "--expose foo busybox",
  "--expose 90-80 busybox",
  "-a foo busybox",
  "-a stdin -d busybox",
  "--pid foo busybox",
  "--uts x busybox",
  "--userns x busybox",
  "--cgroupns x busybox",
  "--restart foo:x busybox",
  "--restart :3 busybox",
  "--restart always --rm busybox",
  "--log-driver none --log-opt a=b busybox",
  "--security-opt foo busybox",
  "--security-opt seccomp=/nope busybox",
  "--storage-opt x busybox",
  "--health-interval -1s busybox",
  "--health-timeout 5 busybox",
  "--no-healthcheck --health-cmd x busybox",
  "--health-retries -1 busybox",
  "--env-file /nope busybox",
  "--env-file ~/bad-vars busybox",
  "--label-file /nope busybox",
  "-e =x busybox",
  "-l =x busybox",
  "--add-host foo busybox",
  "--add-host a:b busybox",
  "--dns foo busybox",
  "--device-cgroup-rule foo busybox",
  "--device-read-bps foo busybox",
  "--device-read-bps /dev/a:x busybox",
  "--device-write-bps /dev/a:-1 busybox",
  "--device-read-iops /dev/a:x busybox",
  "--blkio-weight-device foo busybox",
  "--blkio-weight-device /dev/a:3 busybox",
  "--ulimit foo busybox",
  "--ulimit nofile=2:1 busybox",
  "--ulimit foo=1 busybox",
  "--ulimit nofile=a busybox",
  "--cpus x busybox",
  "--cpus 1.1234567891 busybox",
  "-m 1x busybox",
  "--memory x busybox",
  "--memory-swappiness 200 busybox",
  "--mac-address foo busybox",
  "--gpus foo busybox",
  "--network a --network a busybox",
  "--network host --network-alias x busybox",
  "--pull foo busybox",
  "--stop-timeout x busybox",
  "--sysctl x busybox",
  "--cidfile ~/cid busybox",
  "--init=foo busybox",
  "-v",
  "--foo busybox",
  "-X busybox",
  "--name",
  "Busybox",
  "busy:box:x",
];

describe.skipIf(major < 28)("docker run and tug run", () => {
  test.each(accepted)("ask for the same container: %s", async (line) => {
    const [theirs, ours] = await Promise.all([record("docker", line), record("tug", line)]);
    expect(theirs.request).not.toBe("");
    expect(normalise(ours.request)).toEqual(normalise(theirs.request));
  });

  test.each(refused)("refuse in the same words: %s", async (line) => {
    const [theirs, ours] = await Promise.all([record("docker", line), record("tug", line)]);
    expect(theirs.request).toBe("");
    expect(ours.request).toBe("");
    expect(sentence(ours.text)).toBe(sentence(theirs.text));
    expect(ours.exitCode).toBe(theirs.exitCode);
  });
});

interface Recorded {
  readonly request: string;
  readonly text: string;
  readonly exitCode: number;
}

async function record(client: Client, line: string): Promise<Recorded> {
  const words = line
    .split(" ")
    .map((word) => word.replaceAll("~/", `${folder}/`).replaceAll("%20", " "));
  const program = client === "docker" ? [docker ?? "docker"] : [process.execPath, "src/main.ts"];
  requests.delete(client);
  const child = Bun.spawn(
    [...program, "-H", `unix://${join(folder, `${client}.sock`)}`, "run", ...words],
    {
      env: { ...process.env, DOCKER_CONFIG: folder, DOCKER_HOST: "" },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { request: requests.get(client) ?? "", text: out + err, exitCode };
}

/** Docker: the order of these is that of a map, another each time, seen in 28.2. */
const orderless: ReadonlySet<string> = new Set(["Binds", "Env"]);

/** A request as values, so that the order of members does not matter; nor does that of binds. */
function normalise(request: string): unknown {
  const space = request.indexOf(" ");
  const sorted = (key: string, value: unknown): unknown =>
    orderless.has(key) && Array.isArray(value)
      ? value.map(String).toSorted((one, other) => (one < other ? -1 : 1))
      : value;
  return [request.slice(0, space), JSON.parse(request.slice(space + 1), sorted) as unknown];
}

/** The first line, without the program's name. */
function sentence(text: string): string {
  return (text.split("\n")[0] ?? "")
    .replace(/^(docker|tug): /, "")
    .replaceAll("docker run", "tug run");
}

async function textOf(argv: readonly string[]): Promise<string> {
  return new Response(Bun.spawn([...argv], { stdout: "pipe", stderr: "ignore" }).stdout).text();
}
