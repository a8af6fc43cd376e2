/**
 * A runtime's program on a read-only mount of its own.
 *
 * crun and runc keep containers from overwriting them (CVE-2019-5736): unless their own file is on a
 * read-only mount they make such a mount and execute themselves again, 2 ms a call. Made once here,
 * the mount serves every call; what it protects from is the same.
 */
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EngineError } from "../lib/errors.ts";
import { bindMount, isMountPoint, unmount } from "../sys/mount/mount.ts";

/** Programs on mounts below one folder. */
export interface SealedPrograms {
  /** Where to execute `path` instead: its mount, or `path` itself where mounting does not work. */
  seal(path: string): string;
  /** Removes the mounts; what runs from them goes on. */
  close(): void;
}

/**
 * Keeps mounts in a folder; those that an earlier daemon left are taken over.
 *
 * @param options.folder on the exec root
 * @param options.onFailure told once for each program that cannot be mounted
 */
export function openSealedPrograms(options: {
  readonly folder: string;
  readonly onFailure: (path: string, error: EngineError) => void;
}): SealedPrograms {
  const { folder, onFailure } = options;
  const sealed = new Map<string, string>();
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  return {
    seal: (path) => {
      const known = sealed.get(path);
      if (known !== undefined) return known;
      const target = join(folder, path.replaceAll("/", "-").slice(1));
      let chosen = path;
      try {
        mountReadOnly(path, target);
        chosen = target;
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        onFailure(path, error);
      }
      sealed.set(path, chosen);
      return chosen;
    },
    close: () => {
      for (const [path, target] of sealed) {
        if (target === path) continue;
        unmount(target, { detach: true });
        rmSync(target, { force: true });
      }
      sealed.clear();
    },
  };
}

function mountReadOnly(source: string, target: string): void {
  if (!existsSync(source)) throw new EngineError("not-found", `there is no program ${source}`);
  if (existsSync(target)) {
    if (isSameFile(source, target) && isMountPoint(target)) return;
    // The program was upgraded since, or there is no mount.
    unmount(target, { detach: true });
  }
  writeFileSync(target, "", { mode: 0o700 });
  bindMount({ source, target, readOnly: true });
}

function isSameFile(left: string, right: string): boolean {
  const [a, b] = [statSync(left), statSync(right)];
  return a.dev === b.dev && a.ino === b.ino;
}
