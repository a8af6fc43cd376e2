/** How clients show images: moments, sizes, trees, raw lines; and what they ask before a prune. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { referenceHost, uniqueName } from "../support/engine.ts";
import { dockerArchive } from "../support/images.ts";
import { parseLines } from "../support/json.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: [] });
const stem = uniqueName("il");
const sizeBytes = 1_234_567;
const native = process.arch === "arm64" ? "arm64" : "amd64";
const moments = {
  zero: "0001-01-01T00:00:00Z",
  epoch: "1970-01-01T00:00:00Z",
  none: undefined,
};
const nameOf = (what: string): string => `${stem}-${what}:1`;

beforeAll(async () => {
  const content = new Uint8Array(sizeBytes);
  for (const [what, created] of Object.entries(moments)) {
    const archive = dockerArchive({
      tags: [nameOf(what)],
      layers: [tar([{ name: "data", content }])],
      config: {
        created,
        config: { Labels: { [stem]: what } },
        history: [{ ...(created === undefined ? {} : { created }), created_by: "made" }],
      },
    });
    const answer = await engine.api("POST", "/images/load", archive);
    expect(answer.text).toContain("Loaded image");
  }
});
afterAll(async () => {
  // A daemon of the test's own is gone by now.
  if (referenceHost === undefined) return;
  for (const what of Object.keys(moments)) {
    await engine.api("DELETE", `/images/${nameOf(what)}?force=1`);
  }
});

test("an image that names no system is of the engine's own", async () => {
  const name = nameOf("bare");
  const bytes = tar([{ name: "bare", content: name }]);
  await engine.api(
    "POST",
    "/images/load",
    dockerArchive({ tags: [name], layers: [bytes], config: { os: "" } }),
  );
  expect((await engine.api("GET", `/images/${name}/json`)).json).toMatchObject({ Os: "linux" });
  await engine.api("DELETE", `/images/${name}`);
});

for (const client of clientNames) {
  const cli = engine.client(client);

  describe(`images with ${client}`, () => {
    test("a moment that is none is N/A in the table and nothing in a template; 1970 is a year", async () => {
      const table = await cli.ok("images", "--filter", `label=${stem}`);
      const [zero, epoch, none] = ["zero", "epoch", "none"].map((what) =>
        table.split("\n").find((line) => line.startsWith(`${stem}-${what}`)),
      );
      expect(zero).toContain(" N/A ");
      expect(epoch).toMatch(/ \d\d years ago /);
      expect(none).toMatch(/ \d\d years ago /);
      const format = ["--format", "[{{.CreatedSince}}]"];
      expect(await cli.ok("images", ...format, nameOf("zero"))).toBe("[]");
      expect(await cli.ok("inspect", "-f", "[{{.Created}}]", nameOf("none"))).toBe("[]");
    });

    test("history of such moments, and of sizes in bytes", async () => {
      for (const what of ["zero", "epoch"]) {
        expect(await cli.ok("history", nameOf(what))).toMatch(/ N\/A +made /);
      }
      const plain = await cli.ok("history", "-H=false", nameOf("epoch"));
      expect(plain).toContain("CREATED AT");
      expect(plain).toContain(` ${sizeBytes} `);
    });

    test("sizes have three digits in tables and four where they are whole", async () => {
      const [row] = parseLines(await cli.ok("images", "--format", "json", nameOf("epoch")));
      expect(row).toMatchObject({ Size: "1.23MB", VirtualSize: "1.235MB" });
      const head = await cli.ok("images", "--format", "table {{.VirtualSize}}", nameOf("epoch"));
      expect(head).toBe("SIZE\n1.235MB");
    });

    test("--format raw", async () => {
      const lines = (await cli.ok("images", "--format", "raw", nameOf("epoch"))).split("\n");
      expect(lines.slice(0, 2)).toEqual([`repository: ${stem}-epoch`, "tag: 1"]);
      expect(lines[2]).toMatch(/^image_id: [0-9a-f]{12}$/);
      expect(lines.slice(3, 5)).toEqual([
        "created_at: 1970-01-01 00:00:00 +0000 UTC",
        "virtual_size: 1.23MB",
      ]);
      expect(await cli.ok("images", "-q", "--format", "raw", nameOf("epoch"))).toMatch(
        /^image_id: [0-9a-f]{12}$/,
      );
    });

    test("--tree names images and what they are made of", async () => {
      const said = await cli.ok("images", "--tree", "--filter", `label=${stem}=epoch`);
      expect(said).toContain("Info ->  U In Use");
      expect(said).toMatch(new RegExp(`${stem}-epoch:1 +[0-9a-f]{12} +`));
      if (referenceHost === undefined)
        expect(said).toMatch(new RegExp(`└─ linux/${native} +[0-9a-f]{12}`));
      const id = await engine.api("POST", "/containers/create", {
        Image: nameOf("epoch"),
        Cmd: ["x"],
      });
      const used = await cli.ok("images", "--tree", "--filter", `label=${stem}=epoch`);
      if (referenceHost === undefined) expect(used).toMatch(/MB +U/);
      await engine.api("DELETE", `/containers/${String((id.json as { Id?: string }).Id)}`);
      for (const flag of ["-q", "--no-trunc", "--format=json"]) {
        expect(await cli.fails("images", "--tree", flag)).toContain(
          "is not yet supported with --tree",
        );
      }
    });

    test("a platform may be a system or an architecture alone", async () => {
      for (const platform of ["linux", native, `linux/${native}`]) {
        const how = ["image", "inspect", "-f", "{{.Architecture}}", "--platform", platform];
        expect(await cli.ok(...how, nameOf("epoch"))).toBe(native);
      }
      const wrong = await cli.fails("history", "--platform", "a/b/c/d", nameOf("epoch"));
      expect(wrong).toContain('invalid platform: "a/b/c/d": cannot parse platform specifier');
    });

    test("what can be no name is refused before the engine is asked", async () => {
      for (const source of ["", "/", "a/b:c:d", "Upper"]) {
        expect(await cli.fails("tag", source, `${stem}-target`)).toContain(
          `Error parsing reference: ${JSON.stringify(source)} is not a valid repository/tag`,
        );
      }
    });

    test("who says no to a prune has said so; a filter without a value is a mistake", async () => {
      const prune = ["image", "prune", "--filter", `label=${stem}`];
      const result = await cli.run(prune, { input: "n\n" });
      expect([result.exitCode, result.stderr]).toEqual([0, ""]);
      expect(await cli.ok("images", "-q", "--filter", `label=${stem}`)).not.toBe("");
      expect(await cli.fails("image", "prune", "-f", "--filter", "label")).toContain(
        'invalid argument "label" for "--filter" flag',
      );
    });

    test("a folder is no archive to import", async () => {
      expect(await cli.fails("import", engine.folder)).toContain("is a directory");
    });
  });
}
