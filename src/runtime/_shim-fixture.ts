/** A pool of real shims with a root file system of busybox, for tests that run as root. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { silentLogger } from "../lib/log.ts";
import { ensureCgroupMounts, removeUnusedCgroup } from "../sys/cgroup.ts";
import { unmount } from "../sys/mount/mount.ts";
import type { Shim, ShimPool } from "./shim.ts";
import { openShimPool } from "./shim-pool.ts";
import type { ExitStatus, StartRequest } from "./shim-protocol.ts";

const busybox = "/bin/busybox";
const applets = [
  "sh",
  "cat",
  "echo",
  "sleep",
  "head",
  "dd",
  "true",
  "stty",
  "nc",
  "yes",
  "sort",
  "nslookup",
];

/** Whether real containers can be run here. */
export const canRunContainers: boolean =
  process.getuid?.() === 0 && existsSync(busybox) && existsSync("/usr/bin/crun");

/** What has been told of one container. */
export interface Told {
  readonly ended: Promise<ExitStatus | { readonly lost: string }>;
  readonly execs: Map<string, PromiseWithResolvers<ExitStatus>>;
  oomCount: number;
}

/** What differs from a plain container. */
export interface ContainerChange {
  readonly args: readonly string[];
  readonly stdio?: Partial<StartRequest["stdio"]>;
  readonly log?: Partial<StartRequest["log"]>;
  readonly networkSysctls?: StartRequest["networkSysctls"];
  readonly memoryBytes?: number;
}

/** A folder with everything, gone when closed. */
export class ShimFixture {
  readonly root: string;
  pool: ShimPool;
  readonly #spareCount: number;
  readonly #wrap: (argv: readonly string[]) => readonly string[];
  #count = 0;

  /** @param options.wrap makes another command of the one that starts a shim */
  constructor({
    spareCount = 1,
    wrap = (argv) => argv,
  }: {
    readonly spareCount?: number;
    readonly wrap?: (argv: readonly string[]) => readonly string[];
  } = {}) {
    this.#spareCount = spareCount;
    this.#wrap = wrap;
    ensureCgroupMounts();
    this.root = mkdtempSync("/run/tug-rt-");
    mkdirSync(join(this.root, "image/bin"), { recursive: true });
    for (const name of ["proc", "dev", "sys", "etc", "tmp"])
      mkdirSync(join(this.root, "image", name));
    copyFileSync(busybox, join(this.root, "image/bin/busybox"));
    for (const name of applets) symlinkSync("busybox", join(this.root, "image/bin", name));
    this.pool = this.openPool();
  }

  openPool(): ShimPool {
    return openShimPool({
      execRoot: this.root,
      logger: silentLogger,
      spareCount: this.#spareCount,
      command: this.#wrap([process.execPath, join(import.meta.dirname, "shim", "shim-main.ts")]),
    });
  }

  request(change: ContainerChange): StartRequest {
    this.#count += 1;
    const containerId = `rt${process.pid}x${this.#count}`;
    const own = join(this.root, containerId);
    for (const name of ["upper", "work"]) mkdirSync(join(own, name), { recursive: true });
    const target = join(own, "bundle/rootfs");
    const limit = change.memoryBytes;
    const memory = limit === undefined ? {} : { memory: { limit, swap: limit } };
    return {
      op: "start",
      containerId,
      bundle: join(own, "bundle"),
      spec: {
        ociVersion: "1.0.2",
        root: { path: target },
        process: {
          terminal: change.stdio?.hasTty === true,
          user: { uid: 0, gid: 0 },
          args: change.args,
          env: ["PATH=/bin"],
          cwd: "/",
        },
        mounts: [
          { destination: "/proc", type: "proc", source: "proc" },
          { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
          {
            destination: "/dev/pts",
            type: "devpts",
            source: "devpts",
            options: ["newinstance", "ptmxmode=0666"],
          },
        ],
        linux: {
          namespaces: [{ type: "pid" }, { type: "ipc" }, { type: "uts" }, { type: "mount" }],
          cgroupsPath: `/tug-test/${containerId}`,
          resources: memory,
        },
      },
      rootfs: {
        type: "overlay",
        lowerDirs: [join(this.root, "image")],
        upperDir: join(own, "upper"),
        workDir: join(own, "work"),
        isReadOnly: false,
        target,
      },
      stdio: { hasTty: false, openStdin: false, stdinOnce: false, ...change.stdio },
      log: {
        driver: "json-file",
        path: join(own, "log.json"),
        sizeMaxBytes: 0,
        countMax: 1,
        isCompressed: false,
        ...change.log,
      },
      networkSysctls: change.networkSysctls ?? {},
      runtime: { path: "/usr/bin/crun", args: [], root: join(this.root, "crun") },
    };
  }

  async acquire(request: StartRequest): Promise<{ readonly shim: Shim; readonly told: Told }> {
    const shim = await this.pool.acquire(request.containerId);
    return { shim, told: listenTo(shim) };
  }

  async close(): Promise<void> {
    await this.pool[Symbol.asyncDispose]();
    for (let index = 1; index <= this.#count; index += 1) {
      const target = join(this.root, `rt${process.pid}x${index}`, "bundle/rootfs");
      while (unmount(target, { detach: true }));
    }
    removeUnusedCgroup("/tug-test");
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Collects what a shim tells. */
export function listenTo(shim: Shim): Told {
  const end = Promise.withResolvers<ExitStatus | { readonly lost: string }>();
  const execs = new Map<string, PromiseWithResolvers<ExitStatus>>();
  const told: Told = { ended: end.promise, execs, oomCount: 0 };
  shim.listen({
    exited: (status) => end.resolve(status),
    lost: (lost) => end.resolve({ lost }),
    oomKilled: () => {
      told.oomCount += 1;
    },
    execExited: (execId, status) => execs.get(execId)?.resolve(status),
  });
  return told;
}
