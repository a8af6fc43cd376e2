import { describe, expect, test } from "bun:test";
import { parseConfigFile, parseDaemonCommand, resolveConfig } from "./config.ts";

const configOf = (...args: string[]) => resolveConfig(new Map(), parseDaemonCommand(args).given);

describe("parseDaemonCommand()", () => {
  test("takes flags as Docker's daemon does", () => {
    const config = configOf(
      "-H",
      "unix:///a.sock",
      "-H",
      "tcp://127.0.0.1:1",
      "-D",
      "--add-runtime",
      "x=/bin/x",
      "--label=a=b",
    );
    expect(config).toMatchObject({
      hosts: ["unix:///a.sock", "tcp://127.0.0.1:1"],
      logLevel: "debug",
      labels: ["a=b"],
    });
    expect(config.runtimes["x"]).toEqual({ path: "/bin/x", args: [] });
  });

  const refused: readonly (readonly [string[], RegExp])[] = [
    [["--nonsense"], /unknown flag: --nonsense/],
    [["stray"], /accepts no arguments, but got "stray"/],
    [["--data-root", "relative"], /absolute path/],
    [["--log-level", "loud"], /one of debug, info/],
    [["--mtu", "many"], /invalid syntax/],
    [["-H", "ftp://x"], /invalid host/],
    [["--default-runtime", "kata"], /default runtime 'kata' does not exist/],
    [["--storage-driver", "aufs"], /overlay2, vfs/],
  ];
  for (const [args, reason] of refused) {
    test(`refuses ${args.join(" ")}`, () => expect(() => configOf(...args)).toThrow(reason));
  }
});

describe("parseConfigFile()", () => {
  test("gives values by option", () => {
    const file = parseConfigFile(
      '{"live-restore": true, "runtimes": {"r": {"path": "/r", "runtimeArgs": ["-x"]}}}',
      "d.json",
    );
    const config = resolveConfig(file, new Map());
    expect(config.isLiveRestore).toBe(true);
    expect(config.runtimes["r"]).toEqual({ path: "/r", args: ["-x"] });
  });

  test("grants builds the host's network and no more, unless it is told otherwise", () => {
    const granted = (json: string): readonly string[] => [
      ...resolveConfig(parseConfigFile(json, "d.json"), new Map()).builderEntitlements,
    ];
    expect(granted("{}")).toEqual(["network.host", "device"]);
    expect(granted('{"builder-entitlements": []}')).toEqual([]);
    const docker =
      '{"builder": {"entitlements": {"security-insecure": true, "network-host": false}}}';
    expect(granted(docker)).toEqual(["device", "security.insecure"]);
    const flags = configOf("--builder-entitlement", "security.insecure");
    expect([...flags.builderEntitlements]).toEqual(["security.insecure"]);
    expect(() => granted('{"builder-entitlements": ["all"]}')).toThrow("one of network.host");
    expect(() => granted('{"builder": {"entitlements": {"all": true}}}')).toThrow('"all" is none');
    expect(() => granted('{"builder": {"gc": {}}}')).toThrow("builder.gc");
  });

  test("takes an empty file", () => expect(parseConfigFile(" \n", "d.json").size).toBe(0));

  const refused: readonly (readonly [string, RegExp])[] = [
    ["{ live-restore: true }", /d.json: line 1, column 3: this is not JSON: \{ live-restore/],
    ['{\n  "debug": true,\n}', /line 3, column 1/],
    ['{"a": [1, 2', /line 1, column 12/],
    ['{"debug": tru}', /line 1, column 11/],
    ['["debug"]', /the configuration is an object/],
    ['{"dbug": true}', /don't match any configuration option: dbug/],
    ['{"debug": "yes"}', /"debug" must be a boolean/],
    ['{"hosts": "unix:///x"}', /"hosts" must be a list of strings/],
    ['{"debug": true} x', /line 1, column 17/],
  ];
  for (const [text, reason] of refused) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseConfigFile(text, "d.json")).toThrow(reason);
    });
  }
});

test("resolveConfig() refuses an option given twice, as Docker does", () => {
  const file = parseConfigFile('{"debug": true}', "d.json");
  expect(() => resolveConfig(file, parseDaemonCommand(["--debug"]).given)).toThrow(
    /specified both as a flag and in the configuration file: debug: \(from flag: true, from file: true\)/,
  );
});

describe("registry options", () => {
  const fileOf = (document: object) =>
    resolveConfig(parseConfigFile(JSON.stringify(document), "d.json"), new Map()).registry;

  test("have Docker's defaults", () => {
    expect(fileOf({})).toMatchObject({
      mirrors: [],
      insecureRegistries: [],
      certsDirs: ["/etc/tug/certs.d", "/etc/docker/certs.d"],
      downloadsMax: 3,
      uploadsMax: 5,
      attemptsMax: 5,
    });
  });

  test("are read as Docker's are, proxies in their own object too", () => {
    const config = fileOf({
      "registry-mirrors": ["http://mirror:5000", "https://b/x/", "quay.io=http://q//"],
      "insecure-registries": ["10.0.0.0/8", "reg:5000", "http://other", "[::1]:5000"],
      "max-concurrent-downloads": 7,
      "max-concurrent-uploads": 0,
      "max-download-attempts": 2,
      proxies: { "http-proxy": "http://p:1", "no-proxy": "a,b" },
    });
    expect(config).toMatchObject({
      mirrors: ["http://mirror:5000/", "https://b/x/", "quay.io=http://q/"],
      insecureRegistries: ["10.0.0.0/8", "reg:5000", "other", "[::1]:5000"],
      downloadsMax: 7,
      uploadsMax: 5,
      attemptsMax: 2,
      httpProxy: "http://p:1",
      noProxy: "a,b",
    });
  });

  test("come by flags too", () => {
    const config = configOf(
      ...["--registry-mirror", "http://m", "--insecure-registry=a", "--insecure-registry=b"],
      ...["--max-concurrent-downloads=9", "--certs-dir", "/c", "--https-proxy=http://q"],
    );
    expect(config.registry).toMatchObject({
      mirrors: ["http://m/"],
      insecureRegistries: ["a", "b"],
      downloadsMax: 9,
      certsDirs: ["/c", "/etc/tug/certs.d", "/etc/docker/certs.d"],
      httpsProxy: "http://q",
    });
  });

  const refused: readonly (readonly [object, RegExp])[] = [
    [{ "registry-mirrors": ["mirror"] }, /no scheme specified for "mirror"/],
    [{ "registry-mirrors": ["http://u:p@m"] }, /username\/password not allowed/],
    [{ "registry-mirrors": ["quay.io=q"] }, /no scheme specified for "q"/],
    [{ "registry-mirrors": ["a b=http://q"] }, /"a b" is not the host of a registry/],
    [{ "registry-mirrors": ["http://m/?a"] }, /query or fragment/],
    [{ "insecure-registries": ["a b"] }, /insecure registry "a b" is not valid/],
    [{ "max-concurrent-downloads": -1 }, /invalid max concurrent downloads: -1/],
    [{ "max-download-attempts": 0 }, /invalid max download attempts: 0/],
    [{ proxies: { "ftp-proxy": "x" } }, /configuration option: proxies.ftp-proxy/],
    [{ proxies: "x" }, /configuration option: proxies/],
  ];
  for (const [document, reason] of refused) {
    test(`refuse ${JSON.stringify(document)}`, () => {
      expect(() => fileOf(document)).toThrow(reason);
    });
  }
});
