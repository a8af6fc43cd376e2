/** A pull whose daemon dies at 99 % of a layer. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { clientNames, openClient } from "../support/clients.ts";
import { startDaemon } from "../support/daemon.ts";
import {
  type FaultRegistry,
  type FaultReply,
  startFaultRegistry,
} from "../support/fault-registry.ts";
import { until } from "../support/process.ts";
import { tar } from "../support/tar.ts";

const sha256 = (bytes: string | Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

const layer = tar([
  { name: "bin/", type: "directory", mode: 0o755 },
  { name: "bin/sh", content: readFileSync("/bin/busybox"), mode: 0o755 },
]);
const config = JSON.stringify({
  architecture: process.arch === "arm64" ? "arm64" : "amd64",
  os: "linux",
  config: { Cmd: ["sh", "-c", "echo came whole"] },
  rootfs: { type: "layers", diff_ids: [sha256(layer)] },
});
const manifest = JSON.stringify({
  schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  config: {
    mediaType: "application/vnd.oci.image.config.v1+json",
    digest: sha256(config),
    size: config.length,
  },
  layers: [
    {
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      digest: sha256(layer),
      size: layer.byteLength,
    },
  ],
});
const cutAt = Math.floor(layer.byteLength * 0.99);

/** A registry that stalls at 99 % of the layer the first time. */
async function startStallingRegistry(): Promise<FaultRegistry> {
  return await startFaultRegistry(({ path, headers, count }): FaultReply | undefined => {
    if (path.includes("/manifests/")) {
      const type = "application/vnd.oci.image.manifest.v1+json";
      const digest = sha256(manifest);
      return {
        body: manifest,
        headers: { "content-type": type, "docker-content-digest": digest },
      };
    }
    if (path.endsWith(sha256(config))) return { body: config };
    if (!path.endsWith(sha256(layer))) return undefined;
    if (count === 1) return { body: layer, stallAfterBytes: cutAt };
    const start = Number(/^bytes=(\d+)-$/.exec(headers["range"] ?? "")?.[1] ?? "0");
    if (start === 0) return { body: layer };
    const range = `bytes ${start}-${layer.byteLength - 1}/${layer.byteLength}`;
    return { status: 206, headers: { "content-range": range }, body: layer.subarray(start) };
  });
}

describe.each([...clientNames])("%s", (name) => {
  test("a layer goes on at 99 % after the daemon was killed", async () => {
    await using registry = await startStallingRegistry();
    await using daemon = await startDaemon();
    const client = openClient(name, { host: daemon.engine.host, home: daemon.folder });
    const image = `${registry.host}/whole:1`;
    const first = client.run(["pull", image]);
    const ingests = join(daemon.dataRoot, "content/ingest");
    const file = join(ingests, sha256(layer).replace(":", "-"));
    await until(
      () => statSync(file, { throwIfNoEntry: false })?.size === cutAt,
      () => `${cutAt} bytes of the layer`,
    );
    await daemon.kill9();
    expect((await first).exitCode).not.toBe(0);
    await daemon.restart();
    await client.ok("pull", image);
    const asked = registry.requests.filter(({ path }) => path.endsWith(sha256(layer)));
    expect(asked.map(({ headers }) => headers["range"])).toEqual([undefined, `bytes=${cutAt}-`]);
    expect(await client.ok("run", "--rm", "--network", "none", image)).toBe("came whole");
    expect(readdirSync(ingests)).toEqual([]);
  }, 60_000);
});
