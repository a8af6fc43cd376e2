import { describe, expect, test } from "bun:test";
import { EngineError } from "../../lib/errors.ts";
import {
  decodeContainerCreate,
  decodeContainerUpdate,
  emptyContainerConfig,
  emptyHostConfig,
} from "./decode-container.ts";

const create = (body: unknown) =>
  decodeContainerCreate(
    new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body)),
  );

function refusal(body: unknown): string {
  try {
    create(body);
  } catch (error) {
    if (error instanceof EngineError && error.kind === "invalid-argument") return error.message;
    throw error;
  }
  return "accepted";
}

// What `docker run -it --rm -p 8080:80 -v data:/d --mount … busybox sh` sends, API 1.51.
const cliBody = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: true,
  AttachStdout: true,
  AttachStderr: true,
  ExposedPorts: { "80/tcp": {} },
  Tty: true,
  OpenStdin: true,
  StdinOnce: true,
  Env: null,
  Cmd: ["sh"],
  Image: "busybox",
  Volumes: {},
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: {},
  HostConfig: {
    Binds: ["data:/d"],
    ContainerIDFile: "",
    LogConfig: { Type: "", Config: {} },
    NetworkMode: "default",
    PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] },
    RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
    AutoRemove: true,
    ConsoleSize: [24, 80],
    CapAdd: null,
    Dns: [],
    BlkioWeightDevice: [],
    Devices: [],
    MemorySwappiness: -1,
    OomKillDisable: false,
    PidsLimit: 0,
    Ulimits: null,
    Mounts: [{ Type: "tmpfs", Target: "/t", TmpfsOptions: { SizeBytes: 4096, Mode: 0o1777 } }],
    MaskedPaths: null,
    ReadonlyPaths: null,
  },
  NetworkingConfig: { EndpointsConfig: { default: { IPAMConfig: null, Aliases: ["a"] } } },
};

