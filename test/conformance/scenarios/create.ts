/** Create, with each option, and inspect of what it made. */
import type { Scenario, Talk } from "../talk.ts";
import { image } from "../talk.ts";
import { versions } from "./system.ts";

type Config = Readonly<Record<string, unknown>>;

const host = (hostConfig: Config): Config => ({ HostConfig: hostConfig });

/** Bodies of create by what they try; all are accepted. */
const accepted: Readonly<Record<string, Config>> = {
  plain: {},
  command: { Cmd: ["echo", "a b", ""] },
  "command as text": { Cmd: "echo text" },
  "entrypoint as text": { Entrypoint: "echo" },
  "entrypoint and no command": { Entrypoint: ["echo", "x"] },
  "empty entrypoint": { Entrypoint: [""], Cmd: ["true"] },
  "empty lists": { Entrypoint: [], Cmd: [], Env: [], Volumes: {}, ExposedPorts: {} },
  nulls: { Entrypoint: null, Cmd: null, Env: null, HostConfig: null, NetworkingConfig: null },
  environment: { Env: ["A=1", "B=", "C", "PATH=/x"] },
  terminal: { Tty: true, OpenStdin: true, StdinOnce: true },
  attached: { AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true },
  "host name": { Hostname: "box", Domainname: "example.org" },
  user: { User: "1000:1000", WorkingDir: "/work/../etc" },
  stop: { StopSignal: "SIGINT", StopTimeout: 3 },
  "exposed ports": { ExposedPorts: { "80/tcp": {}, "53/udp": {} } },
  labels: { Labels: { a: "", "b.c": "d" } },
  volumes: { Volumes: { "/cf-anonymous": {} } },
  shell: { Shell: ["/bin/sh", "-c"], OnBuild: ["RUN x"] },
  "network disabled": { NetworkDisabled: true },
  healthcheck: { Healthcheck: { Test: ["NONE"] } },
  "published ports": host({
    PortBindings: { "80/tcp": [{ HostPort: "38080" }], "81/tcp": [{ HostIp: "127.0.0.1" }] },
  }),
  "publish all": { ExposedPorts: { "80/tcp": {} }, ...host({ PublishAllPorts: true }) },
  memory: host({ Memory: 64 << 20, MemoryReservation: 32 << 20, MemorySwap: 128 << 20 }),
  "memory alone": host({ Memory: 64 << 20 }),
  "unlimited swap": host({ Memory: 64 << 20, MemorySwap: -1 }),
  "swappiness and oom": host({ MemorySwappiness: 10, OomKillDisable: true, OomScoreAdj: 100 }),
  cpu: host({ CpuShares: 512, CpuPeriod: 100000, CpuQuota: 50000, CpusetCpus: "0-1" }),
  "nano cpus": host({ NanoCpus: 500000000, CpusetMems: "0" }),
  pids: host({ PidsLimit: 100 }),
  "pids unlimited": host({ PidsLimit: -1 }),
  "pids zero": host({ PidsLimit: 0 }),
  "block io": host({ BlkioWeight: 300 }),
  ulimits: host({ Ulimits: [{ Name: "nofile", Soft: 1024, Hard: 2048 }] }),
  devices: host({
    Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/cf", CgroupPermissions: "rwm" }],
    DeviceCgroupRules: ["c 1:3 rwm"],
  }),
  capabilities: host({ CapAdd: ["net_admin", "CAP_SYS_TIME"], CapDrop: ["all"] }),
  privileged: host({ Privileged: true }),
  "security options": host({ SecurityOpt: ["no-new-privileges", "seccomp=unconfined"] }),
  "label disabled": host({ SecurityOpt: ["label=disable"] }),
  "read only": host({ ReadonlyRootfs: true, Tmpfs: { "/run": "size=1m", "/tmp": "" } }),
  init: host({ Init: true }),
  "no init": host({ Init: false }),
  "namespaces of the host": host({ PidMode: "host", IpcMode: "host", UTSMode: "host" }),
  "private namespaces": host({ IpcMode: "private", CgroupnsMode: "private" }),
  "shareable ipc": host({ IpcMode: "shareable", ShmSize: 1 << 20 }),
  "user namespace of the host": host({ UsernsMode: "host" }),
  "host network": host({ NetworkMode: "host" }),
  "no network": host({ NetworkMode: "none" }),
  "default network": host({ NetworkMode: "default" }),
  "network bridge": host({ NetworkMode: "bridge" }),
  "mac address": { MacAddress: "02:42:ac:11:00:99" },
  dns: host({ Dns: ["1.1.1.1"], DnsSearch: ["example.org"], DnsOptions: ["ndots:2"] }),
  "extra hosts": host({ ExtraHosts: ["db:10.0.0.1", "gw:host-gateway"] }),
  sysctls: host({ Sysctls: { "net.ipv4.ip_forward": "1" } }),
  groups: host({ GroupAdd: ["tty", "1234"] }),
  "auto remove": host({ AutoRemove: true }),
  "restart policy": host({ RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 } }),
  "restart always": host({ RestartPolicy: { Name: "always" } }),
  "restart empty": host({ RestartPolicy: { Name: "" } }),
  "log options": host({ LogConfig: { Type: "json-file", Config: { "max-size": "1m" } } }),
  "no log": host({ LogConfig: { Type: "none" } }),
  bind: host({ Binds: ["/etc:/cf/etc:ro", "/tmp:/cf/tmp", "/tmp:/cf/shared:rslave"] }),
  "named volume": host({ Binds: ["cf-create-volume:/data", "cf-create-volume:/copy:nocopy,ro"] }),
  "anonymous volume": host({ Binds: ["/anon"] }),
  mounts: host({
    Mounts: [
      { Type: "bind", Source: "/etc", Target: "/m/etc", ReadOnly: true },
      { Type: "volume", Source: "cf-create-volume", Target: "/m/vol" },
      { Type: "volume", Target: "/m/anon", VolumeOptions: { Labels: { "cf-comparison": "1" } } },
      { Type: "tmpfs", Target: "/m/tmp", TmpfsOptions: { SizeBytes: 65536, Mode: 0o700 } },
      {
        Type: "bind",
        Source: "/tmp",
        Target: "/m/prop",
        BindOptions: { Propagation: "rprivate", NonRecursive: true },
      },
    ],
  }),
  "masked paths": host({ MaskedPaths: [], ReadonlyPaths: ["/proc/sys"] }),
  runtime: host({ Runtime: "runc" }),
  "cgroup parent": host({ CgroupParent: "/cf-parent" }),
  isolation: host({ Isolation: "default", ConsoleSize: [24, 80], ContainerIDFile: "/x" }),
  annotations: host({ Annotations: { "org.example": "1" } }),
  "endpoint of the bridge": {
    NetworkingConfig: { EndpointsConfig: { bridge: { MacAddress: "02:42:ac:11:00:98" } } },
  },
  "fields nobody knows": { Nothing: 1, HostConfig: { AlsoNothing: [] } },
  "field names in another case": { cmd: ["true"], hostconfig: { memory: 64 << 20 } },
};

