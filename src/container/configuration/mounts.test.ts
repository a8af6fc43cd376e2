import { describe, expect, test } from "bun:test";
import { createRequest } from "../test-stack.ts";
import { parseBind, parseMount, planMountWishes } from "./mounts.ts";
import type { StoredMount } from "../record/record.ts";

const volumeNameText =
  'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path';

describe("parseBind()", () => {
  const rows: readonly (readonly [string, Partial<StoredMount>])[] = [
    ["/tmp:/a", { type: "bind", source: "/tmp", target: "/a", mode: "", propagation: "rprivate" }],
    ["/tmp/:/a/", { source: "/tmp", target: "/a" }],
    ["/tmp:/a:ro", { isReadOnly: true, mode: "ro" }],
    ["/tmp:/a:rw,z", { isReadOnly: false, mode: "rw,z" }],
    ["/tmp:/a:rshared", { propagation: "rshared", isRecursive: true }],
    ["/tmp:/a:private", { propagation: "private", isRecursive: false }],
    ["data:/a", { type: "volume", volume: "data", mode: "z", propagation: "" }],
    ["data:/a:ro,nocopy", { volume: "data", isReadOnly: true, isCopyDisabled: true }],
    ["/a", { type: "volume", isAnonymous: true, target: "/a", mode: "" }],
    ["/tmp:/a/../b", { target: "/b" }],
  ];
  test.each([...rows])("reads %s", (text, expected) => {
    expect(parseBind(text, "")).toMatchObject(expected);
  });

  const refusals: readonly (readonly [string, string])[] = [
    ["", "invalid volume specification: ''"],
    [":/a", "invalid volume specification: ':/a'"],
    ["/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"],
    ["/foo:rw", "invalid volume specification: '/foo:rw'"],
    ["/tmp:/a:zz", "invalid mode: zz"],
    ["/tmp:/a:ro,rw", "invalid mode: ro,rw"],
    [
      "/nonexist/x:rel",
      "invalid volume specification: '/nonexist/x:rel': invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
    ],
    [
      "/tmp:/",
      "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    ],
    [
      "/tmp:/a/..",
      "invalid volume specification: '/tmp:/a/..': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    ],
    ["re/l:/a", `create re/l: "re/l" ${volumeNameText}`],
    [
      "a:/a",
      "create a: volume name is too short, names should be at least two alphanumeric characters",
    ],
    [
      "/tmp:/a:nocopy",
      "invalid volume specification: '/tmp:/a:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
    ],
    [
      "vol1:/a:rshared",
      "invalid volume specification: 'vol1:/a:rshared': invalid mount config for type \"volume\": field BindOptions must not be specified",
    ],
  ];
  test.each([...refusals])("refuses %j in Docker's words", (text, message) => {
    expect(() => parseBind(text, "")).toThrow(
      expect.objectContaining({ kind: "invalid-argument", message }),
    );
  });
});

describe("parseMount()", () => {
  const rows: readonly (readonly [Parameters<typeof parseMount>[0], Partial<StoredMount>])[] = [
    [
      { Type: "bind", Source: "/tmp", Target: "/a" },
      { type: "bind", mode: "", isRecursive: true },
    ],
    [
      { Type: "bind", Source: "/tmp", Target: "/a", BindOptions: { NonRecursive: true } },
      { isRecursive: false },
    ],
    [
      {
        Type: "bind",
        Source: "/nonexistent",
        Target: "/a",
        BindOptions: { CreateMountpoint: true },
      },
      { isSourceMade: true },
    ],
    [
      {
        Type: "bind",
        Source: "/tmp",
        Target: "/a",
        ReadOnly: true,
        BindOptions: { ReadOnlyForceRecursive: true },
      },
      { isReadOnly: true, readOnlyDepth: "forced" },
    ],
    [
      { Type: "volume", Target: "/a" },
      { type: "volume", isAnonymous: true, mode: "z" },
    ],
    [
      { Type: "volume", Source: "data", Target: "/a", VolumeOptions: { Subpath: "x/y" } },
      { volume: "data", subpath: "x/y" },
    ],
    [
      { Type: "tmpfs", Target: "/a", TmpfsOptions: { SizeBytes: 1000, Mode: 0o700 } },
      { type: "tmpfs", options: ["size=1000", "mode=700"] },
    ],
  ];
  test.each([...rows])("reads %j", (mount, expected) => {
    expect(parseMount(mount)).toMatchObject(expected);
  });

  const bind = { Type: "bind", Source: "/tmp", Target: "/a" };
  const refusals: readonly (readonly [Parameters<typeof parseMount>[0], string])[] = [
    [
      { ...bind, Source: "/nonex" },
      'invalid mount config for type "bind": bind source path does not exist: /nonex',
    ],
    [
      { ...bind, Source: "rel" },
      "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
    ],
    [
      { ...bind, Source: "" },
      'invalid mount config for type "bind": field Source must not be empty',
    ],
    [
      { ...bind, Target: "" },
      'invalid mount config for type "bind": field Target must not be empty',
    ],
    [
      { ...bind, Target: "a" },
      "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute",
    ],
    [
      { ...bind, Target: "/" },
      "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    ],
    [{ ...bind, Type: "foo" }, 'invalid mount config for type "foo": mount type unknown'],
    [{ ...bind, Type: "" }, 'invalid mount config for type "": mount type unknown'],
    [{ ...bind, Type: "volume" }, `create /tmp: "/tmp" ${volumeNameText}`],
    [
      { Type: "volume", Target: "/a", BindOptions: {} },
      'BindOptions must not be specified on mount type "volume"',
    ],
    [
      { Type: "tmpfs", Source: "v", Target: "/a" },
      'invalid mount config for type "tmpfs": field Source must not be specified',
    ],
    [
      { Type: "tmpfs", Target: "/a", TmpfsOptions: { Options: [["foo"]] } },
      'invalid mount config for type "tmpfs": invalid option: foo',
    ],
    [
      { ...bind, BindOptions: { Propagation: "x" } },
      'invalid mount config for type "bind": invalid propagation mode: x',
    ],
    [
      { Type: "volume", Source: "vv", Target: "/a", VolumeOptions: { Subpath: "../x" } },
      'invalid mount config for type "volume": subpath must be a relative path within the volume',
    ],
    [
      { Type: "volume", Target: "/a", VolumeOptions: { Subpath: "x" } },
      'invalid mount config for type "volume": must not set Subpath when using anonymous volumes',
    ],
    [{ Type: "npipe", Target: "/a" }, 'invalid mount config for type "npipe": mount type unknown'],
  ];
  test.each([...refusals])("refuses %j in Docker's words", (mount, message) => {
    expect(() => parseMount(mount)).toThrow(
      expect.objectContaining({ kind: "invalid-argument", message }),
    );
  });
});

describe("planMountWishes()", () => {
  const other = [parseBind("shared:/s", ""), parseBind("/tmp:/t", "")];
  const plan = (
    config: Parameters<typeof createRequest>[0],
    hostConfig: Parameters<typeof createRequest>[1],
  ) => planMountWishes({ ...createRequest(config, hostConfig), mountsOf: () => other });

  test("lets the stronger wish win, and refuses two of equal strength", () => {
    const wishes = plan(
      { Volumes: { "/a": {}, "/b": {}, "/s": {} } },
      { Binds: ["/tmp:/a"], VolumesFrom: ["other:ro"] },
    );
    expect(wishes.map(({ type, target, isReadOnly }) => [type, target, isReadOnly])).toEqual([
      ["volume", "/s", true],
      ["bind", "/t", true],
      ["bind", "/a", false],
      ["volume", "/b", false],
    ]);
    expect(() => plan({}, { Binds: ["/tmp:/a", "/var:/a/"] })).toThrow("Duplicate mount point: /a");
    expect(() => plan({}, { Binds: ["vv:/t"], Tmpfs: { "/t": "" } })).toThrow(
      "Duplicate mount point: /t",
    );
  });

  test("refuses bad --tmpfs and --volumes-from", () => {
    expect(() => plan({}, { Tmpfs: { rel: "" } })).toThrow(
      "invalid mount path: 'rel' mount path must be absolute",
    );
    expect(() => plan({}, { Tmpfs: { "/": "" } })).toThrow("destination can't be '/'");
    expect(() => plan({}, { VolumesFrom: [""] })).toThrow("cannot be an empty string");
    expect(() => plan({}, { VolumesFrom: ["x:xx"] })).toThrow("invalid mode: xx");
  });
});
