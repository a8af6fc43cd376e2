/** `import`: a root file system becomes an image. */
import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { clientNames } from "../support/clients.ts";
import { inFolder, uniqueName } from "../support/engine.ts";
import { rootTar } from "../support/images.ts";
import { at } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: [] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`import with ${name}`, () => {
    test("from a file and from stdin; it prints the ID", async () => {
      const file = inFolder(engine, uniqueName("root"));
      await Bun.write(file, rootTar());
      for (const [source, input] of [
        [file, undefined],
        ["-", rootTar()],
        ["-", gzipSync(rootTar())],
      ] as const) {
        const image = uniqueName("img");
        const options = input === undefined ? {} : { input };
        const result = await cli.run(["import", source, `${image}:v1`], options);
        expect(result.stdout.trim()).toMatch(/^sha256:[0-9a-f]{64}$/);
        expect(await cli.ok("run", "--rm", `${image}:v1`, "echo", "ok")).toBe("ok");
        await cli.ok("rmi", `${image}:v1`);
      }
    });

    test("-c applies instructions, -m is kept as the comment", async () => {
      const image = uniqueName("img");
      const changes = [
        ["-c", 'CMD ["echo","changed"]'],
        ["-c", "ENV A=1 B=2"],
        ["-c", "EXPOSE 80/tcp 53/udp"],
        ["-c", "WORKDIR /srv"],
        ["-c", "USER app"],
        ["-c", "LABEL k=v"],
        ["-c", "VOLUME /vol"],
        ["-c", "STOPSIGNAL SIGINT"],
      ].flat();
      await cli.run(["import", ...changes, "-m", "the comment", "-", image], { input: rootTar() });
      const { json } = await engine.api("GET", `/images/${image}/json`);
      expect(at(json, "Comment")).toBe("the comment");
      expect(at(json, "Config")).toMatchObject({
        Cmd: ["echo", "changed"],
        ExposedPorts: { "80/tcp": {}, "53/udp": {} },
        WorkingDir: "/srv",
        User: "app",
        Labels: { k: "v" },
        Volumes: { "/vol": {} },
        StopSignal: "SIGINT",
      });
      expect(at(json, "Config", "Env")).toContain("B=2");
      expect(await cli.ok("run", "--rm", image)).toBe("changed");
      await cli.ok("rmi", image);
    });

    test("refuses what is no archive, and instructions that are none", async () => {
      const junk = await cli.run(["import", "-", uniqueName("img")], { input: "not a tar at all" });
      expect(junk.exitCode).not.toBe(0);
      const args = ["import", "-c", "RUN true", "-", uniqueName("img")];
      const change = await cli.run(args, { input: rootTar() });
      expect(change.exitCode).not.toBe(0);
      expect(change.stderr).toMatch(/run is not a valid change command|RUN/i);
    });
  });
}