/** Bodies of create that are refused. */
const refused: Readonly<Record<string, unknown>> = {
  "no image": { Image: "" },
  "unknown image": { Image: "cf-nothing:1" },
  "bad image name": { Image: "UPPER" },
  "image of a scheme": { Image: "http://x" },
  "command that is a number": { Cmd: 3 },
  "command of numbers": { Cmd: [3] },
  "memory as text": host({ Memory: "64m" }),
  "labels that are a list": { Labels: [] },
  "memory too small": host({ Memory: 1024 }),
  "swap below memory": host({ Memory: 64 << 20, MemorySwap: 32 << 20 }),
  "swap without memory": host({ MemorySwap: 64 << 20 }),
  "reservation above memory": host({ Memory: 64 << 20, MemoryReservation: 128 << 20 }),
  "reservation too small": host({ MemoryReservation: 100 }),
  "negative memory": host({ Memory: -5 }),
  "swappiness too large": host({ MemorySwappiness: 101 }),
  "negative shares": host({ CpuShares: -1 }),
  "period too small": host({ CpuPeriod: 10 }),
  "quota too small": host({ CpuQuota: 10 }),
  "nano cpus too many": host({ NanoCpus: 1e14 }),
  "nano cpus and quota": host({ NanoCpus: 1e9, CpuQuota: 50000 }),
  "nano cpus and period": host({ NanoCpus: 1e9, CpuPeriod: 50000 }),
  "bad cpu set": host({ CpusetCpus: "x" }),
  "cpu set that is not here": host({ CpusetCpus: "999" }),
  "bad memory nodes": host({ CpusetMems: "x" }),
  "block weight too small": host({ BlkioWeight: 5 }),
  "oom score too large": host({ OomScoreAdj: 5000 }),
  "bad capability": host({ CapAdd: ["CAP_NONSENSE"] }),
  "bad network mode": host({ NetworkMode: "container:cf-nothing" }),
  "unknown network": host({ NetworkMode: "cf-nothing" }),
  "bad pid mode": host({ PidMode: "odd" }),
  "bad ipc mode": host({ IpcMode: "odd" }),
  "bad uts mode": host({ UTSMode: "odd" }),
  "bad userns mode": host({ UsernsMode: "odd" }),
  "bad cgroup namespace": host({ CgroupnsMode: "odd" }),
  "pid mode of nothing": host({ PidMode: "container:cf-nothing" }),
  "bad restart policy": host({ RestartPolicy: { Name: "odd" } }),
  "restart and remove": host({ AutoRemove: true, RestartPolicy: { Name: "always" } }),
  "retries without failure": host({ RestartPolicy: { Name: "always", MaximumRetryCount: 3 } }),
  "negative retries": host({ RestartPolicy: { Name: "on-failure", MaximumRetryCount: -1 } }),
  "unknown log driver": host({ LogConfig: { Type: "odd" } }),
  "unknown log option": host({ LogConfig: { Type: "json-file", Config: { odd: "1" } } }),
  "bad log size": host({ LogConfig: { Type: "json-file", Config: { "max-size": "x" } } }),
  "unknown runtime": host({ Runtime: "odd" }),
  "bad isolation": host({ Isolation: "hyperv" }),
  "bad bind": host({ Binds: ["a:b:c:d"] }),
  "relative bind": host({ Binds: ["/etc:relative"] }),
  "bad bind mode": host({ Binds: ["/etc:/x:odd"] }),
  "bind to the root": host({ Binds: ["/etc:/"] }),
  "bad volume name": host({ Binds: ["a b:/x"] }),
  "two mounts at one place": host({ Binds: ["/etc:/x", "/tmp:/x"] }),
  "mount of no type": host({ Mounts: [{ Target: "/x" }] }),
  "mount without target": host({ Mounts: [{ Type: "volume" }] }),
  "bind mount of nothing": host({
    Mounts: [{ Type: "bind", Source: "/cf-nothing", Target: "/x" }],
  }),
  "bind mount without source": host({ Mounts: [{ Type: "bind", Target: "/x" }] }),
  "tmpfs with source": host({ Mounts: [{ Type: "tmpfs", Source: "/x", Target: "/x" }] }),
  "relative tmpfs": host({ Tmpfs: { x: "" } }),
  "bad port": host({ PortBindings: { "x/tcp": [{ HostPort: "1" }] } }),
  "bad host port": host({ PortBindings: { "80/tcp": [{ HostPort: "x" }] } }),
  "bad protocol": host({ PortBindings: { "80/icmp": [{ HostPort: "1" }] } }),
  "bad exposed port": { ExposedPorts: { x: {} } },
  "bad dns": host({ Dns: ["x"] }),
  "bad extra host": host({ ExtraHosts: ["x"] }),
  "bad sysctl": host({ Sysctls: { "kernel.odd": "1" } }),
  "bad security option": host({ SecurityOpt: ["odd"] }),
  "bad seccomp profile": host({ SecurityOpt: ["seccomp={"] }),
  "bad stop signal": { StopSignal: "SIGNONSENSE" },
  "bad working folder": { WorkingDir: "relative" },
  "bad mac address": { MacAddress: "x" },
  "host name on the host's network": { Hostname: "x", ...host({ NetworkMode: "host" }) },
  "ports without network": {
    ExposedPorts: { "80/tcp": {} },
    ...host({ NetworkMode: "none", PortBindings: { "80/tcp": [{ HostPort: "1" }] } }),
  },
  "links that are not there": host({ Links: ["cf-nothing:x"] }),
  "volumes from nothing": host({ VolumesFrom: ["cf-nothing"] }),
  "bad ulimit": host({ Ulimits: [{ Name: "odd", Soft: 1, Hard: 1 }] }),
  "soft above hard": host({ Ulimits: [{ Name: "nofile", Soft: 3, Hard: 1 }] }),
  "device that is not there": host({
    Devices: [{ PathOnHost: "/dev/cf-nothing", PathInContainer: "/dev/x" }],
  }),
  "bad device rule": host({ DeviceCgroupRules: ["odd"] }),
  "negative shm": host({ ShmSize: -1 }),
  "health without command": { Healthcheck: { Test: ["CMD"] } },
  "health of an odd type": { Healthcheck: { Test: ["ODD", "x"] } },
  "health interval too short": { Healthcheck: { Test: ["CMD", "x"], Interval: 10 } },
  "negative stop timeout": { StopTimeout: -5 },
  "empty environment": { Env: ["", "=x"] },
};

