/** Archives and image layouts that other tools make, and that other tools read. Needs skopeo. */
import { describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { imageId, inFolder, uniqueName } from "../support/engine.ts";
import { textAt } from "../support/json.ts";
import { run, runOk } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });
const tug = engine.client("tug");
const hasSkopeo = Bun.which("skopeo") !== null;
if (!hasSkopeo) console.log("skipped: skopeo is not installed");

const skopeo = async (...args: readonly string[]): Promise<string> =>
  await runOk(["skopeo", "--insecure-policy", ...args]);

/** An image of the tests as an archive of ours. */
async function saved(image: string): Promise<string> {
  const file = inFolder(engine, `${uniqueName("saved")}.tar`);
  await tug.ok("save", "-o", file, image);
  return file;
}

async function committed(): Promise<string> {
  const image = uniqueName("made");
  const id = await engine.runDetached({ Image: "web", Cmd: ["sh", "-c", "echo made >/made"] });
  await engine.api("POST", `/containers/${id}/wait`);
  await tug.ok("commit", id, `reg.test/${image}:1`);
  return `reg.test/${image}:1`;
}

describe.skipIf(!hasSkopeo)("skopeo", () => {
  test("reads what was saved, as either kind of archive, layers made here included", async () => {
    const image = await committed();
    const file = await saved(image);
    for (const kind of [`docker-archive:${file}`, `oci-archive:${file}`]) {
      const told: unknown = JSON.parse(await skopeo("inspect", kind));
      expect(textAt(told, "Os")).toBe("linux");
      // Copying reads every layer and checks its digest.
      const folder = inFolder(engine, uniqueName("copy"));
      await skopeo("copy", "-q", kind, `dir:${folder}`);
    }
  });

  test.each(["gzip", "zstd"])("an OCI archive packed with %s loads and runs", async (format) => {
    const name = `${uniqueName("packed")}:x`;
    const file = inFolder(engine, `${uniqueName("oci")}.tar`);
    const compressed = ["--dest-compress", "--dest-compress-format", format];
    await skopeo(
      ...["copy", "-q", ...compressed, `docker-archive:${await saved("web")}`],
      `oci-archive:${file}:${name}`,
    );
    expect(await tug.ok("load", "-i", file)).toBe(`Loaded image: ${name}`);
    expect(await tug.ok("run", "--rm", name, "cat", "/www/index.html")).toBe("hello from web");
    await tug.ok("rmi", name);
  });

  test("a docker archive loads under its names, as the same image", async () => {
    const name = `reg.test/${uniqueName("skopeo")}:x`;
    const file = inFolder(engine, `${uniqueName("docker")}.tar`);
    await skopeo(
      "copy",
      "-q",
      `oci-archive:${await saved("web")}`,
      `docker-archive:${file}:${name}`,
    );
    expect(await tug.ok("load", "-i", file)).toBe(`Loaded image: ${name}`);
    expect(await imageId(engine, name)).toBe(await imageId(engine, "web"));
    await tug.ok("rmi", name);
  });

  test("an image layout loads as a folder, and from a tar of it", async () => {
    const name = `${uniqueName("folder")}:x`;
    const folder = inFolder(engine, uniqueName("layout"));
    await skopeo("copy", "-q", `oci-archive:${await saved("web")}`, `oci:${folder}:${name}`);
    expect(await tug.ok("load", "-i", folder)).toBe(`Loaded image: ${name}`);
    expect(await imageId(engine, name)).toBe(await imageId(engine, "web"));
    await tug.ok("rmi", name);
    const file = `${folder}.tar`;
    await runOk(["tar", "-C", folder, "-cf", file, "."]);
    expect(await tug.ok("load", "-i", file)).toBe(`Loaded image: ${name}`);
    await tug.ok("rmi", name);
  });
});

describe("load -i", () => {
  test("of what save made, unpacked", async () => {
    const image = await committed();
    const id = await imageId(engine, image);
    const folder = inFolder(engine, uniqueName("unpacked"));
    mkdirSync(folder);
    await runOk(["tar", "-C", folder, "-xf", await saved(image)]);
    await tug.ok("rmi", image);
    expect(await tug.ok("load", "-i", folder)).toBe(`Loaded image: ${image}`);
    expect(await imageId(engine, image)).toBe(id);
    expect(await tug.ok("run", "--rm", image, "cat", "/made")).toBe("made");
  });

  test("of a folder that is none, and of nothing", async () => {
    const folder = inFolder(engine, uniqueName("empty"));
    mkdirSync(folder);
    expect((await tug.run(["load", "-i", folder])).stderr).toContain(
      "a folder without index.json (an OCI image layout) or manifest.json",
    );
    expect((await tug.run(["load", "-i", `${folder}/nope`])).stderr).toContain(
      "no such file or directory",
    );
  });

  test("a save or load that is interrupted leaves nothing behind", async () => {
    const file = await saved("web");
    const half = inFolder(engine, "half.tar");
    await run(["sh", "-c", `head -c 100000 ${file} >${half}`]);
    expect((await tug.run(["load", "-i", half])).exitCode).toBe(1);
    expect(await tug.ok("images", "-q", "-f", "dangling=true")).toBe("");
  });
});

test("several images and their tags go out by one name, and come back", async () => {
  const repository = `reg.test/${uniqueName("many")}`;
  await tug.ok("tag", "web", `${repository}:a`);
  await tug.ok("tag", "web", `${repository}:b`);
  await tug.ok("tag", "busybox", `${repository}:c`);
  const file = await saved(repository);
  await tug.ok("rmi", `${repository}:a`, `${repository}:b`, `${repository}:c`);
  expect((await tug.ok("load", "-i", file)).split("\n").toSorted()).toEqual(
    ["a", "b", "c"].map((tag) => `Loaded image: ${repository}:${tag}`),
  );
  await tug.ok("rmi", `${repository}:a`, `${repository}:b`, `${repository}:c`);
});

test("tug save names what may have been meant", async () => {
  const image = uniqueName("my_image");
  await tug.ok("tag", "web", image);
  const wanted = image.replace("_", "");
  expect((await tug.run(["save", "-o", inFolder(engine, "no.tar"), wanted])).stderr).toContain(
    `No such image: ${wanted} (did you mean ${image}?)`,
  );
  await tug.ok("rmi", image);
});
