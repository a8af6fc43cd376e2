/** `save` and `load`: images as archives. */
import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { clientNames } from "../support/clients.ts";
import { imageId, inFolder, uniqueName } from "../support/engine.ts";
import { dockerArchive, rootTar } from "../support/images.ts";
import { at, textAt } from "../support/json.ts";
import { run, runOk } from "../support/process.ts";
import { tar } from "../support/tar.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`save and load with ${name}`, () => {
    test("an image goes out, is removed, comes back the same and runs", async () => {
      const image = uniqueName("img");
      await cli.ok("tag", "web", image);
      const file = inFolder(engine, `${image}.tar`);
      const id = await imageId(engine, image);
      await cli.ok("save", "-o", file, image);
      await cli.ok("rmi", "-f", image);
      expect(await cli.ok("load", "-i", file)).toBe(`Loaded image: ${image}:latest`);
      expect(await imageId(engine, image)).toBe(id);
      expect(await cli.ok("run", "--rm", image, "cat", "/www/index.html")).toBe("hello from web");
      await cli.ok("rmi", image);
    });

    test("the archive is an OCI layout and a docker archive in one", async () => {
      const file = inFolder(engine, uniqueName("save"));
      await Bun.write(file, (await cli.run(["save", "busybox"])).stdoutBytes);
      const names = (await runOk(["tar", "-tf", file])).split("\n");
      for (const wanted of ["oci-layout", "index.json", "manifest.json", "repositories"]) {
        expect(names).toContain(wanted);
      }
      const manifest: unknown = JSON.parse(await runOk(["tar", "-xOf", file, "manifest.json"]));
      expect(at(manifest, 0, "RepoTags")).toEqual(["busybox:latest"]);
      expect(names).toContain(textAt(manifest, 0, "Config"));
      const config: unknown = JSON.parse(
        await runOk(["tar", "-xOf", file, textAt(manifest, 0, "Config")]),
      );
      expect(at(config, "os")).toBe("linux");
      for (const blob of names.filter((entry) => /^blobs\/sha256\/[0-9a-f]{64}$/.test(entry))) {
        const content = await run(["tar", "-xOf", file, blob]);
        const digest = new Bun.CryptoHasher("sha256").update(content.stdoutBytes).digest("hex");
        expect(blob).toEndWith(digest);
      }
    });

    test("several images go into one archive", async () => {
      const file = inFolder(engine, uniqueName("save"));
      await cli.ok("save", "-o", file, "busybox", "web");
      const manifest: unknown = JSON.parse(await runOk(["tar", "-xOf", file, "manifest.json"]));
      expect(JSON.stringify(manifest)).toContain("busybox:latest");
      expect(JSON.stringify(manifest)).toContain("web:latest");
      const said = await cli.ok("load", "-q", "-i", file);
      expect(said.split("\n").toSorted()).toEqual([
        "Loaded image: busybox:latest",
        "Loaded image: web:latest",
      ]);
    });

    test("load reads stdin, also gzipped", async () => {
      const image = uniqueName("img");
      const archive = dockerArchive({ tags: [`${image}:1`], layers: [rootTar()] });
      for (const input of [archive, gzipSync(archive)]) {
        const result = await cli.run(["load"], { input });
        expect(result.stdout).toContain(`Loaded image: ${image}:1`);
        expect(await cli.ok("run", "--rm", `${image}:1`, "echo", "runs")).toBe("runs");
        await cli.ok("rmi", `${image}:1`);
      }
    });

    test("save refuses a terminal and unknown images", async () => {
      expect(await cli.fails("save", "no-such")).toMatch(
        /No such image: no-such|reference does not exist/,
      );
      const shown = await cli.terminal(["save", "busybox"]);
      expect(shown.exitCode).not.toBe(0);
      expect(shown.stdout).toMatch(/terminal/);
    });
  });
}

describe("load by API", () => {
  test("layers apply in order, whiteouts remove", async () => {
    const image = uniqueName("img");
    const upper = tar([
      { name: "etc/.wh.group", content: "" },
      { name: "home/.wh..wh..opq", content: "" },
      { name: "etc/passwd", content: "root:x:0:0:changed:/root:/bin/sh\n" },
      { name: "made", content: "by layer two" },
    ]);
    const archive = dockerArchive({ tags: [`${image}:1`], layers: [rootTar(), upper] });
    const answer = await engine.api("POST", "/images/load", archive);
    expect(answer.text).toContain(`Loaded image: ${image}:1`);
    const cli = engine.client("tug");
    const script = "cat /etc/passwd /made; ls /etc/group /home/app 2>&1; true";
    const container = uniqueName();
    await engine.runDetached(
      { Image: `${image}:1`, Cmd: ["sh", "-c", script], Tty: true },
      container,
    );
    await engine.api("POST", `/containers/${container}/wait`);
    const logs = await engine.api("GET", `/containers/${container}/logs?stdout=1`);
    expect(logs.text).toContain("changed");
    expect(logs.text).toContain("by layer two");
    expect(logs.text.match(/No such file/g)).toHaveLength(2);
    expect(cli.name).toBe("tug");
    await engine.removeContainers();
    await engine.api("DELETE", `/images/${image}:1`);
  });

  test("an archive without names loads by ID", async () => {
    const entries = [{ name: "stamp", content: uniqueName() }];
    const archive = dockerArchive({ layers: [rootTar({ entries, changes: [] })] });
    const answer = await engine.api("POST", "/images/load", archive);
    const id = /Loaded image ID: (sha256:[0-9a-f]{64})/.exec(answer.text)?.[1];
    expect(id).toBeDefined();
    expect((await engine.api("DELETE", `/images/${id}`)).status).toBe(200);
  });

  test("the same archive twice, at once and after the other, is one image", async () => {
    const image = uniqueName("img");
    const archive = dockerArchive({ tags: [`${image}:1`], layers: [rootTar()] });
    const answers = await Promise.all(
      [1, 2, 3].map(() => engine.api("POST", "/images/load", archive)),
    );
    for (const answer of answers) expect(answer.text).toContain(`Loaded image: ${image}:1`);
    expect((await engine.api("POST", "/images/load", archive)).text).toContain("Loaded image");
    expect((await engine.api("DELETE", `/images/${image}:1`)).status).toBe(200);
  });
});
