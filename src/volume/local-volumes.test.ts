import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventMessage } from "../api/system.ts";
import type { EventBus } from "../event/event-bus.ts";
import { createEventBus } from "../event/journal-event-bus.ts";
import { silentLogger } from "../lib/log.ts";
import type { Metadata } from "../metadata/metadata.ts";
import { openMetadata } from "../metadata/sqlite-metadata.ts";
import { bindMount, isMountPoint } from "../sys/mount/mount.ts";
import { unmountBelow } from "./_volume-files.ts";
import { openVolumes } from "./local-volumes.ts";
import type { VolumeService } from "./volume-service.ts";

const isRoot = process.getuid?.() === 0;
let home: string;
let root: string;
let metadata: Metadata;
let events: EventBus;
let volumes: VolumeService;

function open(): VolumeService {
  metadata = openMetadata({ path: join(home, "metadata.db"), logger: silentLogger });
  events = createEventBus();
  return openVolumes({ root, metadata, events, logger: silentLogger });
}
/** As after a crash: nothing that the first one knew in memory is left. */
function reopen(): void {
  metadata[Symbol.dispose]();
  volumes = open();
}
function named(name: string, values: readonly string[]): ReadonlyMap<string, readonly string[]> {
  return new Map([[name, values]]);
}
async function published(): Promise<readonly EventMessage[]> {
  const found: EventMessage[] = [];
  // Later than the clock of the bus, which is finer than this one.
  const until = BigInt(Date.now() + 10) * 1_000_000n;
  for await (const event of events.subscribe({ sinceNs: 0n, untilNs: until })) found.push(event);
  return found;
}
const container = { containerId: "c1", target: "/x", isReadOnly: false };

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "tug-volumes-"));
  root = join(home, "volumes");
  volumes = open();
});
afterEach(() => {
  metadata[Symbol.dispose]();
  if (isRoot) unmountBelow(root);
  rmSync(home, { recursive: true, force: true });
});

describe("create()", () => {
  test("makes the record and the directory", async () => {
    const volume = await volumes.create({ Name: "data", Labels: { a: "b" } });
    expect(volume).toEqual({
      CreatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      Driver: "local",
      Labels: { a: "b" },
      Mountpoint: join(root, "data/_data"),
      Name: "data",
      Options: null,
      Scope: "local",
    });
    expect(statSync(volume.Mountpoint).mode & 0o777).toBe(0o755);
    expect(await volumes.inspect("data")).toEqual(volume);
  });

  test("returns the one that is there, as it is", async () => {
    const first = await volumes.create({ Name: "data", Labels: { a: "b" } });
    expect(await volumes.create({ Name: "data", Labels: { a: "c" }, Driver: "local" })).toEqual(
      first,
    );
  });

  test("makes one volume for many who ask at once", async () => {
    const all = await Promise.all(
      Array.from({ length: 20 }, () => volumes.create({ Name: "data" })),
    );
    expect(new Set(all.map(({ CreatedAt }) => CreatedAt)).size).toBe(1);
    expect(await volumes.list()).toHaveLength(1);
    expect((await published()).map(({ Action }) => Action)).toEqual(["create"]);
  });

  test("names an anonymous one, and says so", async () => {
    const volume = await volumes.create({ Labels: { a: "b" } });
    expect(volume.Name).toMatch(/^[0-9a-f]{64}$/);
    expect(volume.Labels).toEqual({ a: "b", "com.docker.volume.anonymous": "" });
  });

  const characters =
    'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path';
  const refusals: readonly (readonly [object, string])[] = [
    [
      { Name: "a" },
      "create a: volume name is too short, names should be at least two alphanumeric characters",
    ],
    [{ Name: "a/b" }, `create a/b: "a/b" ${characters}`],
    [{ Name: "-ab" }, `create -ab: "-ab" ${characters}`],
    [{ Name: ".." }, `create ..: ".." ${characters}`],
    [{ Name: "a\nb" }, characters],
    [{ Name: "a".repeat(256) }, characters],
    [
      { Name: "ab", Driver: "foo" },
      'create ab: error looking up volume plugin foo: plugin "foo" not found',
    ],
    [{ Name: "ab", DriverOpts: { foo: "x" } }, 'create ab: invalid option: "foo"'],
    [{ Name: "ab", DriverOpts: { __proto__x: "x" } }, 'create ab: invalid option: "__proto__x"'],
    [{ Name: "ab", DriverOpts: { constructor: "x" } }, 'invalid option: "constructor"'],
    [{ Name: "ab", DriverOpts: { type: "tmpfs" } }, 'missing required option: "device"'],
    [{ Name: "ab", DriverOpts: { o: "size=5m" } }, 'missing required option: "device"'],
    [{ Name: "ab", DriverOpts: { device: "/x" } }, 'missing required option: "type"'],
    [{ Name: "ab", DriverOpts: { size: "5m" } }, "(a quota) is not implemented"],
    [
      { Name: "ab", DriverOpts: { type: "nfs", device: ":/x", o: "addr=h" } },
      'of type "nfs" are not',
    ],
    [{ Name: "ab", DriverOpts: { type: "none", device: "x", o: "bind" } }, "an absolute path"],
    [{ Name: "ab", DriverOpts: { type: "none", device: "/x", o: "bind,uid=5" } }, '"uid=5"'],
    [{ Name: "ab", ClusterVolumeSpec: {} }, "cluster volumes are not implemented"],
  ];
  for (const [request, message] of refusals) {
    test(`refuses ${JSON.stringify(request).slice(0, 60)}`, async () => {
      await expect(volumes.create(request)).rejects.toThrow(message);
      expect(readdirSync(root)).toEqual([]);
    });
  }
});

