/** `images`, `tag`, `rmi`, `history`, `image prune`: the image store. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { imageId, uniqueName } from "../support/engine.ts";
import { at, listAt, parseLines, textAt } from "../support/json.ts";
import { rootTar } from "../support/images.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });

/** An image of its own, so that removing it removes it. */
async function ownImage(): Promise<string> {
  const name = uniqueName("img");
  const entries = [{ name: "stamp", content: name }];
  await engine.importImage(name, { archive: rootTar({ entries, changes: [] }) });
  return name;
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`images with ${name}`, () => {
    test("lists repository, tag, ID and size", async () => {
      const said = await cli.ok("images", "busybox");
      expect(said).toMatch(/IMAGE/);
      expect(said).toMatch(/busybox/);
      const id = (await imageId(engine, "busybox")).slice(7, 19);
      expect(await cli.ok("images", "-q", "busybox")).toBe(id);
      expect(await cli.ok("images", "-q", "--no-trunc", "busybox")).toBe(
        await imageId(engine, "busybox"),
      );
    });

    test("--format and filters", async () => {
      const image = await ownImage();
      const format = "{{.Repository}}:{{.Tag}}";
      expect(await cli.ok("images", "--format", format, image)).toBe(`${image}:latest`);
      const [line] = parseLines(await cli.ok("images", "--format", "json", image));
      expect(line).toMatchObject({ Repository: image, Tag: "latest" });
      const filtered = ["images", "--format", format, "-f"];
      expect(await cli.ok(...filtered, `reference=${image}*`)).toBe(`${image}:latest`);
      expect(await cli.ok(...filtered, "label=no-such-label")).toBe("");
      expect(await cli.ok(...filtered, `since=busybox`)).toContain(image);
      await cli.ok("rmi", image);
    });

    test("tag adds a name, rmi takes one name, the last one takes the image", async () => {
      const image = await ownImage();
      const id = await imageId(engine, image);
      await cli.ok("tag", image, `${image}:two`);
      await cli.ok("tag", id, `reg.test:5000/some/${image}:three`);
      expect(await cli.ok("rmi", `${image}:latest`)).toContain(`Untagged: ${image}:latest`);
      expect(await imageId(engine, `${image}:two`)).toBe(id);
      await cli.ok("rmi", `${image}:two`);
      expect(await cli.ok("rmi", `reg.test:5000/some/${image}:three`)).toContain(`Deleted: ${id}`);
      expect((await engine.api("GET", `/images/${id}/json`)).status).toBe(404);
    });

    test("rmi of an image that a container uses is refused; -f takes the name of a stopped one's", async () => {
      const image = await ownImage();
      const container = await cli.ok("create", image, "true");
      expect(await cli.fails("rmi", image)).toMatch(/conflict.*(container|being used|is using)/is);
      await cli.ok("rmi", "-f", image);
      await cli.ok("rm", container);
    });

    test("rmi of what is not there names it", async () => {
      expect(await cli.fails("rmi", "no-such")).toMatch(/No such image: no-such/);
    });

    test("an ID with several names is removed by force alone", async () => {
      const image = await ownImage();
      const id = await imageId(engine, image);
      await cli.ok("tag", image, `other-${image}`);
      expect(await cli.fails("rmi", id)).toMatch(/must be forced|referenced in multiple/);
      await cli.ok("rmi", "-f", id);
      expect((await engine.api("GET", `/images/${id}/json`)).status).toBe(404);
    });

    test("history tells the layers", async () => {
      const said = await cli.ok(
        "history",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Size}}",
        "busybox",
      );
      expect(said).toContain(await imageId(engine, "busybox"));
      expect(await cli.ok("history", "busybox")).toMatch(
        /^IMAGE +CREATED +CREATED BY +SIZE +COMMENT/,
      );
    });

    test("image prune removes images without a name", async () => {
      const image = await ownImage();
      const id = await imageId(engine, image);
      await cli.ok("tag", "busybox", image);
      await cli.ok("image", "prune", "-f");
      expect((await engine.api("GET", `/images/${id}/json`)).status).toBe(404);
      expect((await engine.api("GET", "/images/busybox/json")).status).toBe(200);
      await cli.ok("rmi", image);
    });

    test("names that are none are refused", async () => {
      expect(await cli.fails("tag", "busybox", "UPPER")).toMatch(/lowercase|invalid reference/);
      expect(await cli.fails("tag", "busybox", "a:b:c")).toMatch(/invalid/);
      expect(await cli.fails("tag", "no-such", "x")).toMatch(/No such image: no-such/);
    });
  });
}

describe("images by API", () => {
  test("inspect tells config, root file system and size", async () => {
    const answer = await engine.api("GET", "/images/web/json");
    expect(answer.json).toMatchObject({ Os: "linux", RepoTags: ["web:latest"] });
    expect(textAt(answer.json, "Id")).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(at(answer.json, "Config", "ExposedPorts")).toEqual({ "8080/tcp": {} });
    expect(listAt(answer.json, "RootFS", "Layers")).toHaveLength(1);
    expect(at(answer.json, "Size")).toBeGreaterThan(1_000_000);
  });

  test("an image is found by name, tag, ID and prefix of the ID", async () => {
    const id = await imageId(engine, "web");
    for (const name of ["web", "web:latest", "docker.io/library/web", id, id.slice(7, 20)]) {
      const answer = await engine.api("GET", `/images/${encodeURIComponent(name)}/json`);
      expect({ name, id: at(answer.json, "Id") }).toEqual({ name, id });
    }
  });

  test("an unknown one is 404", async () => {
    const answer = await engine.api("GET", "/images/no-such/json");
    expect(answer.status).toBe(404);
    expect(answer.message).toBe("No such image: no-such:latest");
  });

  test("the list has names, times and no sizes that were not asked for", async () => {
    const list = await engine.api("GET", "/images/json");
    const web = listAt(list.json).find((item) =>
      JSON.stringify(at(item, "RepoTags")).includes("web:latest"),
    );
    expect(web).toMatchObject({ SharedSize: -1, ParentId: "" });
    expect(at(web, "Created")).toBeGreaterThan(1_600_000_000);
  });
});
