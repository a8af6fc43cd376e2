/** Debian's docker-registry on a loopback port, with a configuration and a folder of its own. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runOk, start, until } from "./process.ts";

/** How a registry is started. */
export interface DockerRegistryOptions {
  /** Who may speak to it; everybody when absent. */
  readonly htpasswd?: { readonly username: string; readonly password: string };
  /** With a certificate for 127.0.0.1 and localhost, signed by a CA of its own. */
  readonly tls?: boolean;
  /** Makes it a pull-through cache of another registry. */
  readonly proxy?: { readonly remoteUrl: string };
  /** Where it listens; a free port of 127.0.0.1 when absent. */
  readonly address?: string;
  /** Where its folder is made; where temporary files are when absent. */
  readonly parentFolder?: string;
}

/** A registry that belongs to a test. Use `await using`: it takes its folder along. */
export interface DockerRegistry {
  /** As it stands in references: "127.0.0.1:41237". */
  readonly host: string;
  readonly port: number;
  /** "http://127.0.0.1:41237", or https. */
  readonly url: string;
  /** Its folder; blobs are below `data/docker/registry/v2`. */
  readonly folder: string;
  /** With `tls`: a `certs.d` whose folder for `host` holds the CA. */
  readonly certsDir?: string;
  /** With `tls`: the CA's certificate, PEM. */
  readonly caPath?: string;
  /** All that it has logged. */
  log(): string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Whether the program is here; tests skip visibly otherwise. */
export const hasDockerRegistry: boolean = Bun.which("docker-registry") !== null;
if (!hasDockerRegistry) console.warn("skipped with docker-registry: it is not installed");

/** Starts a registry and waits until it listens. */
export async function startDockerRegistry(
  options: DockerRegistryOptions = {},
): Promise<DockerRegistry> {
  const folder = mkdtempSync(join(options.parentFolder ?? tmpdir(), "tug-registry-"));
  const tls = options.tls === true ? await makeCertificates(folder) : undefined;
  const configPath = join(folder, "config.json");
  // YAML is a superset of JSON.
  writeFileSync(configPath, JSON.stringify(await planConfig(folder, { ...options, tls })));
  const child = start(["docker-registry", "serve", configPath]);
  const listening = /listening on \S*:(\d+)/;
  const log = (): string => `${child.stdout}${child.stderr}`;
  try {
    await until(
      () => listening.test(log()),
      () => `docker-registry to listen; it said ${log()}`,
    );
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  const port = Number(listening.exec(log())?.[1] ?? assert.fail("no port"));
  const host = `${options.address?.replace(/:\d+$/, "") ?? "127.0.0.1"}:${port}`;
  const certsDir = join(folder, "certs.d");
  if (tls !== undefined) {
    mkdirSync(join(certsDir, host), { recursive: true });
    writeFileSync(join(certsDir, host, "ca.crt"), await Bun.file(tls.caPath).text());
  }
  return {
    host,
    port,
    url: `${tls === undefined ? "http" : "https"}://${host}`,
    folder,
    ...(tls === undefined ? {} : { certsDir, caPath: tls.caPath }),
    log,
    async [Symbol.asyncDispose]() {
      await child[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function planConfig(
  folder: string,
  options: Omit<DockerRegistryOptions, "tls"> & { readonly tls: Certificates | undefined },
): Promise<object> {
  const { htpasswd, tls, proxy } = options;
  if (htpasswd !== undefined) {
    const hash = await Bun.password.hash(htpasswd.password, { algorithm: "bcrypt", cost: 4 });
    writeFileSync(join(folder, "htpasswd"), `${htpasswd.username}:${hash}\n`);
  }
  return {
    version: 0.1,
    log: { level: "info", accesslog: { disabled: false } },
    storage: { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: true } },
    http: {
      addr: options.address ?? "127.0.0.1:0",
      secret: "of a test",
      ...(tls && { tls: { certificate: tls.certificatePath, key: tls.keyPath } }),
    },
    ...(htpasswd && {
      auth: { htpasswd: { realm: "Test Registry", path: join(folder, "htpasswd") } },
    }),
    ...(proxy && { proxy: { remoteurl: proxy.remoteUrl } }),
  };
}

/** Where certificates of a test are. */
export interface Certificates {
  readonly caPath: string;
  readonly certificatePath: string;
  readonly keyPath: string;
}

/** Makes a CA, and a certificate of it for 127.0.0.1, ::1 and localhost that serves and calls. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const at = (name: string): string => join(folder, name);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const ca = ["-subj", "/CN=Test CA", "-keyout", at("ca.key"), "-out", at("ca.pem")];
  await runOk(["openssl", "req", "-x509", "-days", "2", ...newKey, ...ca]);
  await runOk([
    ...["openssl", "req", "-x509", "-days", "2", ...newKey, "-subj", "/CN=localhost"],
    ...["-CA", at("ca.pem"), "-CAkey", at("ca.key")],
    ...["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"],
    ...["-addext", "extendedKeyUsage=serverAuth,clientAuth"],
    ...["-addext", "basicConstraints=critical,CA:false"],
    ...["-keyout", at("server.key"), "-out", at("server.pem")],
  ]);
  return {
    caPath: at("ca.pem"),
    certificatePath: at("server.pem"),
    keyPath: at("server.key"),
  };
}