describe("list()", () => {
  beforeEach(async () => {
    await volumes.create({ Name: "web-a", Labels: { tier: "web" } });
    await volumes.create({ Name: "web-b", Labels: { tier: "db" } });
    await volumes.create({ Name: "other" });
    volumes.hold("web-a", "c1");
  });

  const rows: readonly (readonly [string, readonly string[], string])[] = [
    ["name", ["web"], "web-a,web-b"],
    ["name", ["eb-b"], "web-b"],
    ["name", ["^web-.$"], "web-a,web-b"],
    ["name", ["web-a", "other"], "other,web-a"],
    ["name", ["((("], ""],
    ["name", ["(a+)+$"], ""],
    ["label", ["tier"], "web-a,web-b"],
    ["label", ["tier=db"], "web-b"],
    ["label", ["tier", "tier=db"], "web-b"],
    ["driver", ["local"], "other,web-a,web-b"],
    ["driver", ["foo"], ""],
    ["dangling", ["true"], "other,web-b"],
    ["dangling", ["0"], "web-a"],
  ];
  for (const [filter, values, expected] of rows) {
    test(`with ${filter} ${values.join(" and ")}`, async () => {
      const found = await volumes.list(named(filter, values));
      expect(found.map(({ Name }) => Name).join()).toBe(expected);
    });
  }

  const refusals: readonly (readonly [string, readonly string[], string])[] = [
    ["foo", ["x"], "invalid filter 'foo'"],
    ["dangling", ["maybe"], "invalid filter 'dangling=[maybe]'"],
    ["dangling", ["true", "false"], "invalid filter 'dangling=[true false]'"],
  ];
  for (const [filter, values, message] of refusals) {
    test(`refuses ${filter}=${values}`, async () => {
      await expect(volumes.list(named(filter, values))).rejects.toThrow(message);
    });
  }
});

