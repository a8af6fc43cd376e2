/** What keeps an image: names, containers, images made from it; and what `system df` tells of it. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { imageId, uniqueName } from "../support/engine.ts";
import { listAt, parseLines, textAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

/** Commits a container of an image: the new image is its child. */
async function childOf(image: string): Promise<string> {
  const name = uniqueName("child");
  const created = await engine.api("POST", "/containers/create", {
    Image: image,
    Cmd: ["true"],
    Labels: { stamp: name },
  });
  const id = textAt(created.json, "Id");
  await engine.api("POST", `/commit?container=${id}&repo=${name}`);
  await engine.api("DELETE", `/containers/${id}`);
  return name;
}

const isThere = async (id: string): Promise<boolean> =>
  (await engine.api("GET", `/images/${id}/json`)).status === 200;

for (const client of clientNames) {
  const cli = engine.client(client);

  describe(`rmi with ${client}`, () => {
    test("an image with two tags is not removed by its ID, unless forced", async () => {
      const image = await childOf("busybox");
      const id = await imageId(engine, image);
      await cli.ok("tag", image, `${image}:two`);
      expect(await cli.fails("rmi", id)).toContain(
        `conflict: unable to delete ${id.slice(7, 19)} (must be forced) - image is referenced in multiple repositories`,
      );
      const said = await cli.ok("rmi", "-f", id);
      expect(said).toContain(`Untagged: ${image}:latest`);
      expect(said).toContain(`Untagged: ${image}:two`);
      expect(said).toContain(`Deleted: ${id}`);
    });

    test("a running container keeps the image, whatever is forced; the name goes", async () => {
      const image = await childOf("busybox");
      const id = await imageId(engine, image);
      const container = await engine.runDetached({ Image: image, Cmd: ["sleep", "100"] });
      expect(await cli.fails("rmi", image)).toContain(
        `conflict: unable to remove repository reference "${image}" (must force) - container ${container.slice(0, 12)} is using`,
      );
      expect(await cli.ok("rmi", "-f", image)).toBe(`Untagged: ${image}:latest`);
      expect(await cli.fails("rmi", "-f", id)).toContain(
        `(cannot be forced) - image is being used by running container ${container.slice(0, 12)}`,
      );
      await cli.ok("rm", "-f", container);
      expect(await cli.ok("rmi", id)).toContain(`Deleted: ${id}`);
    });

    test("an image that another was made from stays until that one goes", async () => {
      const parent = await childOf("busybox");
      const parentId = await imageId(engine, parent);
      const child = await childOf(parent);
      expect(await cli.fails("rmi", "-f", parentId)).toContain(
        "(cannot be forced) - image has dependent child images",
      );
      expect(await cli.ok("rmi", parent)).toBe(`Untagged: ${parent}:latest`);
      expect(await cli.ok("images", "-q", "--no-trunc")).not.toContain(parentId);
      expect(await cli.ok("images", "-aq", "--no-trunc")).toContain(parentId);
      expect(await cli.ok("inspect", "-f", "{{.Parent}}", child)).toBe(parentId);
      expect(await cli.ok("history", "-q", "--no-trunc", child)).toContain(parentId);
      expect(await cli.ok("rmi", child)).toContain(`Deleted: ${parentId}`);
      expect(await isThere(parentId)).toBe(false);
    });

    test("prune takes what has no name, and with -a what no container uses", async () => {
      const nameless = await childOf("busybox");
      const id = await imageId(engine, nameless);
      const other = await childOf("busybox");
      const used = await childOf("busybox");
      const container = await engine.runDetached({ Image: used, Cmd: ["true"] });
      await cli.ok("tag", other, nameless);
      expect(await cli.ok("image", "prune", "-f")).toContain(`deleted: ${id}`);
      expect(await cli.ok("image", "prune", "-f", "--filter", "label=no-such")).toContain("0B");
      const only = ["--filter", `label=stamp=${other}`];
      const said = await cli.ok("image", "prune", "-af", ...only);
      expect(said).toMatch(new RegExp(`untagged: ${other}:latest`, "i"));
      const spared = ["--filter", `label=stamp=${used}`];
      await cli.ok("image", "prune", "-af", ...spared);
      expect(await isThere(used)).toBe(true);
      await cli.ok("rm", "-f", container);
      await cli.ok("image", "prune", "-af", ...spared);
      expect(await isThere(used)).toBe(false);
    });
  });

  describe(`system df with ${client}`, () => {
    test("counts images, containers, volumes and cache", async () => {
      const container = await engine.runDetached({
        Image: "busybox",
        Cmd: [
          "sh",
          "-c",
          "head -c 5000 /dev/zero >/data; head -c 700 /dev/zero >/vol/f; sleep 100",
        ],
        Volumes: { "/vol": {} },
      });
      const written = async (): Promise<boolean> =>
        (await cli.ok("exec", container, "sh", "-c", "wc -c </vol/f || true")) === "700";
      while (!(await written())) await Bun.sleep(20);
      const rows = parseLines(await cli.ok("system", "df", "--format", "json"));
      expect(rows.map((row) => textAt(row, "Type"))).toEqual([
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
      ]);
      expect(rows[1]).toMatchObject({ TotalCount: "1", Active: "1", Reclaimable: "0B (0%)" });
      expect(textAt(rows[0], "Active")).toBe("1");
      expect(await cli.ok("system", "df")).toMatch(
        /^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages +\d+ +1 +\d/,
      );
      const details = await cli.ok("system", "df", "-v");
      expect(details).toMatch(
        /^Images space usage:\n\nREPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS\n/,
      );
      expect(details).toMatch(
        /\n\nContainers space usage:\n\nCONTAINER ID +IMAGE +COMMAND +LOCAL VOLUMES +SIZE/,
      );
      expect(details).toMatch(/\n[0-9a-f]{12} +busybox +"sh -c 'head -c 5000…" +1 +5kB /);
      expect(details).toMatch(/\n\nLocal Volumes space usage:\n\nVOLUME NAME +LINKS +SIZE\n/);
      expect(details).toMatch(/\n[0-9a-f]{64} +1 +700B/);
      expect(details).toMatch(/\n\nBuild cache usage: \S+\n\nCACHE ID +CACHE TYPE +SIZE/);
      const template = "{{range .Volumes}}{{.Links}} {{.Size}};{{end}}";
      expect(await cli.ok("system", "df", "-v", "--format", template)).toContain("1 700B;");
      await cli.ok("rm", "-fv", container);
    });
  });
}

