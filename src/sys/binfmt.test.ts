import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canRunArchitecture } from "./binfmt.ts";

test("a machine runs its own programs, related ones, and those with an enabled handler", () => {
  const root = mkdtempSync("/tmp/binfmt-");
  try {
    writeFileSync(join(root, "qemu-aarch64"), "enabled\ninterpreter /usr/bin/qemu-aarch64\n");
    writeFileSync(join(root, "qemu-riscv64"), "disabled\n");
    const on = { host: "amd64", root };
    const runs = ["amd64", "386", "arm64", "riscv64", "s390x"].map((each) =>
      canRunArchitecture(each, on),
    );
    expect(runs).toEqual([true, true, true, false, false]);
    expect(canRunArchitecture("arm64", { host: "amd64", root: join(root, "none") })).toBe(false);
    expect(canRunArchitecture("arm", { host: "arm64", root })).toBe(true);
  } finally {
    rmSync(root, { recursive: true });
  }
});