describe("remove()", () => {
  test("removes the record and the directory", async () => {
    const { Mountpoint } = await volumes.create({ Name: "data" });
    writeFileSync(join(Mountpoint, "file"), "x");
    await volumes.remove("data");
    expect(readdirSync(root)).toEqual([]);
    await expect(volumes.inspect("data")).rejects.toThrow("get data: no such volume");
    reopen();
    expect(volumes.find("data")).toBeUndefined();
  });

  test("refuses what is not there, unless forced", async () => {
    await expect(volumes.remove("nope")).rejects.toThrow("get nope: no such volume");
    await volumes.remove("nope", { force: true });
  });

  test("refuses while containers hold it, also when forced", async () => {
    await volumes.create({ Name: "data" });
    volumes.hold("data", "c1");
    volumes.hold("data", "c2");
    volumes.hold("data", "c1");
    const message = "remove data: volume is in use - [c1, c2]";
    await expect(volumes.remove("data")).rejects.toThrow(message);
    await expect(volumes.remove("data", { force: true })).rejects.toThrow(message);
    volumes.release("data", "c1");
    volumes.release("data", "c2");
    volumes.release("data", "unknown");
    await volumes.remove("data");
  });

  test("lets nobody take it while it goes", async () => {
    await volumes.create({ Name: "data" });
    const removal = volumes.remove("data");
    await Promise.resolve();
    expect(() => volumes.hold("data", "c1")).toThrow("get data: no such volume");
    const again = volumes.create({ Name: "data", Labels: { a: "new" } });
    await removal;
    expect((await again).Labels).toEqual({ a: "new" });
    expect(existsSync((await again).Mountpoint)).toBe(true);
  });

  test.skipIf(!isRoot)("takes nothing that is mounted below it (root)", async () => {
    const { Mountpoint } = await volumes.create({ Name: "data" });
    const outside = join(home, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "keep"), "x");
    mkdirSync(join(Mountpoint, "sub"));
    bindMount({ source: outside, target: join(Mountpoint, "sub") });
    await volumes.remove("data");
    expect(readFileSync(join(outside, "keep"), "utf8")).toBe("x");
    expect(readdirSync(root)).toEqual([]);
  });
});

describe("prune()", () => {
  test("takes dangling anonymous volumes, and tells the bytes", async () => {
    const anonymous = await volumes.create();
    const held = await volumes.create();
    await volumes.create({ Name: "named" });
    writeFileSync(join(anonymous.Mountpoint, "file"), "12345");
    volumes.hold(held.Name, "c1");
    const pruned = await volumes.prune();
    expect(pruned).toEqual({ VolumesDeleted: [anonymous.Name], SpaceReclaimed: 5 });
    expect((await volumes.list()).map(({ Name }) => Name).sort()).toEqual(
      [held.Name, "named"].sort(),
    );
    expect((await published()).at(-1)).toMatchObject({
      Action: "prune",
      Actor: { ID: "", Attributes: { reclaimed: "5" } },
    });
  });

  test("takes named ones with all, and heeds labels", async () => {
    await volumes.create({ Name: "keep", Labels: { keep: "" } });
    await volumes.create({ Name: "old", Labels: { tier: "db" } });
    const filters = new Map([
      ["all", ["true"]],
      ["label!", ["keep"]],
    ]);
    expect((await volumes.prune(filters)).VolumesDeleted).toEqual(["old"]);
    expect((await volumes.prune(named("label", ["keep"]))).VolumesDeleted).toEqual([]);
  });

  const refusals: readonly (readonly [string, readonly string[], string])[] = [
    ["foo", ["x"], "invalid filter 'foo'"],
    ["all", ["x"], `invalid filter 'all': strconv.ParseBool: parsing "x": invalid syntax`],
    ["all", ["1", "0"], "invalid filter 'all'"],
  ];
  for (const [filter, values, message] of refusals) {
    test(`refuses ${filter}=${values}`, async () => {
      await expect(volumes.prune(named(filter, values))).rejects.toThrow(message);
    });
  }
});

