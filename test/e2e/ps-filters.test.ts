/** `ps`: the list of containers, its columns, filters and formats. */
import { beforeEach, describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { imageId, uniqueName } from "../support/engine.ts";
import { listAt, parseLines, textAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });
let stem = "";
const ids = { up: "", exited: "", created: "" };

beforeEach(async () => {
  stem = uniqueName("list");
  ids.up = await engine.runDetached(
    {
      Image: "web",
      Labels: { [stem]: "up", color: "red" },
      ExposedPorts: { "8080/tcp": {} },
      HostConfig: { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } },
    },
    `${stem}-up`,
  );
  ids.exited = await engine.runDetached(
    { Image: "busybox", Cmd: ["sh", "-c", "exit 3"], Labels: { [stem]: "" } },
    `${stem}-exited`,
  );
  await engine.api("POST", `/containers/${ids.exited}/wait`);
  const created = await engine.api("POST", `/containers/create?name=${stem}-created`, {
    Image: "busybox",
    Labels: { [stem]: "" },
  });
  ids.created = textAt(created.json, "Id");
});

for (const name of clientNames) {
  const cli = engine.client(name);
  const names = async (...filters: readonly string[]): Promise<readonly string[]> => {
    const flags = filters.flatMap((filter) => ["-f", filter]);
    const own = ["-f", `label=${stem}`, "--format", "{{.Names}}"];
    const said = await cli.ok("ps", "-a", ...own, ...flags);
    return said
      .split("\n")
      .filter(Boolean)
      .map((line) => line.replace(`${stem}-`, ""))
      .toSorted();
  };

  describe(`ps with ${name}`, () => {
    test("has Docker's columns", async () => {
      const [head = ""] = (await cli.ok("ps")).split("\n");
      expect(head.split(/ {2,}/).map((word) => word.trim())).toEqual([
        ...["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"],
      ]);
    });

    test("an image is told by its ID once its name stands for another, or for none", async () => {
      const image = uniqueName("moving");
      await cli.ok("tag", "busybox", image);
      const query = `/containers/create?name=${image}`;
      await engine.api("POST", query, { Image: image, Labels: { [stem]: "" } });
      const shown = ["ps", "-a", "-f", `name=^${image}$`, "--format", "{{.Image}}"];
      expect(await cli.ok(...shown)).toBe(image);
      const id = (await imageId(engine, "busybox")).slice(7, 19);
      await cli.ok("tag", "web", image);
      expect(await cli.ok(...shown)).toBe(id);
      await cli.ok("rmi", image);
      expect(await cli.ok(...shown)).toBe(id);
      await engine.api("DELETE", `/containers/${image}`);
    });

    test("shows running ones alone, with -a all of them", async () => {
      const up = await cli.ok("ps", "-q", "-f", `label=${stem}`);
      expect(up).toBe(ids.up.slice(0, 12));
      expect(await names()).toEqual(["created", "exited", "up"]);
    });

    test("tells states and ports", async () => {
      const said = await cli.ok("ps", "-a", "-f", `label=${stem}`);
      expect(said).toMatch(/Up (Less than a second|\d+ seconds?)/);
      expect(said).toMatch(/Exited \(3\) (Less than a second|\d+ seconds?) ago/);
      expect(said).toMatch(/Created/);
      expect(said).toMatch(/127\.0\.0\.1:\d+->8080\/tcp/);
      expect(said).toContain(`"httpd -f -p 8080 -h`);
    });

    test("--no-trunc shows all of the ID and the command", async () => {
      const said = await cli.ok("ps", "--no-trunc", "-f", `label=${stem}`);
      expect(said).toContain(ids.up);
      expect(said).toContain('"httpd -f -p 8080 -h /www"');
    });

    test("-l shows the latest, -n the latest so many", async () => {
      expect(await cli.ok("ps", "-lq")).toBe(ids.created.slice(0, 12));
      expect((await cli.ok("ps", "-n", "2", "-q")).split("\n")).toHaveLength(2);
    });

    test("-s shows sizes", async () => {
      const said = await cli.ok("ps", "-s", "-f", `label=${stem}`);
      expect(said).toMatch(/SIZE/);
      expect(said).toMatch(/\d+(\.\d+)?k?B \(virtual \d/);
    });

    test("--format json gives a document per line", async () => {
      const [line] = parseLines(await cli.ok("ps", "--format", "json", "-f", `label=${stem}`));
      expect(line).toMatchObject({ ID: ids.up.slice(0, 12), Image: "web", Names: `${stem}-up` });
    });

    test("--format takes templates and tables", async () => {
      const own = ["ps", "-f", `label=${stem}`, "--format"];
      expect(await cli.ok(...own, '{{.ID}} {{.Image}} {{.Label "color"}}')).toBe(
        `${ids.up.slice(0, 12)} web red`,
      );
      expect(await cli.ok(...own, "table {{.Names}}\t{{.State}}")).toMatch(
        /^NAMES +STATE\n\S+-up +running$/,
      );
    });
  });

  describe(`ps filters with ${name}`, () => {
    test("status", async () => {
      expect(await names("status=exited")).toEqual(["exited"]);
      expect(await names("status=created", "status=running")).toEqual(["created", "up"]);
    });
    test("exited", async () => {
      expect(await names("exited=3")).toEqual(["exited"]);
      expect(await names("exited=0")).toEqual([]);
    });
    test("name, as a part and as a pattern", async () => {
      expect(await names(`name=${stem}-u`)).toEqual(["up"]);
      expect(await names(`name=^/${stem}-(up|created)$`)).toEqual(["created", "up"]);
    });
    test("id", async () => {
      expect(await names(`id=${ids.up.slice(0, 20)}`)).toEqual(["up"]);
    });
    test("label, with and without value", async () => {
      expect(await names(`label=${stem}=up`)).toEqual(["up"]);
      expect(await names("label=color=blue")).toEqual([]);
    });
    test("ancestor", async () => {
      expect(await names("ancestor=web")).toEqual(["up"]);
      expect(await names("ancestor=web:latest")).toEqual(["up"]);
    });
    test("before and since", async () => {
      expect(await names(`before=${stem}-created`)).toEqual(["exited", "up"]);
      expect(await names(`since=${stem}-up`)).toEqual(["created", "exited"]);
    });
    test("publish and expose", async () => {
      expect(await names("expose=8080")).toEqual(["up"]);
      expect(await names("publish=1-1023")).toEqual([]);
    });
    test("network and volume", async () => {
      expect(await names("network=bridge")).toEqual(["created", "exited", "up"]);
      expect(await names("network=none")).toEqual([]);
      expect(await names("volume=/nowhere")).toEqual([]);
    });
    test("an unknown filter and a wrong value are refused", async () => {
      expect(await cli.fails("ps", "-f", "nosuch=1")).toMatch(/invalid filter/);
      expect(await cli.fails("ps", "-f", "status=nosuch")).toMatch(/status/);
      expect(await cli.fails("ps", "-f", "exited=x")).toMatch(/exited|invalid/);
    });
  });
}

describe("the list by API", () => {
  test("all, limit and filters as JSON, also in the old form", async () => {
    const list = async (query: string): Promise<number> =>
      listAt((await engine.api("GET", `/containers/json?${query}`)).json).length;
    const both = (filters: unknown): string => encodeURIComponent(JSON.stringify(filters));
    expect(await list(`all=1&filters=${both({ label: [stem] })}`)).toBe(3);
    expect(await list(`all=1&filters=${both({ label: { [stem]: true } })}`)).toBe(3);
    expect(await list("limit=1")).toBe(1);
    const bad = await engine.api("GET", "/containers/json?filters=nonsense");
    expect(bad.status).toBe(400);
  });

  test("an ambiguous prefix is said to be ambiguous", async () => {
    const all: string[] = [];
    // With 17 containers two of them begin with the same digit.
    for (let count = 0; count < 17; count += 1) {
      const answer = await engine.api("POST", "/containers/create", { Image: "busybox" });
      all.push(textAt(answer.json, "Id"));
    }
    const twice = all.find((id) => all.filter((other) => other[0] === id[0]).length > 1) ?? "";
    const answer = await engine.api("GET", `/containers/${twice[0]}/json`);
    expect(answer.status).toBe(400);
    expect(answer.message).toContain("multiple IDs found with provided prefix");
  });
});
