/** `tug build --explain`: why steps hit or missed. */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { uniqueName } from "../support/engine.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });
const tug = engine.client("tug");

function context(dockerfile: string, files: Readonly<Record<string, string>> = {}): string {
  const folder = join(engine.folder, uniqueName("explain"));
  for (const [name, content] of Object.entries({ Dockerfile: dockerfile, ...files })) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** What is said of each step, by a word of it. */
async function explain(folder: string, ...args: readonly string[]): Promise<string> {
  const result = await tug.run(["build", "--explain", "--progress=none", ...args, folder]);
  return result.stderr;
}

describe("tug build --explain", () => {
  const text = (salt: string): string =>
    `FROM busybox\nARG V=1\nCOPY src /src\nRUN echo $V ${salt} > /v\nWORKDIR /w\n`;

  test("tells hits, changed files, commands and arguments", async () => {
    const salt = uniqueName();
    const folder = context(text(salt), { "src/a.c": "1", "src/sub/b.c": "2", "src/c.c": "3" });
    const first = await explain(folder);
    expect(first).toMatch(/^STEP +CACHE +WHY$/m);
    expect(first).toMatch(/COPY src \/src +MISS +nothing was built here before$/m);
    const second = await explain(folder);
    expect(second).toMatch(/COPY src \/src +HIT +made (just now|\d+ seconds? ago) by build \w+$/m);
    expect(second.match(/ HIT /g)).toHaveLength(3);

    writeFileSync(join(folder, "src/a.c"), "changed");
    chmodSync(join(folder, "src/c.c"), 0o755);
    rmSync(join(folder, "src/sub/b.c"));
    writeFileSync(join(folder, "src/n w"), "new");
    const third = await explain(folder);
    expect(third).toMatch(/COPY src \/src +MISS +the files of src changed: /m);
    expect(third).toContain("src/a.c (content)");
    expect(third).toContain("src/c.c (mode or owner)");
    expect(third).toContain("src/n w (new)");
    expect(third).toContain("src/sub/b.c (removed)");
    expect(third).toMatch(/RUN echo .* MISS +the step before it was made anew$/m);

    expect(await explain(folder, "--build-arg", "V=secretive")).toMatch(
      /RUN echo .* MISS +build argument V changed$/m,
    );
    writeFileSync(join(folder, "Dockerfile"), text(`${salt} more`));
    expect(await explain(folder)).toContain(`the command changed (it was: RUN echo $V ${salt}`);
    expect(await explain(folder, "--no-cache")).toMatch(
      /COPY .* MISS +the cache was not to be used$/m,
    );
    // Values are not kept.
    const root = join(engine.daemon?.dataRoot ?? "", "build/history");
    for (const name of readdirSync(root)) {
      expect(readFileSync(join(root, name), "utf8")).not.toContain("secretive");
    }
  }, 30_000);

  test("tells a changed base image", async () => {
    const base = uniqueName("base");
    const folder = context(`FROM ${base}\nRUN echo ${uniqueName()} > /x\n`);
    await tug.ok("build", "-q", "-t", base, context("FROM busybox\nENV A=1\n"));
    await explain(folder);
    await tug.ok("build", "-q", "-t", base, context("FROM busybox\nENV A=1\nRUN echo > /y\n"));
    expect(await explain(folder)).toMatch(/the base image changed \(sha256:\w+ → sha256:\w+\)/);
  }, 30_000);

  test("tells of the steps of a build that fails, and programs in the metadata", async () => {
    const salt = uniqueName();
    const failed = await explain(context(`FROM busybox\nRUN echo ${salt}\nRUN exit 3\n`));
    expect(failed).toMatch(/RUN exit 3 +MISS +nothing was built here before$/m);
    const file = join(engine.folder, "metadata");
    const folder = context(`FROM busybox\nRUN echo ${salt}\n`);
    await explain(folder, "--metadata-file", file);
    const told = JSON.parse(JSON.parse(readFileSync(file, "utf8"))["tug.explain"]);
    expect(told).toMatchObject([{ isHit: true }]);
    await tug.ok("build", "--metadata-file", file, folder);
    expect(readFileSync(file, "utf8")).not.toContain("tug.explain");
  }, 30_000);
});
