/** Sets up the network sandbox and the root file system of a container, from inside the shim. */
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { codeOf, EngineError } from "../../lib/errors.ts";
import { openRoot } from "../../sys/fs/fs.ts";
import { bindMount, mountOverlay, unmount } from "../../sys/mount/mount.ts";
import { Netlink } from "../../sys/net/netlink.ts";
import { setSysctl } from "../../sys/sysctl.ts";
import type { InterfacePlan, SandboxPlan, SnapshotMountPlan } from "./sandbox-plan.ts";

/** Has the loopback link of the sandbox work. */
export function setLoopbackUp(): void {
  using netlink = new Netlink();
  const loopback = netlink.linkByName("lo");
  if (loopback !== undefined) netlink.setUp(loopback.index);
}

/** Gives the interfaces their addresses and routes. */
export function configureSandbox(plan: SandboxPlan): void {
  setNetworkSysctls(plan.sysctls);
  if (plan.interfaces.length === 0) return;
  using netlink = new Netlink();
  for (const each of plan.interfaces) configureInterface(netlink, each);
}

/** Sets parameters of this network namespace; `.` and `/` change places as in sysctl(8). */
export function setNetworkSysctls(sysctls: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(sysctls)) setNetworkSysctl(name, value);
}

function setNetworkSysctl(name: string, value: string): void {
  const path = name.includes("/")
    ? name
    : name.replace(/[./]/g, (sign) => (sign === "." ? "/" : "."));
  if (!path.startsWith("net/")) {
    throw new EngineError("invalid-argument", `sysctl ${JSON.stringify(name)}: not of the network`);
  }
  setSysctl(path, value);
}

function configureInterface(netlink: Netlink, plan: InterfacePlan): void {
  const link = netlink.linkByName(plan.name);
  if (link === undefined) {
    throw new EngineError("internal", `configure ${JSON.stringify(plan.name)}: no such interface`);
  }
  for (const address of plan.addresses) netlink.addAddress(link.index, address);
  netlink.setUp(link.index);
  for (const gateway of [plan.gateway, plan.gateway6]) {
    if (gateway !== undefined) netlink.addRoute({ gateway, index: link.index });
  }
}

/** Mounts the root file system at its place; the folder is made. */
export function mountRootfs(plan: SnapshotMountPlan): void {
  if (!existsSync(plan.target)) mkdirSync(plan.target, { recursive: true, mode: 0o711 });
  if (plan.type === "overlay") {
    const { lowerDirs = [], upperDir, workDir, target } = plan;
    if (plan.isReadOnly || upperDir === undefined) {
      mountOverlay({
        lowerDirs: upperDir === undefined ? lowerDirs : [upperDir, ...lowerDirs],
        target,
      });
    } else {
      mountOverlay({ lowerDirs, upperDir, ...(workDir === undefined ? {} : { workDir }), target });
    }
    return;
  }
  if (plan.source === undefined) {
    throw new EngineError("invalid-argument", "mount root file system: bind without a source");
  }
  bindMount({
    source: plan.source,
    target: plan.target,
    readOnly: plan.isReadOnly,
    recursive: true,
  });
}

/**
 * Unmounts the root file system, however busy it is, and removes its empty folder.
 *
 * The end of an overlay syncs the whole file system below it, which others may have filled with
 * work. A descriptor puts that off to when nobody waits for it.
 *
 * @param options.keepsOpen true: the last reference is this process's
 * @returns that reference; to be closed before the process goes on to other work
 */
export function unmountRootfs(
  target: string,
  options: { readonly keepsOpen: boolean },
): number | undefined {
  const kept = options.keepsOpen && existsSync(target) ? openRoot(target) : undefined;
  while (unmount(target, { detach: true }));
  try {
    rmdirSync(target);
  } catch (error) {
    // A folder with something in it is not of our making.
    if (!["ENOENT", "ENOTEMPTY", "EEXIST", "EBUSY"].includes(codeOf(error) ?? "")) throw error;
  }
  return kept;
}
