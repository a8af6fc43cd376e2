/**
 * Namespaces of this thread.
 *
 * Only for shims and re-exec'd helpers: threads of the runtime that are born meanwhile stay in the
 * namespace and pin it. `inNamespace` with work that only makes a socket is the one exception.
 */
import { closeSync } from "node:fs";
import { assert } from "../lib/assert.ts";
import { check, cstring, lazyLibc, openFlags } from "./libc.ts";

const libc = lazyLibc({
  unshare: { args: ["i32"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
});

/** Names under /proc/pid/ns → flags of linux/sched.h. */
const namespaceFlags = {
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  net: 0x40000000,
  mnt: 0x00020000,
} as const;

/** A kind of namespace, by its name under /proc/pid/ns. */
export type NamespaceKind = keyof typeof namespaceFlags;

/** Moves this thread into a new network namespace with nothing but a loopback link that is down. */
export function unshareNetwork(): void {
  check(libc().unshare(namespaceFlags.net), "unshare network");
}

/** Opens a namespace by path (`/proc/1/ns/net`, a bind mount of one); the caller closes it. */
export function openNamespace(path: string): number {
  const flags = openFlags.readOnly | openFlags.closeOnExec;
  return check(libc().open(cstring(path), flags, 0), `open namespace ${JSON.stringify(path)}`);
}

/** Moves this thread into a namespace for good. The kernel refuses one of another kind. */
export function enterNamespace(fd: number, kind: NamespaceKind): void {
  check(libc().setns(fd, namespaceFlags[kind]), `enter ${kind} namespace`);
}

/** Runs synchronous `work` in a namespace and returns to the own one, also when it throws. */
export function inNamespace<T>(fd: number, kind: NamespaceKind, work: () => T): T {
  const own = openNamespace(`/proc/thread-self/ns/${kind}`);
  try {
    enterNamespace(fd, kind);
    try {
      return work();
    } finally {
      // Going on in a foreign namespace would do all later work in the wrong place.
      assert(libc().setns(own, namespaceFlags[kind]) === 0, `return to own ${kind} namespace`);
    }
  } finally {
    closeSync(own);
  }
}