describe("GET /system/df", () => {
  test("tells the kinds asked for, shares sizes, refuses unknown kinds", async () => {
    const image = await childOf("busybox");
    const all = (await engine.api("GET", "/system/df")).json;
    const one = listAt(all, "Images").find((item) =>
      JSON.stringify(item).includes(`"${image}:latest"`),
    );
    expect(one).toMatchObject({ RepoDigests: null, Containers: 0 });
    const { Size, SharedSize } = one as { Size: number; SharedSize: number };
    expect(SharedSize).toBe(Size);
    const volumes = (await engine.api("GET", "/system/df?type=volume")).json;
    expect(volumes).toMatchObject({ LayersSize: 0, Images: null, Containers: null });
    const wrong = await engine.api("GET", "/system/df?type=foo");
    expect([wrong.status, wrong.message]).toEqual([400, "unknown object type: foo"]);
    const old = (await engine.api("GET", "/v1.41/system/df?type=volume")).json;
    const cache = listAt(old, "BuildCache") as readonly { readonly Size: number }[];
    const sum = cache.reduce((total, { Size: sizeBytes }) => total + sizeBytes, 0);
    expect((old as { readonly BuilderSize?: number }).BuilderSize).toBe(
      sum === 0 ? undefined : sum,
    );
    expect(listAt(old, "Images").length).toBeGreaterThan(1);
    await engine.api("DELETE", `/images/${image}`);
  });
});
