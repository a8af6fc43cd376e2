/** `inspect`: the whole of a container, an image, a volume. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { uniqueName } from "../support/engine.ts";
import { at, numberAt, textAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web", "user"] });

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`inspect with ${name}`, () => {
    test("is a list of documents", async () => {
      const container = uniqueName();
      const id = await cli.ok("create", "--name", container, "busybox");
      const document: unknown = JSON.parse(await cli.ok("inspect", container));
      expect(textAt(document, 0, "Id")).toBe(id);
      expect(textAt(document, 0, "Name")).toBe(`/${container}`);
    });

    test("-f takes a template", async () => {
      const container = uniqueName();
      await cli.ok("create", "--name", container, "-e", "A=b", "-l", "x.y=z", "busybox", "a", "b");
      const show = async (template: string): Promise<string> =>
        await cli.ok("inspect", "-f", template, container);
      expect(await show("{{.State.Status}}")).toBe("created");
      expect(await show("{{json .Config.Cmd}}")).toBe('["a","b"]');
      expect(await show("{{range .Config.Env}}{{println .}}{{end}}")).toContain("A=b");
      expect(await show('{{index .Config.Labels "x.y"}}')).toBe("z");
      expect(await show("{{if .State.Running}}up{{else}}down{{end}}")).toBe("down");
      expect(await show("{{len .Mounts}}")).toBe("0");
      expect(await show('{{with .Config}}{{join .Cmd "-"}}{{end}}')).toBe("a-b");
      expect(await show('{{printf "%s|%d" .Path (len .Args)}}')).toBe("a|1");
    });

    test("finds images and volumes too, --type narrows it", async () => {
      const volume = uniqueName("vol");
      await cli.ok("volume", "create", volume);
      expect(await cli.ok("inspect", "-f", "{{.Driver}}", volume)).toBe("local");
      expect(await cli.ok("inspect", "-f", "{{.Os}}", "busybox")).toBe("linux");
      expect(await cli.ok("inspect", "--type", "image", "-f", "{{.Os}}", "busybox")).toBe("linux");
      expect(await cli.fails("inspect", "--type", "container", "busybox")).toMatch(/no such/i);
      await cli.ok("volume", "rm", volume);
    });

    test("-s adds the sizes", async () => {
      const container = uniqueName();
      await cli.ok(
        "run",
        "--name",
        container,
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/f",
        "bs=1k",
        "count=64",
      );
      const document: unknown = JSON.parse(await cli.ok("inspect", "-s", container));
      expect(numberAt(document, 0, "SizeRw")).toBeGreaterThanOrEqual(65_536);
      expect(numberAt(document, 0, "SizeRootFs")).toBeGreaterThan(numberAt(document, 0, "SizeRw"));
    });

    test("of what is not there fails, and the rest is printed", async () => {
      const result = await cli.run(["inspect", "no-such", "busybox"]);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toMatch(/No such object: no-such/i);
      expect(JSON.parse(result.stdout)).toHaveLength(1);
    });
  });
}

describe("inspect by API", () => {
  test("tells what create was told", async () => {
    const HostConfig = {
      Memory: 67_108_864,
      NanoCpus: 500_000_000,
      PidsLimit: 20,
      Binds: ["/tmp:/mnt:ro"],
      CapAdd: ["NET_ADMIN"],
      RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
      ReadonlyRootfs: true,
      Dns: ["9.9.9.9"],
      ExtraHosts: ["a:1.2.3.4"],
    };
    const container = uniqueName();
    const created = await engine.api("POST", `/containers/create?name=${container}`, {
      Image: "busybox",
      Cmd: ["sh", "-c", "true"],
      Env: ["K=v"],
      User: "app",
      HostConfig,
    });
    expect(created.status).toBe(201);
    const document = await engine.inspect(container);
    expect(at(document, "HostConfig")).toMatchObject({ ...HostConfig, NetworkMode: "bridge" });
    expect(at(document, "Config")).toMatchObject({ Image: "busybox", User: "app" });
    expect(at(document, "Config", "Env")).toContain("K=v");
    expect(document).toMatchObject({ Path: "sh", Args: ["-c", "true"], Platform: "linux" });
    expect(at(document, "HostConfig", "CapAdd")).toBeDefined();
  });

  test("a running container has pid, times, log path and addresses", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] });
    const document = await engine.inspect(id);
    expect(numberAt(document, "State", "Pid")).toBeGreaterThan(0);
    expect(textAt(document, "State", "StartedAt")).toMatch(/^20\d\d-.*Z$/);
    expect(textAt(document, "State", "FinishedAt")).toBe("0001-01-01T00:00:00Z");
    expect(textAt(document, "LogPath")).toContain(id);
    const network = at(document, "NetworkSettings", "Networks", "bridge");
    expect(textAt(network, "IPAddress")).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(textAt(network, "MacAddress")).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    for (const key of ["ResolvConfPath", "HostnamePath", "HostsPath"]) {
      expect(textAt(document, key)).toContain(id);
    }
  });

  test("defaults are Docker's", async () => {
    const created = await engine.api("POST", "/containers/create", { Image: "busybox" });
    const document = await engine.inspect(textAt(created.json, "Id"));
    expect(at(document, "HostConfig")).toMatchObject({
      NetworkMode: "bridge",
      RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
      LogConfig: { Type: "json-file" },
      ShmSize: 67_108_864,
      IpcMode: "private",
      Privileged: false,
      AutoRemove: false,
    });
    expect(at(document, "HostConfig", "MaskedPaths")).toContain("/proc/kcore");
    expect(at(document, "HostConfig", "ReadonlyPaths")).toContain("/proc/sys");
    expect(textAt(document, "Name")).toMatch(/^\/[a-z]+_[a-z]+\d*$/);
    expect(at(document, "State")).toMatchObject({ Status: "created", ExitCode: 0, Pid: 0 });
  });

  test("an unknown container is 404", async () => {
    const answer = await engine.api("GET", "/containers/no-such/json");
    expect(answer.status).toBe(404);
    expect(answer.message).toBe("No such container: no-such");
  });
});