describe("populate()", () => {
  let source: string;
  beforeEach(async () => {
    source = join(home, "source");
    mkdirSync(source, { mode: 0o711 });
    writeFileSync(join(source, "file"), "content");
    symlinkSync("/etc", join(source, "link"));
    await volumes.create({ Name: "data" });
  });
  const path = (...names: readonly string[]): string => join(root, "data", ...names);

  test("copies the folder once, with its mode", async () => {
    expect(await volumes.populate("data", source)).toBe(true);
    expect(readFileSync(path("_data/file"), "utf8")).toBe("content");
    expect(readdirSync(path("_data"))).toEqual(["file", "link"]);
    expect(statSync(path("_data")).mode & 0o777).toBe(0o711);
    writeFileSync(path("_data/file"), "changed");
    expect(await volumes.populate("data", source)).toBe(false);
    expect(readFileSync(path("_data/file"), "utf8")).toBe("changed");
    expect(readdirSync(path())).toEqual(["_data"]);
  });

  test.skipIf(!isRoot)("keeps the owner, also of an empty folder (root)", async () => {
    const empty = join(home, "empty");
    mkdirSync(empty);
    chownSync(empty, 5, 6);
    expect(await volumes.populate("data", empty)).toBe(true);
    expect(statSync(path("_data"))).toMatchObject({ uid: 5, gid: 6 });
  });

  test("does nothing without a folder to copy", async () => {
    for (const name of ["file", "link", "missing"]) {
      expect(await volumes.populate("data", join(source, name))).toBe(false);
    }
    await expect(volumes.populate("nope", source)).rejects.toThrow("get nope: no such volume");
  });

  test("leaves nothing of a copy that a crash has cut off", async () => {
    mkdirSync(path("_populating/half"), { recursive: true });
    reopen();
    expect(await volumes.populate("data", source)).toBe(true);
    expect(readdirSync(path())).toEqual(["_data"]);
    expect(readdirSync(path("_data"))).toEqual(["file", "link"]);
  });

  test("fills in place what a running container has mounted", async () => {
    volumes.mount("data", container);
    const before = statSync(path("_data")).ino;
    expect(await volumes.populate("data", source)).toBe(true);
    expect(statSync(path("_data")).ino).toBe(before);
  });

  test("copies once for many who ask at once", async () => {
    const all = await Promise.all(
      Array.from({ length: 5 }, () => volumes.populate("data", source)),
    );
    expect(all.filter((isCopied) => isCopied)).toHaveLength(1);
  });
});

describe("mount()", () => {
  test("gives the directory, and tells of each container once", async () => {
    await volumes.create({ Name: "data" });
    const { path } = volumes.mount("data", container);
    expect(path).toBe(join(root, "data/_data"));
    volumes.mount("data", container);
    volumes.unmount("data", "c1");
    volumes.unmount("data", "c1");
    expect(() => volumes.mount("nope", container)).toThrow("get nope: no such volume");
    const told = (await published()).map(({ Action, Actor }) => [Action, Actor.Attributes]);
    expect(told).toEqual([
      ["create", { driver: "local" }],
      [
        "mount",
        {
          driver: "local",
          container: "c1",
          destination: "/x",
          propagation: "",
          "read/write": "true",
        },
      ],
      ["unmount", { driver: "local", container: "c1" }],
    ]);
  });

  test("makes a directory again that somebody removed", async () => {
    const { Mountpoint } = await volumes.create({ Name: "data" });
    rmSync(join(root, "data"), { recursive: true });
    volumes.mount("data", container);
    expect(existsSync(Mountpoint)).toBe(true);
  });

  test.skipIf(!isRoot)("mounts a tmpfs from the first container to the last (root)", async () => {
    const DriverOpts = { type: "tmpfs", device: "tmpfs", o: "size=1m,uid=5,nosuid" };
    const { Mountpoint } = await volumes.create({ Name: "data", DriverOpts });
    expect(isMountPoint(Mountpoint)).toBe(false);
    volumes.mount("data", container);
    volumes.mount("data", { ...container, containerId: "c2" });
    expect(isMountPoint(Mountpoint)).toBe(true);
    expect(statSync(Mountpoint).uid).toBe(5);
    volumes.unmount("data", "c1");
    expect(isMountPoint(Mountpoint)).toBe(true);
    volumes.unmount("data", "c2");
    expect(isMountPoint(Mountpoint)).toBe(false);
  });

  test.skipIf(!isRoot)("mounts it once, also after a restart of the daemon (root)", async () => {
    const DriverOpts = { type: "tmpfs", device: "tmpfs" };
    const { Mountpoint } = await volumes.create({ Name: "data", DriverOpts });
    volumes.mount("data", container);
    writeFileSync(join(Mountpoint, "file"), "x");
    reopen();
    volumes.hold("data", "c1");
    volumes.mount("data", container);
    expect(readdirSync(Mountpoint)).toEqual(["file"]);
    volumes.unmount("data", "c1");
    expect(isMountPoint(Mountpoint)).toBe(false);
  });

  test.skipIf(!isRoot)("binds a directory, whose files outlive the volume (root)", async () => {
    const device = join(home, "outside");
    mkdirSync(device);
    const DriverOpts = { type: "none", device, o: "bind" };
    const { Mountpoint } = await volumes.create({ Name: "data", DriverOpts });
    volumes.mount("data", container);
    writeFileSync(join(Mountpoint, "file"), "x");
    expect((await volumes.usage())[0]?.UsageData).toEqual({ Size: -1, RefCount: 0 });
    await volumes.remove("data");
    expect(readdirSync(device)).toEqual(["file"]);
  });

  test.skipIf(!isRoot)("says why the kernel refuses (root)", async () => {
    const DriverOpts = { type: "none", device: "/nonexist", o: "bind" };
    const { Mountpoint } = await volumes.create({ Name: "data", DriverOpts });
    expect(() => volumes.mount("data", container)).toThrow(
      `error while mounting volume '${Mountpoint}': failed to mount local volume: mount /nonexist:${Mountpoint}, flags: 0x1000: no such file or directory`,
    );
  });
});

