import { describe, expect, test } from "bun:test";
import { isLoopback, parseAddress, parseGc, parseServe, type ServeConfig } from "./config.ts";
import { commandHelp, registryHelp } from "./help.ts";
import { serveFlags } from "./options.ts";

function configOf(...args: readonly string[]): ServeConfig {
  const parsed = parseServe(args);
  if (parsed.action !== "run") throw new Error("help was not asked for");
  return parsed.config;
}

describe("addresses", () => {
  test.each([
    ["127.0.0.1:5000", { host: "127.0.0.1", port: 5000 }, true],
    ["localhost:0", { host: "localhost", port: 0 }, true],
    ["[::1]:5000", { host: "::1", port: 5000 }, true],
    ["127.9.9.9:1", { host: "127.9.9.9", port: 1 }, true],
    [":5000", { host: "::", port: 5000 }, false],
    ["0.0.0.0:5000", { host: "0.0.0.0", port: 5000 }, false],
    ["registry.example:443", { host: "registry.example", port: 443 }, false],
    ["127.0.0.1.evil.example:443", { host: "127.0.0.1.evil.example", port: 443 }, false],
    ["[::ffff:127.0.0.1]:1", { host: "::ffff:127.0.0.1", port: 1 }, false],
  ])("%p is read", (text, address, isLocal) => {
    expect(parseAddress(text)).toEqual(address);
    expect(isLoopback(address)).toBe(isLocal);
  });

  test.each(["", "5000", "host", "host:", "host:x", "host:65536", "::1:5000", "[x]:1", "a b:1"])(
    "%p is none",
    (text) => expect(() => parseAddress(text)).toThrow("HOST:PORT"),
  );
});

describe("tug registry serve", () => {
  test("listens on loopback alone when nothing is said", () => {
    expect(configOf()).toMatchObject({
      root: "/var/lib/tug-registry",
      listen: [{ host: "127.0.0.1", port: 5000 }],
      isDeleteAllowed: true,
      isReadOnly: false,
      graceMs: 3_600_000,
      gcIntervalMs: 86_400_000,
      hasAccessLog: true,
    });
  });

  test("takes sizes, durations and addresses", () => {
    expect(
      configOf(
        ...["--root", "/data", "--addr", "localhost:1", "-l", "[::1]:2", "--quota", "10g"],
        ...["--repository-quota=1m", "--gc-interval", "0", "--gc-grace", "90s", "--delete=false"],
        ...["--read-only", "--proxy", "http://other:5000", "--access-log=false"],
      ),
    ).toMatchObject({
      root: "/data",
      listen: [
        { host: "localhost", port: 1 },
        { host: "::1", port: 2 },
      ],
      quotaBytes: 10 * 1024 ** 3,
      repositoryQuotaBytes: 1024 ** 2,
      gcIntervalMs: 0,
      graceMs: 90_000,
      isDeleteAllowed: false,
      isReadOnly: true,
      hasAccessLog: false,
      proxy: { expiryMs: 168 * 3_600_000 },
    });
  });

  const tls = ["--tls-cert", "c", "--tls-key", "k"];
  const users = ["--htpasswd", "u"];
  test.each([
    [["-l", "0.0.0.0:1"], "wants TLS (--tls-cert, --tls-key) and authentication"],
    [["-l", ":1", ...tls], "wants authentication"],
    [["-l", "[::]:1", ...users], "wants TLS"],
    [["--metrics-addr", "0.0.0.0:1", ...tls, ...users], "--metrics-addr"],
    [["--tls-cert", "c"], "both"],
    [["--tls-ca", "a"], "both"],
    [["--token-key", "k"], "--htpasswd"],
    [["--token-cert", "k"], "--token-realm"],
    [["--token-realm", "http://x"], "--token-key or --token-cert"],
    [["--token-cert", "k", "--token-realm", "x y"], "no URL"],
    [["--token-key", "k", ...users, "--token-service", 'a"b'], "quotes"],
    [["--access", "f"], "everybody may do everything"],
    [["--anonymous-pull"], "everybody may do everything"],
    [["--proxy", "other:5000"], "http(s)://"],
    [["--proxy", "http://u:p@other"], "http(s)://"],
    [["--proxy", "http://other/path"], "http(s)://"],
    [["--proxy", "file:///x"], "http(s)://"],
    [["--proxy-username", "u"], "--proxy is missing"],
    [["--proxy", "http://o", "--proxy-username", "u"], "go together"],
    [["--quota", "much"], "--quota: invalid size: 'much'"],
    [["--quota", "5x"], "--quota: invalid suffix: 'x'"],
    [["--repository-quota", "0"], "--read-only says that"],
    [["--gc-grace", "-1s"], "less than nothing"],
    [["--gc-interval", "soon"], '--gc-interval: time: invalid duration "soon"'],
    [["--upload-expiry", "5"], '--upload-expiry: time: missing unit in duration "5"'],
    [["--log-level", "loud"], "debug"],
    [["--nonsense"], "unknown flag: --nonsense"],
    [["extra"], 'unexpected argument: "extra"'],
  ])("%p is refused", (args, sentence) => {
    expect(() => parseServe(args)).toThrow(sentence);
  });

  test.each([
    [["-l", "0.0.0.0:1", "--insecure"]],
    [["-l", "0.0.0.0:1", ...tls, ...users]],
    [["-l", "0.0.0.0:1", ...tls, "--tls-ca", "a"]],
    [["-l", "0.0.0.0:1", ...tls, "--token-cert", "c", "--token-realm", "https://x/token"]],
  ])("%p may be reached from elsewhere", (args) => {
    expect(parseServe(args).action).toBe("run");
  });
});

test("every flag is in the help, and help is no failure", () => {
  expect(parseServe(["--help"])).toEqual({ action: "help" });
  expect(parseGc(["-h"])).toEqual({ action: "help" });
  const text = commandHelp({ usage: "serve [OPTIONS]", help: "Serve a registry." }, serveFlags);
  for (const { name, isHidden } of serveFlags) {
    if (isHidden !== true) expect(text).toContain(`--${name}`);
  }
  expect(registryHelp()).toContain("tug registry COMMAND");
});
