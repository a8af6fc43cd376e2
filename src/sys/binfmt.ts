/**
 * Programs for other architectures: the kernel runs them when a handler for them is registered.
 *
 * @see Linux, Documentation/admin-guide/binfmt-misc.rst
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../lib/errors.ts";

const handlersRoot = "/proc/sys/fs/binfmt_misc";

/** QEMU's names of architectures, where Go's differ. */
const qemuNames: Readonly<Record<string, string>> = {
  "386": "i386",
  amd64: "x86_64",
  arm64: "aarch64",
  loong64: "loongarch64",
  mips64le: "mips64el",
  mipsle: "mipsel",
};

/** What a machine of one architecture runs without help. */
const related: Readonly<Record<string, string>> = { amd64: "386", arm64: "arm" };

/** Tells whether programs of an architecture, as Go names it, may run on a machine of another. */
export function canRunArchitecture(
  architecture: string,
  on: { readonly host: string; readonly root?: string },
): boolean {
  const { host, root = handlersRoot } = on;
  if (architecture === host || related[host] === architecture) return true;
  try {
    const handler = join(root, `qemu-${qemuNames[architecture] ?? architecture}`);
    return readFileSync(handler, "utf8").startsWith("enabled");
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EACCES"].includes(codeOf(error) ?? "")) return false;
    throw error;
  }
}
