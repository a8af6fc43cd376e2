import { describe, expect, test } from "bun:test";
import { isKind } from "../lib/errors.ts";
import { routes } from "./route-table.ts";
import { adaptResponse, versionRules } from "./version-rules.ts";
import { compareVersions, negotiateVersion } from "./versions.ts";

describe("compareVersions()", () => {
  test.each([
    ["1.24", "1.24", 0],
    ["1.043", "1.43", 0],
    ["1.43.0", "1.43", 0],
    ["1.9", "1.10", -1],
    ["2", "1.51", 1],
    ["1.51.1", "1.51", 1],
    ["1.", "1.0", 0],
  ])("%s and %s", (left, right, order) => {
    expect(Math.sign(compareVersions(left, right))).toBe(order);
    expect(Math.sign(compareVersions(right, left))).toBe(order === 0 ? 0 : -order);
  });
});

describe("negotiateVersion()", () => {
  test("no version is the newest", () => {
    expect(negotiateVersion(undefined)).toBe("1.51");
  });
  test.each(["1.24", "1.51", "1.043"])("%s is served", (version) => {
    expect(negotiateVersion(version)).toBe(version);
  });
  const tooNew = "is too new. Maximum supported API version is 1.51";
  const tooOld =
    "is too old. Minimum supported API version is 1.24, " +
    "please upgrade your client to a newer version";
  test.each([
    ["1.52", tooNew],
    ["2", tooNew],
    ["1.23", tooOld],
    ["1", tooOld],
    ["...", tooOld],
  ])("%s is refused in Docker's words", (version, words) => {
    try {
      negotiateVersion(version);
      expect.unreachable();
    } catch (error) {
      expect(isKind(error, "invalid-argument")).toBe(true);
      expect(error).toHaveProperty("message", `client version ${version} ${words}`);
    }
  });
});

describe("adaptResponse()", () => {
  const image = {
    Id: "i",
    Size: 5,
    Containers: 2,
    RepoTags: [],
    RepoDigests: ["a@b"],
    Descriptor: {},
    Manifests: [],
  };

  test("the newest version is the answer itself", () => {
    const body = [image];
    expect(adaptResponse("ImageList", body, "1.51")).toBe(body);
  });
  test.each([
    [
      "1.50",
      {
        Id: "i",
        Size: 5,
        Containers: -1,
        RepoTags: [],
        RepoDigests: ["a@b"],
        Descriptor: {},
        Manifests: [],
      },
    ],
    [
      "1.47",
      { Id: "i", Size: 5, Containers: -1, RepoTags: [], RepoDigests: ["a@b"], Manifests: [] },
    ],
    ["1.44", { Id: "i", Size: 5, Containers: -1, RepoTags: [], RepoDigests: ["a@b"] }],
    [
      "1.43",
      { Id: "i", Size: 5, Containers: -1, RepoTags: [], RepoDigests: ["a@b"], VirtualSize: 5 },
    ],
    [
      "1.24",
      {
        Id: "i",
        Size: 5,
        Containers: -1,
        RepoTags: null,
        RepoDigests: ["a@b"],
        VirtualSize: 5,
      },
    ],
  ])("a listed image in %s", (version, older) => {
    expect(adaptResponse("ImageList", [image], version)).toEqual([older]);
    expect(image.Containers).toBe(2);
  });

  test("an image without names in 1.42", () => {
    const nameless = { RepoTags: [], RepoDigests: [] };
    expect(adaptResponse("ImageList", [nameless], "1.42")).toMatchObject([
      { RepoTags: ["<none>:<none>"], RepoDigests: ["<none>@<none>"] },
    ]);
    const tagged = { RepoTags: ["a:1"], RepoDigests: [] };
    expect(adaptResponse("ImageList", [tagged], "1.42")).toMatchObject([
      { RepoTags: ["a:1"], RepoDigests: null },
    ]);
  });

  test("information about the engine in older versions", () => {
    const info = {
      RuncCommit: { ID: "r" },
      InitCommit: { ID: "n" },
      FirewallBackend: {},
      RegistryConfig: { Mirrors: null },
      Containerd: {},
    };
    expect(adaptResponse("SystemInfo", info, "1.49")).toEqual({
      ...info,
      BridgeNfIptables: true,
      BridgeNfIp6tables: true,
    });
    expect(adaptResponse("SystemInfo", info, "1.41")).toEqual({
      RuncCommit: { ID: "r", Expected: "r" },
      InitCommit: { ID: "n", Expected: "n" },
      RegistryConfig: {
        Mirrors: null,
        AllowNondistributableArtifactsCIDRs: null,
        AllowNondistributableArtifactsHostnames: null,
      },
      BridgeNfIptables: true,
      BridgeNfIp6tables: true,
      KernelMemory: false,
    });
  });

  test("an image in older versions carries the fields of a container", () => {
    const body = { Size: 5, Config: { Cmd: ["a"], Labels: null } };
    const old = adaptResponse("ImageInspect", body, "1.43");
    expect(old).toMatchObject({
      VirtualSize: 5,
      Config: { Cmd: ["a"], Hostname: "", AttachStdin: false, Image: "" },
      ContainerConfig: { Hostname: "", Cmd: null },
    });
    expect(adaptResponse("ImageInspect", { Config: null }, "1.49")).toEqual({ Config: null });
  });

  test("bodies of other shapes and other routes pass unharmed", () => {
    for (const body of [null, "x", 5, [], [null], {}]) {
      expect(adaptResponse("VolumeList", body, "1.24")).toEqual(body);
    }
    expect(adaptResponse("ImageList", [null, "x"], "1.24")).toEqual([null, "x"]);
  });

  test("every rule is for a route of the table and for some version", () => {
    const names = new Set<string>(routes.map((route) => route.name));
    for (const rule of versionRules) {
      expect(names.has(rule.route)).toBe(true);
      expect(rule.until ?? rule.since).toBeDefined();
    }
  });
});
