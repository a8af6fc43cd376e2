import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Certificates, makeCertificates } from "../../test/support/docker-registry.ts";
import { createLogger, silentLogger } from "../lib/log.ts";
import { digestOf } from "../oci/digest.ts";
import { openRoot } from "./_root.ts";
import { readTls } from "./_tls-files.ts";
import { parseServe } from "./config.ts";
import { type ServingRegistry, serveRegistry } from "./serve.ts";

let folder = "";
let own: Certificates;
let other: Certificates;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tug-serve-"));
  own = await makeCertificates(folder);
  const elsewhere = mkdtempSync(join(folder, "other-"));
  other = await makeCertificates(elsewhere);
  writeFileSync(at("words"), "words");
});
afterAll(() => rmSync(folder, { recursive: true }));

async function serve(...args: readonly string[]): Promise<ServingRegistry> {
  const parsed = parseServe(["--root", at("root"), "-l", "127.0.0.1:0", ...args]);
  if (parsed.action === "help") throw new Error("no help was asked for");
  return await serveRegistry(parsed.config, { logger: silentLogger });
}

describe("a registry that cannot start says why, and what to change", () => {
  test("a root that is no directory", async () => {
    await expect(serve("--root", at("words"))).rejects.toThrow(
      `--root ${at("words")}: not a directory`,
    );
    await expect(serve("--root", at("words/below"))).rejects.toThrow("not a directory");
    await expect(serve("--root", "/proc/none")).rejects.toThrow("--root /proc/none: ENOENT");
  });

  test("an address that another has", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    const address = taken.address();
    const port = typeof address === "object" ? address?.port : undefined;
    await expect(serve("-l", `127.0.0.1:${port}`)).rejects.toThrow(
      `listen on 127.0.0.1:${port}: another process listens there`,
    );
    taken.close();
    await expect(serve("-l", "192.0.2.1:1", "--insecure")).rejects.toThrow(
      "listen on 192.0.2.1:1: this machine has no such address",
    );
    // What was begun is undone: the root is free again.
    await (await serve()).stop();
  });

  test("files of TLS that are no good, by their names", async () => {
    const tls = async (certPath: string, keyPath: string, ...more: string[]): Promise<unknown> =>
      await serve("--tls-cert", certPath, "--tls-key", keyPath, ...more);
    const { certificatePath: cert, keyPath: key } = own;
    await expect(tls(at("words"), key)).rejects.toThrow(`--tls-cert ${at("words")}: no certi`);
    await expect(tls(cert, at("words"))).rejects.toThrow(
      `--tls-key ${at("words")}: no private key`,
    );
    await expect(tls(cert, other.keyPath)).rejects.toThrow(
      `--tls-key ${other.keyPath}: not the key of the certificate in ${cert}`,
    );
    const ca = ["--tls-ca", at("words")];
    await expect(tls(cert, key, ...ca)).rejects.toThrow(`--tls-ca ${at("words")}: no certi`);
    await expect(tls(cert, at("none"))).rejects.toThrow(at("none"));
  });
});

test("a certificate that has expired is told of", () => {
  const lines: string[] = [];
  const logger = createLogger({
    level: () => "info",
    format: "text",
    write: (line) => lines.push(line),
  });
  const paths = { certPath: own.certificatePath, keyPath: own.keyPath, caPath: undefined };
  readTls(paths, { logger });
  expect(lines).toEqual([]);
  readTls(paths, { logger, nowMs: Date.now() + 3 * 24 * 3_600_000 });
  expect(lines.join()).toContain("the certificate has expired");
});

test("a collection where no registry is makes none", async () => {
  const root = at("mistyped");
  const opened = openRoot(root, { logger: silentLogger, mustExist: true });
  await expect(opened).rejects.toThrow(`--root ${root}: no registry has its data there`);
  expect(existsSync(root)).toBe(false);
});

test("garbage is collected as soon after a start as a hold ends, not a whole interval later", async () => {
  const times = ["--gc-interval", "24h", "--gc-grace", "500ms"];
  const urlOf = ({ addresses }: ServingRegistry): string =>
    `http://127.0.0.1:${addresses[0]?.port}/v2/a/blobs/`;
  const before = await serve(...times);
  const digest = digestOf("loose");
  const pushed = await fetch(`${urlOf(before)}uploads/?digest=${digest}`, {
    method: "POST",
    body: "loose",
  });
  expect(pushed.status).toBe(201);
  await before.stop();
  const after = await serve(...times);
  const endMs = performance.now() + 4_000;
  const file = join(at("root"), "content/blobs/sha256", digest.slice("sha256:".length));
  expect(existsSync(file)).toBe(true);
  while (existsSync(file) && performance.now() < endMs) await Bun.sleep(20);
  expect(existsSync(file)).toBe(false);
  await after.stop();
});