describe("a new start", () => {
  test("knows the volumes, and not who held them", async () => {
    const volume = await volumes.create({ Name: "data", Labels: { a: "b" } });
    volumes.hold("data", "c1");
    reopen();
    expect(volumes.find("data")).toEqual(volume);
    expect(volumes.users("data")).toEqual([]);
  });

  test("adopts a directory without a record, with its options", async () => {
    mkdirSync(join(root, "lost/_data"), { recursive: true });
    writeFileSync(join(root, "lost/_data/file"), "x");
    mkdirSync(join(root, "opted/_data"), { recursive: true });
    writeFileSync(join(root, "opted/opts.json"), '{"type":"tmpfs","device":"tmpfs"}');
    mkdirSync(join(root, "broken/_data"), { recursive: true });
    writeFileSync(join(root, "broken/opts.json"), "{");
    mkdirSync(join(root, "no-volume"));
    mkdirSync(join(root, "not a name/_data"), { recursive: true });
    writeFileSync(join(root, "metadata.db"), "");
    reopen();
    expect((await volumes.list()).map(({ Name }) => Name)).toEqual(["broken", "lost", "opted"]);
    expect(volumes.find("opted")?.Options).toEqual({ type: "tmpfs", device: "tmpfs" });
    expect(readFileSync(join(root, "lost/_data/file"), "utf8")).toBe("x");
  });

  test("keeps the options of a volume in its directory", async () => {
    const DriverOpts = { type: "tmpfs", device: "tmpfs" };
    await volumes.create({ Name: "data", DriverOpts });
    expect(JSON.parse(readFileSync(join(root, "data/opts.json"), "utf8"))).toEqual(DriverOpts);
  });

  test("finishes a removal that a crash has cut off", async () => {
    await volumes.create({ Name: "data" });
    const record = { name: "data", createdAt: "x", labels: null, options: null, isRemoving: true };
    metadata[Symbol.dispose]();
    const other = openMetadata({ path: join(home, "metadata.db"), logger: silentLogger });
    other.table({ name: "volumes", decode: (document) => document }).put("data", record);
    other[Symbol.dispose]();
    volumes = open();
    expect(volumes.find("data")).toBeUndefined();
    await volumes.create({ Name: "data" });
    expect(existsSync(join(root, "data/_data"))).toBe(true);
    expect(await volumes.list()).toHaveLength(1);
  });

  test("makes a missing directory again, and starts in spite of a damaged one", async () => {
    await volumes.create({ Name: "gone" });
    await volumes.create({ Name: "damaged" });
    rmSync(join(root, "gone"), { recursive: true });
    rmSync(join(root, "damaged"), { recursive: true });
    writeFileSync(join(root, "damaged"), "a file");
    reopen();
    expect(existsSync(join(root, "gone/_data"))).toBe(true);
    expect(() => volumes.mount("damaged", container)).toThrow();
    await volumes.remove("damaged");
    expect((await volumes.list()).map(({ Name }) => Name)).toEqual(["gone"]);
  });
});

test("usage() counts bytes and holders, hard links once", async () => {
  const { Mountpoint } = await volumes.create({ Name: "data" });
  mkdirSync(join(Mountpoint, "sub"));
  writeFileSync(join(Mountpoint, "sub/file"), "12345");
  await Bun.$`ln ${join(Mountpoint, "sub/file")} ${join(Mountpoint, "twin")}`.quiet();
  volumes.hold("data", "c1");
  const [volume] = await volumes.usage();
  const { size } = statSync(join(Mountpoint, "sub"));
  expect(volume?.UsageData).toEqual({ Size: 5 + size, RefCount: 1 });
});
