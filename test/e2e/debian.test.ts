/**
 * A whole Debian as an image. It is not made here, as that takes a mirror and minutes:
 *
 *     debootstrap --variant=minbase bookworm /tmp/debian
 *     tar --xattrs --xattrs-include='*' --numeric-owner -C /tmp/debian -cf /tmp/debian.tar .
 *     TUG_TEST_DEBIAN_TAR=/tmp/debian.tar bun test test/e2e/debian.test.ts
 */
import { describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { clientNames } from "../support/clients.ts";
import { startDaemon } from "../support/daemon.ts";
import { imageId, referenceHost } from "../support/engine.ts";
import { testLabel } from "../support/images.ts";
import { runOk } from "../support/process.ts";
import { startTugRegistry } from "../support/tug-registry.ts";
import { useEngine } from "../support/use-engine.ts";

const archive = process.env["TUG_TEST_DEBIAN_TAR"];
const lack = archive === undefined ? "TUG_TEST_DEBIAN_TAR names no archive" : undefined;
if (lack !== undefined) console.warn(`skipped: ${lack}`);
const engine = await useEngine({ images: [] });
const timeoutMs = 180_000;

/** Every file with its kind, mode, owner, size, time, links, target and content. */
async function describeTree(folder: string): Promise<readonly string[]> {
  const facts = "%P|%y|%m|%U|%G|%T@|%l";
  const script =
    `cd "$1" && find . -mindepth 1 -type d -printf '${facts}\\n'; ` +
    `find . -mindepth 1 ! -type d -printf '${facts}|%s|%n\\n'; ` +
    `find . -type f -print0 | sort -z | xargs -0 sha1sum`;
  const argv = ["bash", "-c", script, "bash", folder];
  const attributes = ["getcap", "-r", folder];
  const listed = await runOk(argv, { timeoutMs });
  const capabilities = Bun.which("getcap") === null ? "" : await runOk(attributes, { timeoutMs });
  return [listed, capabilities.replaceAll(folder, "")]
    .flatMap((text) => text.split("\n"))
    .toSorted();
}

describe.skipIf(lack !== undefined || referenceHost !== undefined)("Debian", () => {
  test(
    "goes to a registry, comes back, runs, and equals GNU tar's extraction file by file",
    async () => {
      await using registry = await startTugRegistry();
      await using other = await startDaemon();
      const image = `${registry.host}/debian:12`;
      const tug = engine.client("tug");
      const changes = ["-c", 'CMD ["bash"]', "-c", `LABEL ${testLabel}=1`];
      await tug.run(["import", ...changes, archive ?? "", image], { timeoutMs });
      await tug.run(["push", "-q", image], { timeoutMs });
      const gnu = join(engine.folder, "gnu");
      mkdirSync(gnu);
      const attributes = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-p"];
      await runOk(["tar", ...attributes, "-C", gnu, "-xf", archive ?? ""], { timeoutMs });
      const wanted = await describeTree(gnu);
      expect(wanted.length).toBeGreaterThan(10_000);
      for (const [name, on] of [
        ["imported", engine],
        ["pulled", other.engine],
      ] as const) {
        const pull = ["pull", "-q", image];
        expect(await on.client("tug").run(pull, { timeoutMs })).toMatchObject({ exitCode: 0 });
        const format = "{{.GraphDriver.Data.UpperDir}}";
        const layer = await on.client("tug").ok("image", "inspect", "-f", format, image);
        const found = await describeTree(layer);
        const known = new Set(wanted);
        const others = found.filter((line) => !known.has(line)).slice(0, 20);
        expect({ name, others, count: found.length }).toEqual({
          name,
          others: [],
          count: wanted.length,
        });
      }
      expect(await imageId(other.engine, image)).toBe(await imageId(engine, image));
      const check = "dpkg --audit && dpkg-query -W | wc -l && cat /etc/debian_version";
      for (const name of clientNames) {
        const args = ["run", "--rm", "--network", "none", image, "bash", "-c", check];
        expect(await other.engine.client(name).ok(...args)).toMatch(/^\d{2,}\n\d+\.\d+$/);
      }
      await other.engine.removeContainers();
    },
    timeoutMs * 2,
  );
});