describe("decodeContainerCreate()", () => {
  test("reads what the docker command line sends", () => {
    const { config, hostConfig, networkingConfig } = create(cliBody);
    expect(config).toMatchObject({
      Image: "busybox",
      Cmd: ["sh"],
      ExposedPorts: { "80/tcp": {} },
      Volumes: {},
      Tty: true,
    });
    expect(hostConfig).toMatchObject({
      PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "8080" }] },
      ConsoleSize: [24, 80],
      MemorySwappiness: -1,
      PidsLimit: 0,
      MaskedPaths: null,
      Mounts: [{ Type: "tmpfs", Target: "/t", TmpfsOptions: { SizeBytes: 4096, Mode: 0o1777 } }],
    });
    expect(networkingConfig.EndpointsConfig?.["default"]).toMatchObject({
      IPAMConfig: null,
      Aliases: ["a"],
      GwPriority: 0,
    });
  });

  test("fills a short body up with zero values", () => {
    const options = create({ Image: "x" });
    expect(options.config).toEqual({ ...emptyContainerConfig(), Image: "x" });
    expect(options.hostConfig).toEqual(emptyHostConfig());
    expect(options.networkingConfig).toEqual({ EndpointsConfig: null });
  });

  test("prints zero halves as Go prints them", () => {
    expect(JSON.parse(JSON.stringify(emptyContainerConfig()))).toEqual({
      Hostname: "",
      Domainname: "",
      User: "",
      AttachStdin: false,
      AttachStdout: false,
      AttachStderr: false,
      Tty: false,
      OpenStdin: false,
      StdinOnce: false,
      Env: null,
      Cmd: null,
      Image: "",
      Volumes: null,
      WorkingDir: "",
      Entrypoint: null,
      OnBuild: null,
      Labels: null,
    });
    const host = emptyHostConfig();
    expect(host.MemorySwappiness).toBeNull();
    expect(host.ConsoleSize).toEqual([0, 0]);
    for (const left of ["Init", "Runtime", "Mounts", "Tmpfs", "Sysctls", "Annotations"]) {
      expect(left in host).toBe(false);
    }
  });

  test("accepts commands written as one string", () => {
    const { config, hostConfig } = create({
      Image: "x",
      Cmd: "a b",
      Entrypoint: "e",
      Shell: "s",
      HostConfig: { CapAdd: "SYS_ADMIN" },
    });
    expect([config.Cmd, config.Entrypoint, config.Shell]).toEqual([["a b"], ["e"], ["s"]]);
    expect(hostConfig.CapAdd).toEqual(["SYS_ADMIN"]);
  });

  test("accepts ten thousand environment variables", () => {
    const Env = Array.from({ length: 10_000 }, (_, index) => `NAME_${index}=${"v".repeat(100)}`);
    expect(create({ Image: "x", Env }).config.Env).toEqual(Env);
  });

  test.each([
    [
      [1, 2, 3],
      [1, 2],
    ],
    [[1], [1, 0]],
    [null, [0, 0]],
  ])("reads the console size %p as Go reads two integers", (given, size) => {
    expect(
      create({ Image: "x", HostConfig: { ConsoleSize: given } }).hostConfig.ConsoleSize,
    ).toEqual(size as [number, number]);
  });

  const go = "invalid JSON: json: cannot unmarshal";
  test.each([
    ["", "invalid JSON: got EOF while reading request body"],
    ["null", "config cannot be empty in order to create a container"],
    ["{}", "config cannot be empty in order to create a container"],
    ['{"HostConfig":{}}', "config cannot be empty in order to create a container"],
    ["[]", `${go} array into Go value of type container.CreateRequest`],
    ['{"Env":"x"}', `${go} string into Go struct field CreateRequest.Env of type []string`],
    [
      '{"StopTimeout":1.5}',
      `${go} number 1.5 into Go struct field CreateRequest.StopTimeout of type int`,
    ],
    [
      '{"HostConfig":[]}',
      `${go} array into Go struct field CreateRequest.HostConfig of type container.HostConfig`,
    ],
    [
      '{"HostConfig":{"Memory":"x"}}',
      `${go} string into Go struct field CreateRequest.HostConfig.Memory of type int64`,
    ],
    [
      '{"HostConfig":{"BlkioWeight":99999}}',
      `${go} number 99999 into Go struct field CreateRequest.HostConfig.BlkioWeight of type uint16`,
    ],
    [
      '{"HostConfig":{"ConsoleSize":[-1,2]}}',
      `${go} number -1 into Go struct field CreateRequest.HostConfig.ConsoleSize.0 of type uint`,
    ],
    [
      '{"HostConfig":{"PortBindings":{"80/tcp":{}}}}',
      `${go} object into Go struct field CreateRequest.HostConfig.PortBindings.80/tcp of type []nat.PortBinding`,
    ],
    [
      '{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}',
      `${go} number into Go struct field CreateRequest.HostConfig.PortBindings.80/tcp.0.HostPort of type string`,
    ],
    [
      '{"HostConfig":{"Mounts":[{"Type":1}]}}',
      `${go} number into Go struct field CreateRequest.HostConfig.Mounts.0.Type of type mount.Type`,
    ],
    [
      '{"Healthcheck":{"Interval":"3s"}}',
      `${go} string into Go struct field CreateRequest.Healthcheck.Interval of type time.Duration`,
    ],
    [
      '{"ExposedPorts":["80"]}',
      `${go} array into Go struct field CreateRequest.ExposedPorts of type nat.PortSet`,
    ],
    [
      '{"NetworkingConfig":{"EndpointsConfig":{"a":{"IPAMConfig":{"IPv4Address":3}}}}}',
      `${go} number into Go struct field CreateRequest.NetworkingConfig.EndpointsConfig.a.IPAMConfig.IPv4Address of type string`,
    ],
  ])("refuses %s", (body, message) => {
    expect(refusal(body)).toBe(message);
  });
});

test("decodeContainerUpdate() keeps only what was given", () => {
  const bytes = new TextEncoder().encode(
    '{"memory":5,"RestartPolicy":{"Name":"no"},"Ulimits":null}',
  );
  expect(decodeContainerUpdate(bytes)).toEqual({
    Memory: 5,
    RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
  });
  expect(decodeContainerUpdate(new Uint8Array())).toEqual({});
});
