/** Volumes and mounts: named, anonymous, bind, tmpfs. */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientNames } from "../support/clients.ts";
import { inFolder, uniqueName } from "../support/engine.ts";
import { at, listAt, parseLines, textAt } from "../support/json.ts";
import { runOk } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "volimg"] });

/** A folder on this machine with one file. */
function hostFolder(content = "from host\n"): string {
  const path = inFolder(engine, uniqueName("host"));
  mkdirSync(path);
  writeFileSync(join(path, "file"), content);
  return path;
}

for (const name of clientNames) {
  const cli = engine.client(name);
  const inBusybox = async (flags: readonly string[], script: string): Promise<string> =>
    await cli.ok("run", "--rm", ...flags, "busybox", "sh", "-c", script);

  describe(`volume with ${name}`, () => {
    test("create, ls, inspect, rm", async () => {
      const volume = uniqueName("vol");
      expect(await cli.ok("volume", "create", "--label", "a=b", volume)).toBe(volume);
      expect((await cli.ok("volume", "ls", "-q")).split("\n")).toContain(volume);
      expect(await cli.ok("volume", "ls")).toMatch(/^DRIVER +VOLUME NAME/);
      const document: unknown = JSON.parse(await cli.ok("volume", "inspect", volume));
      expect(at(document, 0)).toMatchObject({
        Driver: "local",
        Labels: { a: "b" },
        Scope: "local",
      });
      expect(textAt(document, 0, "Mountpoint")).toEndWith(`${volume}/_data`);
      expect(await cli.ok("volume", "rm", volume)).toBe(volume);
      expect(await cli.fails("volume", "inspect", volume)).toMatch(/no such volume/i);
    });

    test("create without a name makes one", async () => {
      const volume = await cli.ok("volume", "create");
      expect(volume).toMatch(/^[0-9a-f]{64}$/);
      await cli.ok("volume", "rm", volume);
    });

    test("rm of one in use is refused, of an unknown one with -f is not", async () => {
      const volume = uniqueName("vol");
      await cli.ok("create", "-v", `${volume}:/d`, "busybox");
      expect(await cli.fails("volume", "rm", volume)).toMatch(/volume is in use/);
      await engine.removeContainers();
      await cli.ok("volume", "rm", volume);
      expect(await cli.fails("volume", "rm", volume)).toMatch(/no such volume/i);
      await cli.ok("volume", "rm", "-f", volume);
    });

    test("ls filters and formats", async () => {
      const volume = uniqueName("vol");
      await cli.ok("volume", "create", "--label", volume, volume);
      const ls = ["volume", "ls", "-q", "-f"];
      expect(await cli.ok(...ls, `label=${volume}`)).toBe(volume);
      expect(await cli.ok(...ls, `name=${volume}`)).toBe(volume);
      expect((await cli.ok(...ls, "dangling=true")).split("\n")).toContain(volume);
      expect((await cli.ok(...ls, "dangling=false")).split("\n")).not.toContain(volume);
      const [line] = parseLines(
        await cli.ok("volume", "ls", "--format", "json", "-f", `name=${volume}`),
      );
      expect(line).toMatchObject({ Name: volume, Driver: "local" });
      await cli.ok("volume", "rm", volume);
    });

    test("prune takes anonymous ones, with -a named ones, never those in use", async () => {
      const label = uniqueName("label");
      const named = uniqueName("vol");
      const used = uniqueName("vol");
      for (const volume of [named, used])
        await cli.ok("volume", "create", "--label", label, volume);
      const anonymous = await cli.ok("volume", "create", "--label", label);
      await cli.ok("create", "-v", `${used}:/d`, "busybox");
      const prune = ["volume", "prune", "-f", "--filter", `label=${label}`];
      const first = await cli.ok(...prune);
      expect(first).toContain(anonymous);
      expect(first).not.toContain(named);
      const second = await cli.ok(...prune, "-a");
      expect(second).toContain(named);
      expect(second).not.toContain(used);
      await engine.removeContainers();
      await cli.ok("volume", "rm", used);
    });

    test("names that are none, and drivers that are not there, are refused", async () => {
      expect(await cli.fails("volume", "create", "a/b")).toMatch(/only .* are allowed/);
      expect(await cli.fails("volume", "create", "-d", "nosuch", uniqueName("vol"))).toContain(
        "nosuch",
      );
    });
  });

  describe(`named and anonymous volumes with ${name}`, () => {
    test("what one container writes, another reads", async () => {
      const volume = uniqueName("vol");
      await inBusybox(["-v", `${volume}:/d`], "echo kept >/d/x");
      expect(await inBusybox(["-v", `${volume}:/d`], "cat /d/x")).toBe("kept");
      await cli.ok("volume", "rm", volume);
    });

    test("two at once share one", async () => {
      const volume = uniqueName("vol");
      const first = await cli.ok("run", "-d", "-v", `${volume}:/d`, "busybox", "sleep", "60");
      await inBusybox(["-v", `${volume}:/d`], "echo seen >/d/x");
      expect(await cli.ok("exec", first, "cat", "/d/x")).toBe("seen");
      await cli.ok("rm", "-f", first);
      await cli.ok("volume", "rm", volume);
    });

    test(":ro is read-only", async () => {
      const volume = uniqueName("vol");
      await cli.ok("volume", "create", volume);
      const said = await cli.fails(
        "run",
        "--rm",
        "-v",
        `${volume}:/d:ro`,
        "busybox",
        "touch",
        "/d/x",
      );
      expect(said).toContain("Read-only file system");
      await cli.ok("volume", "rm", volume);
    });

    test("-v with a target alone makes an anonymous one", async () => {
      const container = uniqueName();
      await cli.ok("run", "-v", "/data", "--name", container, "busybox", "true");
      const mount = at(await engine.inspect(container), "Mounts", 0);
      expect(textAt(mount, "Name")).toMatch(/^[0-9a-f]{64}$/);
      expect(mount).toMatchObject({ Type: "volume", Destination: "/data", RW: true });
    });

    test("--rm takes the anonymous volume along, and leaves the named one", async () => {
      const volume = uniqueName("vol");
      const before = await cli.ok("volume", "ls", "-q");
      await inBusybox(["-v", "/a", "-v", `${volume}:/b`], "true");
      const after = (await cli.ok("volume", "ls", "-q")).split("\n").filter(Boolean);
      expect(after.filter((line) => !before.includes(line))).toEqual([volume]);
      await cli.ok("volume", "rm", volume);
    });

    test("VOLUME of the image: content, owner, mode and links are copied up", async () => {
      const said = await cli.ok(
        ...["run", "--rm", "volimg", "sh", "-c"],
        "cat /data/seed /data/link; stat -c '%u:%g %a' /data /data/seed; echo x >/data/new",
      );
      expect(said).toBe("seeded\nseeded\n1000:1000 750\n1000:1000 644");
    });

    test("content is copied up once, and not over what is there", async () => {
      const volume = uniqueName("vol");
      await inBusybox(["-v", `${volume}:/d`], "echo mine >/d/seed");
      const run = ["run", "--rm", "-v", `${volume}:/data`, "volimg"];
      expect(await cli.ok(...run, "cat", "/data/seed")).toBe("mine");
      await cli.ok("volume", "rm", volume);
      expect(await cli.ok(...run, "cat", "/data/seed")).toBe("seeded");
      await cli.ok(...run, "rm", "/data/seed");
      expect((await cli.run([...run, "test", "-e", "/data/seed"])).exitCode).toBe(1);
      await cli.ok("volume", "rm", volume);
    });

    test("nocopy copies nothing", async () => {
      const volume = uniqueName("vol");
      expect(
        await cli.ok("run", "--rm", "-v", `${volume}:/data:nocopy`, "volimg", "ls", "/data"),
      ).toBe("");
      await cli.ok("volume", "rm", volume);
    });

    test("-v over VOLUME takes its place", async () => {
      const container = uniqueName();
      const folder = hostFolder();
      await cli.ok("run", "--name", container, "-v", `${folder}:/data`, "volimg", "true");
      const mounts = listAt(await engine.inspect(container), "Mounts");
      expect(mounts).toHaveLength(1);
      expect(mounts[0]).toMatchObject({ Type: "bind", Source: folder });
    });

    test("--mount takes volumes with options", async () => {
      const volume = uniqueName("vol");
      const mount = ["--mount", `type=volume,src=${volume},dst=/d,volume-label=k=v`];
      await inBusybox(mount, "touch /d/x");
      const answer = await engine.api("GET", `/volumes/${volume}`);
      expect(at(answer.json, "Labels")).toEqual({ k: "v" });
      await cli.ok("volume", "rm", volume);
    });
  });

  describe(`bind mounts with ${name}`, () => {
    test("a folder, both ways", async () => {
      const folder = hostFolder();
      expect(await inBusybox(["-v", `${folder}:/m`], "cat /m/file; echo hi >/m/out")).toBe(
        "from host",
      );
      expect(readFileSync(join(folder, "out"), "utf8")).toBe("hi\n");
    });

    test("a file, read-only", async () => {
      const file = join(hostFolder("a=1\n"), "file");
      expect(await inBusybox(["-v", `${file}:/etc/a.conf:ro`], "cat /etc/a.conf")).toBe("a=1");
      const said = await cli.fails(
        ...[
          "run",
          "--rm",
          "-v",
          `${file}:/etc/a.conf:ro`,
          "busybox",
          "sh",
          "-c",
          "echo >/etc/a.conf",
        ],
      );
      expect(said).toContain("Read-only file system");
    });

    test("-v makes a missing folder, --mount refuses it", async () => {
      const missing = inFolder(engine, uniqueName("missing"));
      const mount = `type=bind,source=${missing},target=/m`;
      const said = await cli.fails("run", "--rm", "--mount", mount, "busybox", "true");
      expect(said).toContain("bind source path does not exist");
      expect(existsSync(missing)).toBe(false);
      await inBusybox(["-v", `${missing}:/m`], "true");
      expect(statSync(missing).isDirectory()).toBe(true);
    });

    test("read-only is recursive", async () => {
      const folder = hostFolder();
      mkdirSync(join(folder, "sub"));
      await runOk(["mount", "-t", "tmpfs", "tmpfs", join(folder, "sub")]);
      try {
        const flags = ["run", "--rm", "-v", `${folder}:/m:ro`, "busybox", "touch", "/m/sub/x"];
        expect(await cli.fails(...flags)).toContain("Read-only file system");
        const writable = `type=bind,src=${folder},dst=/m,readonly,bind-recursive=writable`;
        expect(await inBusybox(["--mount", writable], "touch /m/sub/x && echo made")).toBe("made");
      } finally {
        await runOk(["umount", join(folder, "sub")]);
      }
    });

    test("propagation is as asked: rslave sees what is mounted later, rprivate does not", async () => {
      const folder = hostFolder();
      mkdirSync(join(folder, "sub"));
      await runOk(["mount", "--bind", folder, folder]);
      await runOk(["mount", "--make-shared", folder]);
      const started: string[] = [];
      try {
        for (const mode of ["rslave", "rprivate"]) {
          const flags = ["-d", "-v", `${folder}:/m:${mode}`];
          started.push(await cli.ok("run", ...flags, "busybox", "sleep", "60"));
        }
        await runOk(["mount", "-t", "tmpfs", "tmpfs", join(folder, "sub")]);
        writeFileSync(join(folder, "sub/late"), "x");
        const seen = await Promise.all(
          started.map(async (id) => (await cli.run(["exec", id, "ls", "/m/sub"])).stdout.trim()),
        );
        expect(seen).toEqual(["late", ""]);
      } finally {
        await engine.removeContainers();
        await runOk(["umount", "-R", folder]);
      }
    });

    test("a relative target, a doubled target and an unknown mode are refused", async () => {
      const folder = hostFolder();
      const refuse = async (...flags: readonly string[]): Promise<string> =>
        await cli.fails("run", "--rm", ...flags, "busybox", "true");
      expect(await refuse("-v", `${folder}:relative`)).toMatch(/mount path must be absolute/);
      expect(await refuse("-v", `${folder}:/m`, "-v", "/tmp:/m")).toMatch(/Duplicate mount point/);
      expect(await refuse("-v", `${folder}:/m:nosuch`)).toMatch(/invalid mode/);
      expect(await refuse("-v", `${folder}:/`)).toMatch(/destination can't be '\/'/);
      expect(await refuse("--mount", "type=nosuch,dst=/m")).toMatch(/nosuch/);
    });

    test("a target that is a link is followed inside the container alone", async () => {
      const folder = hostFolder();
      const container = uniqueName();
      await cli.ok("run", "--name", container, "busybox", "ln", "-s", "/../../../../etc", "/out");
      const said = await inBusybox(["-v", `${folder}:/tmp/../../../x`], "cat /x/file");
      expect(said).toBe("from host");
    });
  });

  describe(`tmpfs with ${name}`, () => {
    test("--tmpfs takes options", async () => {
      const said = await inBusybox(["--tmpfs", "/t:size=1m,mode=700"], "grep ' /t ' /proc/mounts");
      expect(said).toMatch(/tmpfs \/t tmpfs .*size=1024k,mode=700/);
    });

    test("--mount type=tmpfs takes size and mode", async () => {
      const mount = "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=750";
      const said = await inBusybox(["--mount", mount], "stat -c %a /t; df -k /t | tail -1");
      expect(said).toMatch(/^750\n\S+ +1024 /);
    });

    test("it is empty after a restart", async () => {
      const container = uniqueName();
      const script = "ls /t; touch /t/x";
      await cli.ok("run", "--name", container, "--tmpfs", "/t", "busybox", "sh", "-c", script);
      await cli.ok("start", "-a", container);
      expect(await cli.ok("logs", container)).toBe("");
    });
  });

  describe(`--volumes-from with ${name}`, () => {
    test("brings the volumes of another container, :ro read-only", async () => {
      const container = uniqueName();
      await cli.ok("create", "-v", "/data", "--name", container, "busybox");
      await inBusybox(["--volumes-from", container], "echo one >/data/x");
      expect(await inBusybox(["--volumes-from", container], "cat /data/x")).toBe("one");
      const said = await cli.fails(
        ...["run", "--rm", "--volumes-from", `${container}:ro`, "busybox", "touch", "/data/y"],
      );
      expect(said).toContain("Read-only file system");
    });
  });
}
