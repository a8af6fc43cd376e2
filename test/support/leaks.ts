/** What a daemon may have left behind on the machine. */
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { codeOf } from "../../src/lib/errors.ts";

const cgroupRoot = "/sys/fs/cgroup";
const removeMaxMs = 2000;
const removeRetryMs = 10;

/** A process by what it was started with. */
export interface ProcessTrace {
  readonly pid: number;
  readonly command: string;
}

/** The processes whose command line or executable names a folder. */
export function processesOf(folder: string): readonly ProcessTrace[] {
  const found: ProcessTrace[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const command = readOptional(`/proc/${name}/cmdline`)?.replaceAll("\0", " ").trim() ?? "";
    if (command.includes(`${folder}/`) && Number(name) !== process.pid) {
      found.push({ pid: Number(name), command });
    }
  }
  return found;
}

/** The mount points under a folder, the deepest first. */
export function mountsUnder(folder: string): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((target) => target.startsWith(`${folder}/`))
    .toReversed();
}

/** The host ends of containers' links on a bridge. */
export function linksOf(bridge: string): readonly string[] {
  const folder = `/sys/class/net/${bridge}/brif`;
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Folders of control groups that are named by a container's ID. */
export function containerCgroups(ids: ReadonlySet<string>): readonly string[] {
  const found: string[] = [];
  const look = (folder: string, depth: number): void => {
    for (const entry of readdirOptional(folder)) {
      const path = join(folder, entry);
      if (ids.has(entry)) found.push(path);
      else if (depth > 0) look(path, depth - 1);
    }
  };
  look(cgroupRoot, 2);
  return found;
}

/** The folders of a control group and of those below it, in every hierarchy, the deepest first. */
export function cgroupFolders(group: string): readonly string[] {
  const folders = ["", ...readdirOptional(cgroupRoot)].map((name) => join(cgroupRoot, name, group));
  return folders.filter((folder) => existsSync(folder)).flatMap(foldersBelow);
}

function foldersBelow(folder: string): readonly string[] {
  const below = readdirOptional(folder)
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true);
  return [...below.flatMap(foldersBelow), folder];
}

/** Kills what is in a control group or below it, and removes all of it. @returns what stays */
export async function removeCgroups(group: string): Promise<readonly string[]> {
  const end = performance.now() + removeMaxMs;
  for (;;) {
    const folders = cgroupFolders(group);
    if (folders.length === 0 || performance.now() > end) return folders;
    for (const folder of folders) {
      for (const pid of (readOptional(join(folder, "cgroup.procs")) ?? "").split("\n")) {
        if (Number(pid) > 0) killIfThere(Number(pid));
      }
      // The dead leave a frozen group once it is thawed.
      const freezer = join(folder, "freezer.state");
      if (existsSync(freezer)) writeFileSync(freezer, "THAWED");
      removeIfEmpty(folder);
    }
    await Bun.sleep(removeRetryMs);
  }
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!["EBUSY", "ENOENT", "ENODEV"].includes(codeOf(error) ?? "")) throw error;
  }
}

/** Kills a process unless it is gone. */
export function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

/** Entries of a folder; none when it is not there. */
export function readdirOptional(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES", "ENODEV", "ESRCH"].includes(codeOf(error) ?? "")) return [];
    throw error;
  }
}

/** What a link leads to; "" when it has gone. */
export function readlinkOptional(path: string): string {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes(codeOf(error) ?? "")) return "";
    throw error;
  }
}

/** A file that may go away at any moment; undefined when it has. */
export function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes(codeOf(error) ?? "")) return undefined;
    throw error;
  }
}
