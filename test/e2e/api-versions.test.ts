/** The Engine API over its versions: negotiation, refusals, and what is not there. */
import { describe, expect, test } from "bun:test";
import { clientNames } from "../support/clients.ts";
import { referenceHost } from "../support/engine.ts";
import { at, textAt } from "../support/json.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox"] });

describe("negotiation", () => {
  test("_ping tells the version, the system and the builder, by GET and HEAD", async () => {
    for (const method of ["GET", "HEAD"]) {
      const answer = await engine.api(method, "/_ping");
      expect(answer.status).toBe(200);
      expect(answer.text).toBe(method === "GET" ? "OK" : "");
      expect(answer.headers.get("api-version")).toBe("1.51");
      expect(answer.headers.get("ostype")).toBe("linux");
      expect(answer.headers.get("cache-control")).toContain("no-cache");
    }
    expect((await engine.api("GET", "/v1.40/_ping")).status).toBe(200);
  });

  test("every version from 1.24 to 1.51 is served", async () => {
    for (let minor = 24; minor <= 51; minor += 1) {
      const answer = await engine.api("GET", `/v1.${minor}/containers/json`);
      expect({ minor, status: answer.status }).toEqual({ minor, status: 200 });
    }
  });

  test("without a version the newest is served", async () => {
    const response = await fetch("http://engine/version", { unix: engine.socketPath });
    expect(at(await response.json(), "ApiVersion")).toBe("1.51");
  });

  test("a version that is too old or too new is refused in Docker's words", async () => {
    const old = await engine.api("GET", "/v1.23/info");
    expect(old.status).toBe(400);
    expect(old.text).toContain(
      "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
    );
    const fresh = await engine.api("GET", "/v1.99/info");
    expect(fresh.status).toBe(400);
    expect(fresh.message).toBe(
      "client version 1.99 is too new. Maximum supported API version is 1.51",
    );
  });

  test("version tells versions and the kernel", async () => {
    const { json } = await engine.api("GET", "/version");
    expect(json).toMatchObject({ ApiVersion: "1.51", MinAPIVersion: "1.24", Os: "linux" });
    expect(textAt(json, "Components", 0, "Name")).not.toBe("");
    expect(textAt(json, "KernelVersion")).toMatch(/^\d/);
  });

  test("info has the fields that its users read", async () => {
    const { json } = await engine.api("GET", "/info");
    for (const key of [
      ...["ID", "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped"],
      ...["Images", "Driver", "DriverStatus", "Plugins", "MemoryLimit", "CgroupDriver"],
      ...["CgroupVersion", "KernelVersion", "OperatingSystem", "OSType", "Architecture", "NCPU"],
      ...["MemTotal", "DockerRootDir", "Name", "ServerVersion", "Runtimes", "DefaultRuntime"],
      ...["Swarm", "LiveRestoreEnabled", "SecurityOptions", "LoggingDriver"],
    ]) {
      expect(Object.keys(json ?? {})).toContain(key);
    }
  });
});

describe("what is not there", () => {
  test("an unknown path is 404 in JSON", async () => {
    const answer = await engine.api("GET", "/no/such/path");
    expect(answer.status).toBe(404);
    expect(answer.message).toBe("page not found");
  });

  test("auth is answered, not accepted", async () => {
    const answer = await engine.api("POST", "/auth", {
      username: "u",
      password: "p",
      serveraddress: "https://127.0.0.1:1",
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.message).not.toBe("");
  });

  test.skipIf(referenceHost !== undefined)("what is planned is 501 and says so", async () => {
    for (const [method, path] of [
      ["POST", "/swarm/init"],
      ["GET", "/plugins"],
      ["GET", "/services"],
    ] as const) {
      const body = method === "POST" ? {} : undefined;
      const answer = await engine.api(method, path, body);
      expect({ path, status: answer.status }).toEqual({ path, status: 501 });
      expect(answer.message).not.toBe("");
    }
  });
});

describe("shapes by version", () => {
  test("an old list and an old inspect have what old clients read", async () => {
    const id = await engine.runDetached({ Image: "busybox", Cmd: ["sleep", "60"] });
    const list = await engine.api("GET", "/v1.24/containers/json");
    expect(at(list.json, 0, "NetworkSettings", "Networks", "bridge")).toBeDefined();
    const inspect = await engine.api("GET", `/v1.24/containers/${id}/json`);
    expect(at(inspect.json, "HostConfig", "NetworkMode")).toMatch(/default|bridge/);
    const wait = engine.api("POST", `/v1.24/containers/${id}/wait`);
    await engine.api("POST", `/v1.24/containers/${id}/kill`);
    expect((await wait).json).toMatchObject({ StatusCode: 137 });
  });

  test("start takes the old body that says nothing", async () => {
    const created = await engine.api("POST", "/v1.24/containers/create", {
      Image: "busybox",
      Cmd: ["true"],
    });
    const id = textAt(created.json, "Id");
    expect((await engine.api("POST", `/v1.24/containers/${id}/start`, {})).status).toBe(204);
  });
});

for (const name of clientNames) {
  const cli = engine.client(name);

  describe(`versions with ${name}`, () => {
    test("DOCKER_API_VERSION pins the version", async () => {
      for (const pinned of ["1.24", "1.40", "1.47"]) {
        const result = await cli.run(["version", "--format", "{{.Client.APIVersion}}"], {
          env: { DOCKER_API_VERSION: pinned },
        });
        expect(result.stdout.trim()).toBe(pinned);
        expect(result.exitCode).toBe(0);
      }
    });

    test("version and info are told", async () => {
      expect(await cli.ok("version")).toMatch(/API version/);
      expect(await cli.ok("info", "--format", "{{.OSType}}")).toBe("linux");
      const said = await cli.ok("info");
      const fields =
        /^ *(Containers|Running|Paused|Stopped|Images|Server Version|Storage Driver|Backing Filesystem|Logging Driver|Volume|Network|Kernel Version|Operating System|OSType|Architecture|CPUs|Total Memory):/gm;
      expect(said.match(fields)?.length).toBeGreaterThanOrEqual(16);
    });
  });
}
