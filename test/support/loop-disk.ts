/** Small disks in a file: to be filled, or to lose their power. */
import { dlopen } from "bun:ffi";
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run, runOk } from "./process.ts";

/** _IOR('X', 125, __u32). fs/ext4/ext4.h */
const ext4Shutdown = 0x8004587d;
/** EXT4_GOING_FLAGS_NOLOGFLUSH: what is not on the disk yet never gets there. */
const noLogFlush = 2;

/** How long a disk may take to come back. */
const backMaxMs = 40_000;

/** A file system of its own on a loop device. */
export interface LoopDisk {
  /** Where it is mounted. */
  readonly path: string;
  /**
   * Ends all writing at once, as the loss of power does, and mounts what the disk has.
   *
   * @param whileOff ends who uses the disk
   */
  cutPower(whileOff: () => Promise<void>): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Why there can be no loop disk here; undefined when there can. */
export function loopDiskLack(): string | undefined {
  if (Bun.which("mkfs.ext4") === null && !existsSync("/usr/sbin/mkfs.ext4")) {
    return "mkfs.ext4 is missing (package e2fsprogs)";
  }
  return existsSync("/dev/loop-control") ? undefined : "there are no loop devices";
}

/** Makes and mounts a disk. */
export async function makeLoopDisk(sizeBytes: number): Promise<LoopDisk> {
  const folder = mkdtempSync("/tmp/tugdisk-");
  const image = join(folder, "disk");
  const path = join(folder, "m");
  mkdirSync(path);
  writeFileSync(image, "");
  truncateSync(image, sizeBytes);
  await runOk(["/usr/sbin/mkfs.ext4", "-q", "-F", "-m", "0", image]);
  const mount = async (): Promise<void> => {
    await runOk(["mount", "-o", "loop", image, path]);
  };
  await mount();
  return {
    path,
    async cutPower(whileOff) {
      shutDown(path);
      await whileOff();
      // While another mount namespace still has the disk, the same dead file system comes back. One
      // that anybody on the machine has made meanwhile counts too, as long as its processes live.
      const end = performance.now() + backMaxMs;
      while (performance.now() < end) {
        await unmountAll(path);
        await mount();
        if ((await run(["touch", join(path, "alive")])).exitCode === 0) return;
        await Bun.sleep(100);
      }
      assert.fail(`${path} did not come back: another mount namespace has it`);
    },
    async [Symbol.asyncDispose]() {
      await unmountAll(path);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function unmountAll(path: string): Promise<void> {
  // Overlays elsewhere that stand on the disk: power takes them as well.
  for (const line of readFileSync("/proc/self/mounts", "utf8").split("\n").toReversed()) {
    const [, target = "", type = "", options = ""] = line.split(" ");
    if (type === "overlay" && options.includes(path)) await run(["umount", "-l", target]);
  }
  for (let round = 0; round < 50; round += 1) {
    const result = await run(["umount", "-R", path]);
    if (result.exitCode === 0 || /not mounted/.test(result.stderr)) return;
    await Bun.sleep(100);
  }
  assert.fail(`${path} cannot be unmounted: ${(await run(["fuser", "-vm", path])).stderr}`);
}

function shutDown(path: string): void {
  const libc = dlopen("libc.so.6", { ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" } });
  const fd = openSync(path, "r");
  try {
    const flags = new Uint32Array([noLogFlush]);
    assert.equal(libc.symbols.ioctl(fd, BigInt(ext4Shutdown), flags), 0, "EXT4_IOC_SHUTDOWN");
  } finally {
    closeSync(fd);
    libc.close();
  }
}