async function tryCreate(talk: Talk, label: string, body: unknown): Promise<void> {
  const name = `cf-create-${label.replaceAll(/[^a-z]/g, "-")}`;
  const labelled = { Image: image, ...(body as object) };
  const created = await talk.ask(`create ${label}`, `POST /containers/create?name=${name}`, {
    body: { ...labelled, Labels: { "cf-comparison": "1", ...labelsOf(body) } },
  });
  if (created.status !== 201) return;
  await talk.ask(`inspect ${label}`, `GET /containers/${name}/json`);
  await talk.api("DELETE", `/containers/${name}?force=1&v=1`);
}

function labelsOf(body: unknown): object {
  const labels: unknown = Reflect.get(body as object, "Labels");
  return typeof labels === "object" && labels !== null && !Array.isArray(labels) ? labels : {};
}

export const createScenarios: readonly Scenario[] = [
  {
    name: "create what is accepted",
    async run(talk) {
      const volume = { Name: "cf-create-volume", Labels: { "cf-comparison": "1" } };
      await talk.api("POST", "/volumes/create", volume);
      for (const [label, body] of Object.entries(accepted)) await tryCreate(talk, label, body);
    },
  },
  {
    name: "create what is refused",
    async run(talk) {
      for (const [label, body] of Object.entries(refused)) await tryCreate(talk, label, body);
    },
  },
  {
    name: "create by name, body and version",
    async run(talk) {
      const body = { Image: image, Labels: { "cf-comparison": "1" } };
      for (const name of ["a", "-x", "x/y", "x y", "/cf-slash", "x".repeat(300), "a%0Ab"]) {
        await talk.ask(`name ${name.slice(0, 20)}`, `POST /containers/create?name=${name}`, {
          body,
        });
      }
      await talk.ask("name", "POST /containers/create?name=cf-taken", { body });
      await talk.ask("name again", "POST /containers/create?name=cf-taken", { body });
      await talk.ask("no body", "POST /containers/create?name=cf-b1");
      await talk.ask("empty body", "POST /containers/create?name=cf-b1", { body: "" });
      for (const text of ["{", "[]", "null", '"x"', "{} {}", '{"Image":"x"', "{}trailing"]) {
        await talk.ask(`body ${text}`, "POST /containers/create?name=cf-b2", { body: text });
      }
      await talk.ask("plain text", "POST /containers/create?name=cf-b3", {
        body: "{}",
        headers: { "Content-Type": "text/plain" },
      });
      for (const platform of [
        "linux/amd64",
        "linux",
        "windows/amd64",
        "linux/arm64",
        "odd/x/y/z",
      ]) {
        const target = `POST /containers/create?name=cf-p-${platform.replaceAll("/", "-")}`;
        await talk.ask(platform, `${target}&platform=${platform}`, { body });
      }
      for (const version of versions) {
        const name = `cf-v${version}`;
        await talk.ask(`create at ${version}`, `POST /containers/create?name=${name}`, {
          version,
          body: { ...body, Cmd: ["true"], HostConfig: { ShmSize: 0 } },
        });
        await talk.ask(`inspect at ${version}`, `GET /containers/${name}/json`, { version });
        await talk.ask(`inspect with size at ${version}`, `GET /containers/${name}/json?size=1`, {
          version,
        });
      }
    },
  },
];
