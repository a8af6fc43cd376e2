/** Results of a build's instructions, run by name. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");

function context(dockerfile: string): string {
  const folder = join(engine.folder, uniqueName("steps"));
  mkdirSync(folder);
  writeFileSync(join(folder, "Dockerfile"), dockerfile);
  return folder;
}

/** Builds, and gives what is listed. */
async function listed(folder: string, ...args: readonly string[]): Promise<string> {
  return (await tug.run(["build", "--steps", "--progress=none", ...args, folder])).stderr;
}

const text = (salt: string): string =>
  "FROM busybox AS first\n" +
  `RUN echo ${salt} > /one\n` +
  "ENV A=b\nWORKDIR /work\n" +
  "FROM busybox\nCOPY --from=first /one /copied\nRUN rm /copied\n";

describe("results of instructions", () => {
  test("are listed, and run by name, those of other stages too", async () => {
    const name = uniqueName("app");
    const salt = uniqueName();
    const list = await listed(context(text(salt)), "-t", name, "-t", `${name}:v2`);
    expect(list).toMatch(/^IMAGE +INSTRUCTION$/m);
    expect(list).toMatch(new RegExp(`^step/${name}:2 +RUN echo ${salt} > /one$`, "m"));
    expect(list).toMatch(new RegExp(`^step/${name}:7 +RUN rm /copied$`, "m"));
    for (const client of clientNames.map((each) => engine.client(each))) {
      const inStep = async (step: string, command: string): Promise<string> =>
        await client.ok("run", "--rm", step, "sh", "-c", command);
      expect(await inStep(`step/${name}:2`, "cat /one; pwd; echo $A.")).toBe(`${salt}\n/\n.`);
      expect(await inStep(`step/${name}:4`, "pwd; echo $A")).toBe("/work\nb");
      expect(await inStep(`step/${name}:v2-6`, "cat /copied")).toBe(salt);
      expect(await inStep(`step/${name}:7`, "ls /copied 2>&1 || echo gone")).toContain("gone");
      expect(await inStep(`step/${name}:1`, "ls /one 2>&1 || echo none")).toContain("none");
      expect(await client.fails("run", "--rm", "--pull=never", `step/${name}:99`)).toContain(
        "No such image",
      );
      expect(
        await client.ok("image", "inspect", "-f", "{{.Config.WorkingDir}}", `step/${name}:v2-4`),
      ).toBe("/work");
    }
  }, 60_000);

  test("are those of the last build of that name, and of one that failed", async () => {
    const name = uniqueName("app");
    await listed(context(`FROM busybox\nRUN echo one > /f\n`), "-t", name);
    expect(await tug.ok("run", "--rm", `step/${name}:2`, "cat", "/f")).toBe("one");
    const list = await listed(context(`FROM busybox\nRUN echo two > /f\nRUN exit 9\n`), "-t", name);
    expect(list).toContain(`step/${name}:2`);
    expect(list).not.toContain(`step/${name}:3`);
    expect(await tug.ok("run", "--rm", `step/${name}:2`, "cat", "/f")).toBe("two");
  }, 30_000);

  test("of builds without a name go by their ID; the image stays whole when it is run so", async () => {
    const folder = context(`FROM busybox\nRUN echo ${uniqueName()} > /f\n`);
    const list = await listed(folder);
    const [, name = ""] = /^(step\/[0-9a-f]{12}:2) /m.exec(list) ?? [];
    await tug.ok("run", "--rm", name, "test", "-f", "/f");
    const id = await tug.ok("build", "-q", folder);
    await tug.ok("run", "--rm", id, "test", "-f", "/f");
    await tug.ok("run", "--rm", name, "test", "-f", "/f");
  }, 30_000);

  test("are told to be gone when the cache is", async () => {
    const name = uniqueName("app");
    await listed(context(`FROM busybox\nRUN echo ${uniqueName()} > /f\nRUN exit 1\n`), "-t", name);
    await tug.ok("builder", "prune", "-a", "-f");
    expect(await tug.fails("run", "--rm", "--pull=never", `step/${name}:2`)).toContain(
      "not in the build cache any more",
    );
  }, 30_000);
});
