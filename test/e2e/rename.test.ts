/** `rename`, and what names may be. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at, textAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`rename with ${name}`, () => {
    test("renames, also a running one; the old name is free", async () => {
      const [old, fresh] = [uniqueName(), uniqueName()];
      await cli.ok("run", "-d", "--name", old, "busybox", "sleep", "60");
      await cli.ok("rename", old, fresh);
      expect(textAt(await engine.inspect(fresh), "Name")).toBe(`/${fresh}`);
      await cli.ok("create", "--name", old, "busybox");
    });

    test("to a name that is taken, or is none, is refused", async () => {
      const [one, two] = [uniqueName(), uniqueName()];
      for (const container of [one, two]) await cli.ok("create", "--name", container, "busybox");
      expect(await cli.fails("rename", one, two)).toContain("is already in use by container");
      expect(await cli.fails("rename", one, "bad/name")).toContain("Invalid container name");
      expect(await cli.fails("rename", one, one)).toMatch(/same name/);
      expect(await cli.fails("rename", "no-such", "xx")).toContain("No such container: no-such");
      expect(textAt(await engine.inspect(one), "Name")).toBe(`/${one}`);
    });
  });

  describe(`names with ${name}`, () => {
    test("of one character, with slashes, spaces or escapes are refused", async () => {
      for (const bad of ["a", "a/b", "a b", "-ab", "a\u001b[31mred", "ä-ö", ".."]) {
        const result = await cli.run(["create", "--name", bad, "busybox"]);
        expect({ bad, code: result.exitCode !== 0 }).toEqual({ bad, code: true });
        // Docker: its CLI prints what it was given, seen in 28.2
        if (name === "tug") expect(result.stderr).not.toContain("\u001b[31m");
      }
    });

    test("are made when none is given", async () => {
      const id = await cli.ok("create", "busybox");
      expect(textAt(await engine.inspect(id), "Name")).toMatch(/^\/[a-z]+_[a-z]+\d*$/);
    });
  });
}

describe("names by API", () => {
  test("two creates of one name at once: one wins, the other hears who has it", async () => {
    const container = uniqueName();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        engine.api("POST", `/containers/create?name=${container}`, { Image: "busybox" }),
      ),
    );
    const statuses = answers.map((answer) => answer.status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([201, 409, 409, 409, 409, 409, 409, 409]);
    const winner = answers.find((answer) => answer.status === 201);
    const loser = answers.find((answer) => answer.status === 409);
    expect(loser?.message).toContain(String(at(winner?.json, "Id")));
  });

  test("a failed create leaves the name free", async () => {
    const container = uniqueName();
    const bad = { Image: "busybox", HostConfig: { NetworkMode: "container:no-such" } };
    const first = await engine.api("POST", `/containers/create?name=${container}`, bad);
    if (first.status === 201) await engine.api("DELETE", `/containers/${container}`);
    const again = await engine.api("POST", `/containers/create?name=${container}`, {
      Image: "busybox",
    });
    expect(again.status).toBe(201);
  });
});
