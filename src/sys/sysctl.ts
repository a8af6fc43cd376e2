/** Kernel parameters under /proc/sys, of the namespaces of this process. */
import { readFileSync, writeFileSync } from "node:fs";
import { EngineError } from "../lib/errors.ts";
import { translated } from "./libc.ts";

/** Sets a parameter by its path (`net/ipv4/ip_forward`). */
export function setSysctl(path: string, value: string | number): void {
  const file = sysctlFile(path);
  translated(`set ${path}`, () => writeFileSync(file, String(value), { flag: "r+" }));
}

/** The value of a parameter without the line end. */
export function readSysctl(path: string): string {
  const file = sysctlFile(path);
  return translated(`read ${path}`, () => readFileSync(file, "utf8").trimEnd());
}

function sysctlFile(path: string): string {
  const parts = path.split("/");
  // Interface names are parts too: they may have dots, colons and more, never a slash.
  const isWhole = parts.every(
    (part) => /^[\w.:@+%~-]+$/.test(part) && part !== "." && part !== "..",
  );
  if (isWhole) return `/proc/sys/${path}`;
  throw new EngineError("invalid-argument", `sysctl ${JSON.stringify(path)}: not a parameter path`);
}
