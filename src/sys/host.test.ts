import { expect, test } from "bun:test";
import { hostInfo, parseOsRelease } from "./host.ts";
import { run } from "./process/process.ts";

test("hostInfo() agrees with uname", async () => {
  const { stdout } = await run({ argv: ["uname", "-nrm"] });
  const info = hostInfo();
  expect(`${info.hostname} ${info.kernelVersion} ${info.machine}`).toBe(stdout.trim());
  expect(info.cpuCount).toBeGreaterThan(0);
  expect(info.memorySizeBytes).toBeGreaterThan(1_000_000);
  expect(info.operatingSystem).not.toBe("");
});

test("parseOsRelease() takes quotes, escapes and comments as the shell does", () => {
  const text = [
    "# comment",
    'PRETTY_NAME="Debian GNU/Linux 12 (\\"bookworm\\")"',
    "ID=debian",
    "VERSION_ID='12'",
    'COST="5\\$"',
    "=bad",
    "no pair",
    "EMPTY=",
    'HALF="',
  ].join("\n");
  expect([...parseOsRelease(text)]).toEqual([
    ["PRETTY_NAME", 'Debian GNU/Linux 12 ("bookworm")'],
    ["ID", "debian"],
    ["VERSION_ID", "12"],
    ["COST", "5$"],
    ["EMPTY", ""],
    ["HALF", '"'],
  ]);
});
