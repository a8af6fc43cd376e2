/** A daemon for tests: roots, socket, bridge and packet filter table of its own. */
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { tugExecutable } from "./clients.ts";
import { type Engine, openEngine } from "./engine.ts";
import { request } from "./http.ts";
import { at, listAt, textAt } from "./json.ts";
import {
  cgroupFolders,
  containerCgroups,
  killIfThere,
  linksOf,
  mountsUnder,
  type ProcessTrace,
  processesOf,
  readdirOptional,
  readlinkOptional,
  readOptional,
  removeCgroups,
} from "./leaks.ts";
import { run, until } from "./process.ts";

/** How a daemon is started. */
export interface DaemonOptions {
  /** Further flags. */
  readonly flags?: readonly string[];
  /** Content of its daemon.json; empty when absent. */
  readonly config?: Readonly<Record<string, unknown>> | string;
  /** Where its data is; in its folder when absent. */
  readonly dataRoot?: string;
  /** Environment added to that of the test. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A daemon that belongs to a test. Use `await using`, or dispose it: it takes everything along. */
export interface TestDaemon {
  readonly engine: Engine;
  readonly folder: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly bridge: string;
  /** The control group above those of its containers. */
  readonly cgroup: string;
  readonly pidFile: string;
  readonly configPath: string;
  readonly pid: number;
  /** Ends it at once; containers and shims stay. */
  kill9(): Promise<void>;
  /** Starts it again after `kill9` or `stop`, on the same roots. */
  restart(options?: Pick<DaemonOptions, "flags">): Promise<void>;
  /** Asks it to stop. @returns its exit code */
  stop(): Promise<number>;
  signal(signal: NodeJS.Signals): void;
  /** All that it has written to its log. */
  log(): string;
  /**
   * What is there and belongs to no container that it lists: processes, mounts, links, control
   * groups, folders. To be asked when all containers are removed; waits for what is just going.
   */
  leaks(): Promise<readonly string[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

let daemonCount = 0;
const readyMaxMs = 20_000;
const stopMaxMs = 30_000;
const leakMaxMs = 10_000;

/** Where one daemon lives. */
interface Place {
  readonly folder: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly socketPath: string;
  readonly pidFile: string;
  readonly configPath: string;
  readonly logPath: string;
  readonly bridge: string;
  /** The address of the bridge, unless the test has one of its own. */
  readonly bip: string | undefined;
}

/** The argv of a daemon for tests, and where it lives. */
function planDaemon(options: DaemonOptions): Place {
  daemonCount += 1;
  const folder = mkdtempSync("/tmp/tugt-");
  const config = options.config ?? {};
  const configPath = join(folder, "daemon.json");
  writeFileSync(configPath, typeof config === "string" ? config : JSON.stringify(config));
  mkdirSync(join(folder, "client"));
  return {
    folder,
    dataRoot: options.dataRoot ?? join(folder, "data"),
    execRoot: join(folder, "run"),
    socketPath: join(folder, "tug.sock"),
    pidFile: join(folder, "tug.pid"),
    configPath,
    logPath: join(folder, "daemon.log"),
    bridge: `tugt${process.pid}x${daemonCount}`.slice(0, 15),
    bip: hasOwnAddress(options) ? undefined : ownAddress(daemonCount),
  };
}

function cgroupOf(place: Place): string {
  return `tug-${place.bridge}`;
}

function hasOwnAddress({ config = {}, flags = [] }: DaemonOptions): boolean {
  const isSaid = typeof config === "string" || "bip" in config;
  return isSaid || flags.some((flag) => flag.startsWith("--bip"));
}

/** Daemons of tests that run at once would choose the same block: each sees it free. */
function ownAddress(count: number): string {
  return `10.${64 + (process.pid % 128)}.${count % 256}.1/24`;
}

/** The argv that runs a daemon in a place. */
function daemonArgv(place: Place, flags: readonly string[]): readonly string[] {
  return [
    tugExecutable(),
    "daemon",
    ...["-H", `unix://${place.socketPath}`],
    ...["--data-root", place.dataRoot],
    ...["--exec-root", place.execRoot],
    ...["--pidfile", place.pidFile],
    ...["--config-file", place.configPath],
    ...["--bridge", place.bridge],
    ...(place.bip === undefined ? [] : ["--bip", place.bip]),
    ...flags,
  ];
}

/** Starts a daemon and waits until it answers. */
export async function startDaemon(options: DaemonOptions = {}): Promise<TestDaemon> {
  const place = planDaemon(options);
  const ids = new Set<string>();
  let child = await spawnDaemon(place, options);
  const engine = openEngine(place.socketPath, place.folder);
  const daemon: TestDaemon = {
    engine,
    folder: place.folder,
    dataRoot: place.dataRoot,
    execRoot: place.execRoot,
    bridge: place.bridge,
    cgroup: cgroupOf(place),
    pidFile: place.pidFile,
    configPath: place.configPath,
    get pid() {
      return child.pid;
    },
    async kill9() {
      child.kill("SIGKILL");
      await child.exited;
    },
    async restart(next = {}) {
      child = await spawnDaemon(place, { ...options, ...next });
    },
    async stop() {
      child.kill("SIGTERM");
      const late = Bun.sleep(stopMaxMs).then(() => undefined);
      const code = await Promise.race([child.exited, late]);
      return code ?? assert.fail(`the daemon did not stop in ${stopMaxMs} ms:\n${daemon.log()}`);
    },
    signal: (signal) => child.kill(signal),
    log: () => readFileSync(place.logPath, "utf8"),
    async leaks() {
      for (const name of readdirOptional(join(place.dataRoot, "containers"))) ids.add(name);
      let found = await findLeaks(place, { ids, daemonPid: child.pid });
      const end = performance.now() + leakMaxMs;
      while (found.length > 0 && performance.now() < end) {
        await Bun.sleep(100);
        found = await findLeaks(place, { ids, daemonPid: child.pid });
      }
      return found;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
      await clear(place);
    },
  };
  return daemon;
}

async function spawnDaemon(place: Place, options: DaemonOptions): Promise<Bun.Subprocess> {
  const log = openSync(place.logPath, "a");
  const child = Bun.spawn([...daemonArgv(place, options.flags ?? [])], {
    stdin: "ignore",
    stdout: log,
    stderr: log,
    env: { ...process.env, ...options.env },
  });
  closeSync(log);
  const onExit = (): void => child.kill("SIGKILL");
  process.once("exit", onExit);
  void child.exited.then(() => process.off("exit", onExit));
  await until(
    async () => {
      if (child.exitCode !== null) {
        assert.fail(`the daemon ended with ${child.exitCode}:\n${logOf(place)}`);
      }
      return await answers(place.socketPath);
    },
    () => `the daemon to answer:\n${logOf(place)}`,
    readyMaxMs,
  );
  return child;
}

function logOf(place: Place): string {
  return existsSync(place.logPath) ? readFileSync(place.logPath, "utf8") : "";
}

async function answers(socketPath: string): Promise<boolean> {
  try {
    return (await request(socketPath, { method: "GET", path: "/_ping" })).status === 200;
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  }
}

/** Runs a daemon that is expected to refuse: ends by itself. */
export async function runDaemonToEnd(
  options: DaemonOptions = {},
): Promise<{ readonly exitCode: number; readonly output: string }> {
  const place = planDaemon(options);
  const result = await run(daemonArgv(place, options.flags ?? []), {
    timeoutMs: readyMaxMs,
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  await clear(place);
  return { exitCode: result.exitCode, output: `${result.stdout}${result.stderr}` };
}

/** What is there besides what the daemon lists. */
async function findLeaks(
  place: Place,
  known: { readonly ids: ReadonlySet<string>; readonly daemonPid: number },
): Promise<readonly string[]> {
  const list = await request(place.socketPath, {
    method: "GET",
    path: "/v1.51/containers/json?all=1",
  });
  const listed = new Set(listAt(list.json).map((item) => textAt(item, "Id")));
  const gone = new Set([...known.ids].filter((id) => !listed.has(id)));
  const processes = processesOf(place.folder).filter(({ pid }) => pid !== known.daemonPid);
  const others = processes.filter(({ command }) => !/ (shim|unpack) |nft/.test(command));
  const folders = readdirOptional(join(place.dataRoot, "containers"));
  return [
    ...others.map(({ pid, command }) => `process ${pid}: ${command}`),
    ...processes.filter((each) => isLeakedShim(each, listed)).map(({ pid }) => `shim ${pid}`),
    ...(listed.size === 0 ? mountsUnder(place.folder).filter(isContainerMount) : []),
    ...(listed.size === 0 ? linksOf(place.bridge).map((name) => `link ${name}`) : []),
    ...containerCgroups(gone).map((path) => `cgroup ${path}`),
    ...leakedCgroups(place, listed).map((path) => `cgroup ${path}`),
    ...folders.filter((name) => !listed.has(name)).map((name) => `folder containers/${name}`),
  ];
}

/** Groups of steps, and of containers that it has never told of; its own stays while it runs. */
function leakedCgroups(place: Place, listed: ReadonlySet<string>): readonly string[] {
  const marker = `/${cgroupOf(place)}/`;
  return cgroupFolders(cgroupOf(place)).filter((path) => {
    const [, below] = path.split(marker);
    return below !== undefined && !listed.has(below.split("/")[0] ?? "");
  });
}

/** A shim that waits for its first container is a spare; one whose container is gone is left over. */
function isLeakedShim({ pid, command }: ProcessTrace, listed: ReadonlySet<string>): boolean {
  if (!/ shim \S+$/.test(command)) return false;
  // Its log is where it is at home now: it may have moved since it was started.
  const folder = dirname(readlinkOptional(`/proc/${pid}/fd/2`));
  if (!existsSync(folder)) return true;
  const record = join(folder, "shim.json");
  if (!existsSync(record)) return false;
  const containerId = at(JSON.parse(readFileSync(record, "utf8")), "containerId");
  return typeof containerId === "string" && containerId !== "" && !listed.has(containerId);
}

/** Spare shims hold mounts of namespaces, the daemon of runtimes; a file system is a container's. */
function isContainerMount(target: string): boolean {
  return !/\/(ns|netns|net|programs)\b/.test(target);
}

/** Takes away all that a daemon and its containers may have left. */
async function clear(place: Place): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    const processes = processesOf(place.folder);
    for (const { pid } of processes) killTree(pid);
    if (processes.length === 0) break;
    await Bun.sleep(50);
  }
  for (const target of mountsUnder(place.folder)) await run(["umount", "-l", target]);
  if (existsSync(`/sys/class/net/${place.bridge}`)) {
    await run(["ip", "link", "del", place.bridge]);
  }
  await run(["nft", "delete", "table", "inet", `tug_${place.bridge}`]);
  const ids = new Set(await readdirIfThere(join(place.dataRoot, "containers")));
  for (const cgroup of containerCgroups(ids).toReversed()) await run(["rmdir", cgroup]);
  const left = await removeCgroups(cgroupOf(place));
  await rm(place.folder, { recursive: true, force: true });
  assert.deepEqual(left, [], "control groups that cannot be removed");
}

async function readdirIfThere(folder: string): Promise<readonly string[]> {
  return existsSync(folder) ? await readdir(folder) : [];
}

/** Kills a process and its children, which are containers when it is a shim. */
function killTree(pid: number): void {
  const children = readdirOptional(`/proc/${pid}/task`).flatMap((task) => {
    const path = `/proc/${pid}/task/${task}/children`;
    return (readOptional(path) ?? "").trim().split(" ").filter(Boolean);
  });
  for (const target of [pid, ...children.map(Number)]) killIfThere(target);
}
