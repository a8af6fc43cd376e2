/** What a daemon and its machine hold at one moment, as numbers by name. */
import { Database } from "bun:sqlite";
import { copyFileSync, existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestDaemon } from "../../test/support/daemon.ts";
import {
  cgroupFolders,
  mountsUnder,
  processesOf,
  readdirOptional,
  readlinkOptional,
  readOptional,
} from "../../test/support/leaks.ts";
import { run } from "../../test/support/process.ts";

/** Numbers by name: `daemon.fds.socket`, `files.snapshots`, `records.images`. */
export type Reading = Readonly<Record<string, number>>;

/** Reads everything that could grow. To be asked at rest. */
export async function readGauges(daemon: TestDaemon): Promise<Reading> {
  const counts = new Map<string, number>();
  const add = (name: string, count = 1): void =>
    void counts.set(name, (counts.get(name) ?? 0) + count);
  readMemory(daemon.pid, (name, kib) => add(`daemon.${name}`, kib));
  for (const fd of fdsOf(daemon)) add(`daemon.fd.${fd}`);
  readProcesses(daemon, add);
  add("cgroups", cgroupFolders(daemon.cgroup).length);
  add("mounts", mountsUnder(daemon.folder).length);
  add("mounts.machine", lineCount("/proc/self/mountinfo"));
  add("mounts.daemon", lineCount(`/proc/${daemon.pid}/mountinfo`));
  add("netns", (await run(["lsns", "-t", "net", "-n"])).stdout.trim().split("\n").length);
  add("links", readdirOptional("/sys/class/net").length);
  add("nft.elements", await nftElementCount(daemon.bridge));
  for (const root of [daemon.dataRoot, daemon.execRoot]) readFolders(root, add);
  readRecords(daemon, add);
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

type Add = (name: string, count?: number) => void;

function readMemory(pid: number, add: Add): void {
  const status = readOptional(`/proc/${pid}/status`) ?? "";
  const number = (key: string): number =>
    Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  add("rss KiB", number("VmRSS"));
  add("anon KiB", number("RssAnon"));
  add("threads", number("Threads"));
}

/** What each descriptor is, without what tells two of a kind apart. */
function fdsOf(daemon: TestDaemon): readonly string[] {
  const folder = `/proc/${daemon.pid}/fd`;
  return readdirOptional(folder).map((name) =>
    readlinkOptional(join(folder, name))
      .replace(/:\[\d+\]$/, "")
      .replace(daemon.folder, "")
      .replace(/[\da-f]{12,}/, "*")
      .replace(/\/snapshots\/\d+/, "/snapshots/N"),
  );
}

function readProcesses(daemon: TestDaemon, add: Add): void {
  for (const { pid, command } of processesOf(daemon.folder)) {
    if (pid === daemon.pid) continue;
    const kind = / (shim|unpack|layer-diff|copy|seccomp)\b/.exec(command)?.[1];
    add(`process.${kind ?? command.split(" ")[0]}`);
    if (kind === "shim") add("fds of shims", readdirOptional(`/proc/${pid}/fd`).length);
    readMemory(pid, (name, kib) => name === "anon KiB" && add("anon of helpers KiB", kib));
  }
}

function lineCount(path: string): number {
  return readFileSync(path, "utf8").split("\n").length;
}

async function nftElementCount(bridge: string): Promise<number> {
  const listed = await run(["nft", "-j", "list", "table", "inet", `tug_${bridge}`]);
  return listed.stdout.split('"concat"').length + (listed.stdout.match(/"elem"/g)?.length ?? 0);
}

/** Counts what lies in each folder of a root, two levels deep, and its bytes. */
function readFolders(root: string, add: Add): void {
  for (const name of readdirSync(root)) {
    const path = join(root, name);
    if (!lstatSync(path).isDirectory()) {
      if (!name.startsWith("metadata.db")) add(`files.${name} bytes`, lstatSync(path).size);
      continue;
    }
    add(`entries.${name}`, readdirOptional(path).length);
    const { count, bytes } = weigh(path);
    add(`files.${name}`, count);
    add(`files.${name} bytes`, bytes);
  }
}

function weigh(folder: string): { readonly count: number; readonly bytes: number } {
  let count = 0;
  let bytes = 0;
  for (const name of readdirOptional(folder)) {
    const path = join(folder, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    const below = stat.isDirectory() ? weigh(path) : { count: 1, bytes: stat.size };
    count += below.count;
    bytes += below.bytes;
  }
  return { count, bytes };
}

/** The daemon has its database for itself: a copy is read. */
function readRecords(daemon: TestDaemon, add: Add): void {
  const copy = join(daemon.folder, "gauge.db");
  for (const end of ["", "-wal"]) {
    const path = join(daemon.dataRoot, `metadata.db${end}`);
    if (!existsSync(path)) continue;
    copyFileSync(path, `${copy}${end}`);
    add(`metadata.db${end} bytes`, lstatSync(path).size);
  }
  using database = new Database(copy);
  const rows = database.query("SELECT kind, count(*) AS count FROM records GROUP BY kind").all();
  for (const { kind, count } of rows as readonly { kind: string; count: number }[]) {
    add(`records.${kind}`, count);
  }
  add("records quarantined", database.query("SELECT * FROM quarantine").all().length);
}
