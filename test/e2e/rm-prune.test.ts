/** `rm` and `container prune`: nothing stays, and nothing goes that should stay. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "volimg"] });

async function exists(container: string): Promise<boolean> {
  return (await engine.api("GET", `/containers/${container}/json`)).status === 200;
}

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`rm with ${name}`, () => {
    test("removes several and prints their names as given", async () => {
      const [one, two] = [uniqueName(), uniqueName()];
      for (const container of [one, two]) {
        await cli.ok("create", "--name", container, "busybox", "true");
      }
      expect(await cli.ok("rm", one, two)).toBe(`${one}\n${two}`);
      expect(await exists(one)).toBe(false);
    });

    test("takes a prefix of the ID", async () => {
      const id = await cli.ok("create", "busybox", "true");
      await cli.ok("rm", id.slice(0, 12));
      expect(await exists(id)).toBe(false);
    });

    test("refuses a running one, -f removes it", async () => {
      const container = uniqueName();
      await cli.ok("run", "-d", "--name", container, "busybox", "sleep", "60");
      expect(await cli.fails("rm", container)).toMatch(
        /container is running: stop the container before removing or force remove/,
      );
      expect(await exists(container)).toBe(true);
      await cli.ok("rm", "-f", container);
      expect(await exists(container)).toBe(false);
    });

    test("of an unknown one fails, with -f it is only said", async () => {
      expect(await cli.fails("rm", "no-such")).toContain("No such container: no-such");
      const forced = await cli.run(["rm", "-f", "no-such"]);
      expect(forced.exitCode).toBe(0);
    });

    test("-v removes the anonymous volumes, without it they stay", async () => {
      for (const flag of [[], ["-v"]]) {
        const container = uniqueName();
        await cli.ok("create", "--name", container, "volimg", "true");
        const volume = textAt(await engine.inspect(container), "Mounts", 0, "Name");
        await cli.ok("rm", ...flag, container);
        const answer = await engine.api("GET", `/volumes/${volume}`);
        expect(answer.status).toBe(flag.length === 0 ? 200 : 404);
        await engine.api("DELETE", `/volumes/${volume}`);
      }
    });

    test("the name is free again", async () => {
      const container = uniqueName();
      await cli.ok("create", "--name", container, "busybox");
      await cli.ok("rm", container);
      await cli.ok("create", "--name", container, "busybox");
    });
  });

  describe(`container prune with ${name}`, () => {
    test("removes stopped ones that the filter takes, and tells how much that gave", async () => {
      const label = uniqueName("label");
      const kept = await cli.ok("run", "-d", "--label", label, "busybox", "sleep", "60");
      const other = await cli.ok("create", "busybox", "true");
      const gone = await cli.ok("create", "--label", label, "busybox", "true");
      const said = await cli.ok("container", "prune", "-f", "--filter", `label=${label}`);
      expect(said).toContain(gone);
      expect(said).toMatch(/Total reclaimed space: /);
      expect(await exists(gone)).toBe(false);
      expect(await exists(kept)).toBe(true);
      expect(await exists(other)).toBe(true);
    });

    test("asks before, and takes no for an answer", async () => {
      const id = await cli.ok("create", "busybox", "true");
      const result = await cli.run(["container", "prune"], { input: "n\n" });
      expect(result.stdout).toContain("Are you sure you want to continue? [y/N]");
      expect(await exists(id)).toBe(true);
    });
  });
}

describe("removal by API", () => {
  test("twenty at once of one container: it goes once", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => engine.api("DELETE", `/containers/${id}?force=1`)),
    );
    const statuses = answers.map((answer) => answer.status);
    expect(statuses.filter((status) => status === 204).length).toBeGreaterThanOrEqual(1);
    expect(statuses.every((status) => [204, 404, 409].includes(status))).toBe(true);
    expect(await exists(id)).toBe(false);
  });

  test("prune answers what was deleted", async () => {
    const label = uniqueName("label");
    await engine.api("POST", "/containers/create", { Image: "busybox", Labels: { [label]: "" } });
    const filters = encodeURIComponent(JSON.stringify({ label: [label] }));
    const answer = await engine.api("POST", `/containers/prune?filters=${filters}`);
    expect(answer.status).toBe(200);
    expect(listAt(answer.json, "ContainersDeleted")).toHaveLength(1);
    expect(typeof at(answer.json, "SpaceReclaimed")).toBe("number");
  });

  test.skipIf(referenceHost !== undefined)(
    "after everything is removed, nothing is left",
    async () => {
      for (let round = 0; round < 3; round += 1) {
        await Promise.all(
          Array.from({ length: 4 }, async () => {
            await engine.runDetached({ Image: "volimg", Cmd: ["sleep", "60"] });
          }),
        );
        await engine.removeContainers();
      }
      expect(await engine.daemon?.leaks()).toEqual([]);
    },
  );
});
