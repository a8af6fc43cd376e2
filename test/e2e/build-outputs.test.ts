/** What leaves a build: indexes with attestations, layouts, packings, pushes by digest. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { openBuildSession, uploadUrl } from "../../src/client/session/build-session.ts";
import { openBuildConnection } from "../../src/client/session/solve.ts";
import { openTransport } from "../../src/client/transport.ts";
import { type Client, clientNames } from "../support/clients.ts";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../support/docker-registry.ts";
import { referenceHost } from "../support/engine.ts";
import { tar } from "../support/tar.ts";
import { run, runOk } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const pluginConfig = process.env["TUG_PEER_CONFIG"] ?? "/root/.docker";
const hasBuildx =
  clientNames.includes("docker") && existsSync(join(pluginConfig, "cli-plugins/docker-buildx"));
const hasSkopeo = Bun.which("skopeo") !== null;
const names = hasBuildx ? (["tug", "docker"] as const) : (["tug"] as const);
const ours = describe.skipIf(referenceHost !== undefined);

setDefaultTimeout(120_000);
const engine = await useEngine({ images: ["busybox"] });
let registry: DockerRegistry | undefined;

beforeAll(async () => {
  registry = hasDockerRegistry ? await startDockerRegistry() : undefined;
  mkdirSync(join(engine.folder, "client"), { recursive: true });
  if (hasBuildx) {
    symlinkSync(join(pluginConfig, "cli-plugins"), join(engine.folder, "client/cli-plugins"));
  }
});
afterAll(async () => {
  rmSync(join(engine.folder, "client"), { recursive: true, force: true });
  await registry?.[Symbol.asyncDispose]();
});

const status =
  "Package: base-files\\nStatus: install ok installed\\nArchitecture: amd64\\nVersion: 12.4\\n";

/** A context whose image has a package, and whose argument only `max` tells. */
function context(
  dockerfile = `FROM busybox\nARG WHO\nRUN mkdir -p /var/lib/dpkg && printf '${status}' > /var/lib/dpkg/status\nRUN echo $WHO > /who\n`,
): string {
  const folder = mkdtempSync(join(engine.folder, "ctx-"));
  writeFileSync(join(folder, "Dockerfile"), dockerfile);
  return folder;
}

async function build(client: Client, args: readonly string[]): Promise<string> {
  const result = await client.run(["build", "--progress=plain", ...args], { timeoutMs: 90_000 });
  expect({ code: result.exitCode, output: result.stderr }).toMatchObject({ code: 0 });
  return result.stderr;
}

/** A document of the registry. */
async function fetchJson(path: string) {
  const accept =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
  const response = await fetch(`${registry?.url}/v2/${path}`, { headers: { accept } });
  expect(response.status).toBe(200);
  return JSON.parse(await response.text());
}

interface Layered {
  readonly layers: readonly {
    mediaType: string;
    digest: string;
    annotations: Record<string, string>;
  }[];
}

interface Statement {
  readonly subject: readonly { readonly digest: Readonly<Record<string, string>> }[];
  readonly predicate: {
    readonly materials: readonly { readonly uri: string }[];
    readonly packages: readonly object[];
  };
}

async function statementsOf(
  repository: string,
  manifest: Layered,
): Promise<ReadonlyMap<string, Statement>> {
  const found = new Map<string, Statement>();
  for (const { digest, annotations } of manifest.layers) {
    const statement = await fetchJson(`${repository}/blobs/${digest}`);
    found.set(annotations["in-toto.io/predicate-type"] ?? "", statement);
  }
  return found;
}

const provenanceType = "https://slsa.dev/provenance/v0.2";
const sbomType = "https://spdx.dev/Document";

ours.each(names)("with %s", (name) => {
  const client = engine.client(name);

  test.skipIf(!hasDockerRegistry)(
    "a pushed image has its provenance and its packages",
    async () => {
      const repository = `attested/${name}`;
      const ref = `${registry?.host}/${repository}:1`;
      await build(client, [
        ...[
          "-t",
          ref,
          "--push",
          "--provenance=mode=max",
          "--sbom=true",
          "--build-arg",
          "WHO=somebody",
        ],
        context(),
      ]);
      const index = await fetchJson(`${repository}/manifests/1`);
      expect(index.mediaType).toBe("application/vnd.oci.image.index.v1+json");
      const [image, attested] = index.manifests;
      expect(image.platform).toEqual({ architecture: "amd64", os: "linux" });
      expect(attested).toMatchObject({
        platform: { architecture: "unknown", os: "unknown" },
        annotations: {
          "vnd.docker.reference.digest": image.digest,
          "vnd.docker.reference.type": "attestation-manifest",
        },
      });
      const manifest = await fetchJson(`${repository}/manifests/${attested.digest}`);
      const statements = await statementsOf(repository, manifest);
      const provenance = statements.get(provenanceType);
      expect(provenance?.subject[0]?.digest["sha256"]).toBe(image.digest.slice("sha256:".length));
      expect(provenance?.predicate.materials[0]?.uri).toMatch(
        /^pkg:docker\/busybox@latest\?platform=/,
      );
      expect(JSON.stringify(provenance)).toContain("somebody");
      const packages = statements.get(sbomType)?.predicate.packages;
      expect(packages).toContainEqual(
        expect.objectContaining({ name: "base-files", versionInfo: "12.4" }),
      );
      // It runs here, goes out again as it is, and comes back.
      expect(await client.ok("run", "--rm", ref, "cat", "/who")).toBe("somebody");
      await client.ok("tag", ref, ref.replace(/1$/, "2"));
      await client.ok("push", ref.replace(/1$/, "2"));
      expect(await fetchJson(`${repository}/manifests/2`)).toEqual(index);
      await client.ok("rmi", "-f", ref, ref.replace(/1$/, "2"));
      await client.ok("pull", ref);
      expect(await client.ok("run", "--rm", ref, "cat", "/who")).toBe("somebody");
      if (hasSkopeo) {
        const raw = await runOk([
          "skopeo",
          "inspect",
          "--tls-verify=false",
          "--raw",
          `docker://${ref}`,
        ]);
        expect(JSON.parse(raw)).toEqual(index);
      }
      if (hasBuildx) {
        const docker = engine.client("docker");
        const shown = await docker.ok(
          "buildx",
          "imagetools",
          "inspect",
          ref,
          "--format",
          "{{json .SBOM}}",
        );
        expect(shown).toContain("base-files");
      }
    },
  );

  test.skipIf(!hasDockerRegistry)(
    "provenance is told without arguments, with mode=min",
    async () => {
      const repository = `min/${name}`;
      await build(client, [
        ...["-t", `${registry?.host}/${repository}:1`, "--push", "--provenance=mode=min"],
        ...["--build-arg", "WHO=nobody-else", context()],
      ]);
      const index = await fetchJson(`${repository}/manifests/1`);
      const manifest = await fetchJson(`${repository}/manifests/${index.manifests[1].digest}`);
      const statements = await statementsOf(repository, manifest);
      expect([...statements.keys()]).toEqual([provenanceType]);
      expect(JSON.stringify(statements.get(provenanceType))).not.toContain("nobody-else");
    },
  );

  test.skipIf(!hasDockerRegistry)("the same sources and epoch give the same index", async () => {
    const folder = context();
    const digests: string[] = [];
    for (const tag of ["1", "1"]) {
      const meta = join(folder, "meta");
      await build(client, [
        ...["-t", `${registry?.host}/same/${name}:${tag}`, "--push", "--no-cache", "--sbom=true"],
        ...["--provenance=mode=max", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"],
        ...["--metadata-file", meta, folder],
      ]);
      digests.push(JSON.parse(readFileSync(meta, "utf8"))["containerimage.digest"]);
    }
    expect(digests[0]).toStartWith("sha256:");
    expect(digests[1]).toBe(digests[0] ?? "");
  });

  // Docker's client leaves that to other drivers.
  test.skipIf(!hasDockerRegistry || name === "docker")(
    "a push by digest names no tag",
    async () => {
      const folder = context();
      const repository = `digest/${name}`;
      const meta = join(folder, "meta");
      const output = `type=image,name=${registry?.host}/${repository},push-by-digest=true,push=true`;
      await build(client, ["--provenance=false", "-o", output, "--metadata-file", meta, folder]);
      const { "containerimage.digest": digest } = JSON.parse(readFileSync(meta, "utf8"));
      const manifest = await fetchJson(`${repository}/manifests/${digest}`);
      expect(manifest.layers.at(-1).mediaType).toBe("application/vnd.oci.image.layer.v1.tar+gzip");
      const tags = await fetch(`${registry?.url}/v2/${repository}/tags/list`);
      expect(await tags.text()).not.toContain('"tags":["');
    },
  );

  test("an archive has its layers packed as asked", async () => {
    for (const [compression, suffix] of [
      ["gzip", "+gzip"],
      ["zstd", "+zstd"],
      ["uncompressed", ""],
    ] as const) {
      const folder = context();
      const output = `type=oci,dest=${join(folder, "out.tar")},compression=${compression}`;
      await build(client, ["--provenance=false", "-t", "packed:1", "-o", output, folder]);
      const out = join(folder, "out");
      mkdirSync(out);
      await runOk(["tar", "-xf", join(folder, "out.tar"), "-C", out]);
      const index = JSON.parse(readFileSync(join(out, "index.json"), "utf8"));
      const manifest = readBlob(out, index.manifests[0].digest);
      const types = new Set(manifest.layers.map((layer: { mediaType: string }) => layer.mediaType));
      expect([...types]).toEqual([`application/vnd.oci.image.layer.v1.tar${suffix}`]);
      if (hasSkopeo) {
        const copied = await run([
          "skopeo",
          "copy",
          `oci:${out}:1`,
          `oci:${join(folder, "copy")}:1`,
        ]);
        expect({ code: copied.exitCode, stderr: copied.stderr }).toMatchObject({ code: 0 });
      }
    }
  });

  test("an image goes into a folder as a layout, attestations and all", async () => {
    const folder = context();
    const out = join(folder, "layout");
    const output = `type=oci,dest=${out},tar=false`;
    await build(client, ["-t", "layout:7", "--provenance=mode=max", "-o", output, folder]);
    const index = JSON.parse(readFileSync(join(out, "index.json"), "utf8"));
    expect(index.manifests[0].annotations["org.opencontainers.image.ref.name"]).toMatch(/7$/);
    const inner = readBlob(out, index.manifests[0].digest);
    expect(inner.manifests).toHaveLength(2);
    // As a named context it is an image again.
    const next = context("FROM base\nCOPY --from=base /who /again\n");
    const named = `base=oci-layout://${out}:${index.manifests[0].annotations["org.opencontainers.image.ref.name"]}`;
    await build(client, ["--build-context", named, "-t", "again:1", next]);
    expect(await client.ok("run", "--rm", "again:1", "cat", "/again")).toBe("");
    await client.ok("rmi", "-f", "again:1");
  });

  test("what a client attests by habit goes with images that leave, and hinders no other output", async () => {
    const folder = context();
    const out = (file: string): string => join(folder, file);
    await build(client, [
      // Docker's client does so unless it is told otherwise.
      ...(name === "docker" ? [] : ["--provenance=mode=min,inline-only=true"]),
      ...["-t", "habit:1"],
      ...["-o", `type=docker,dest=${out("docker.tar")}`, "-o", `type=oci,dest=${out("oci.tar")}`],
      ...["-o", `type=local,dest=${out("files")}`, folder],
    ]);
    expect(existsSync(out("files/provenance.json"))).toBe(false);
    await client.ok("load", "-i", out("docker.tar"));
    const index = JSON.parse(await runOk(["tar", "-xOf", out("oci.tar"), "index.json"]));
    expect(index.manifests[0].mediaType).toBe("application/vnd.oci.image.index.v1+json");
    expect(
      await client.fails(
        "build",
        "--provenance=true",
        "-o",
        `type=docker,dest=${out("no.tar")}`,
        folder,
      ),
    ).toMatch(/docker exporter does not (?:currently )?support exporting manifest lists/);
  });

  test("files go out with what is attested of them", async () => {
    const folder = context();
    const out = join(folder, "files");
    await build(client, ["--sbom=true", "-o", `type=local,dest=${out}`, folder]);
    expect(existsSync(join(out, "bin/busybox"))).toBe(true);
    const sbom = JSON.parse(readFileSync(join(out, "sbom.spdx.json"), "utf8"));
    expect(sbom.predicateType).toBe(sbomType);
  });

  test("files of several platforms are in folders of theirs, also in a tar", async () => {
    const folder = context("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /of-$TARGETARCH\n");
    const platforms = ["--platform", "linux/amd64,linux/arm64"];
    await build(client, [...platforms, "-o", `type=tar,dest=${join(folder, "out.tar")}`, folder]);
    const listed = await runOk(["tar", "-tf", join(folder, "out.tar")]);
    expect(
      listed
        .split("\n")
        .filter((line) => line.includes("of-"))
        .toSorted(),
    ).toEqual(["linux_amd64/of-amd64", "linux_arm64/of-arm64"]);
    await build(client, [...platforms, "-o", join(folder, "out"), folder]);
    expect(existsSync(join(folder, "out/linux_arm64/of-arm64"))).toBe(true);
  });

  test.skipIf(!hasDockerRegistry)("an image of several platforms is pushed whole", async () => {
    const folder = context("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /of-$TARGETARCH\n");
    const repository = `several/${name}`;
    await build(client, [
      ...["--platform", "linux/amd64,linux/arm64", "--push"],
      ...["-t", `${registry?.host}/${repository}:1`, folder],
    ]);
    const index = await fetchJson(`${repository}/manifests/1`);
    const kinds = index.manifests.map(
      (each: { platform: { architecture: string } }) => each.platform.architecture,
    );
    expect(kinds.toSorted().slice(0, 2)).toEqual(["amd64", "arm64"]);
    for (const { digest } of index.manifests) await fetchJson(`${repository}/manifests/${digest}`);
  });
});

ours("provenance", () => {
  test("names what was fetched, by its digest and without passwords", async () => {
    const file = Buffer.from("a file of a server");
    using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(file) });
    const folder = context(
      `FROM busybox\nADD http://user:geheim@127.0.0.1:${server.port}/file /f\nCOPY --from=busybox /bin/sh /s\n`,
    );
    const out = join(folder, "files");
    await build(engine.client("tug"), ["--provenance=mode=max", "-o", out, folder]);
    const text = readFileSync(join(out, "provenance.json"), "utf8");
    const { predicate } = JSON.parse(text);
    expect(predicate.materials).toEqual([
      {
        uri: "pkg:docker/busybox@latest?platform=linux%2Famd64",
        digest: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
      {
        uri: `http://user:xxxxx@127.0.0.1:${server.port}/file`,
        digest: { sha256: new Bun.CryptoHasher("sha256").update(file).digest("hex") },
      },
    ]);
    expect(predicate.invocation.parameters.locals).toHaveLength(2);
    expect(readFileSync(join(out, "f")).equals(file)).toBe(true);
    expect(JSON.stringify(predicate.buildConfig)).not.toContain("geheim");
  });
});

ours("contexts", () => {
  const client = engine.client("tug");

  test("an image and a stage may be folders to copy from, under a name", async () => {
    await engine.importImage("other", {
      archive: tar([{ name: "from-image", content: "image" }]),
    });
    const folder = context(
      "FROM scratch AS made\nCOPY data /from-stage\nFROM busybox\n" +
        "COPY --from=img /from-image /a\nCOPY --from=stg /from-stage /b\nRUN cat /a /b > /c\n",
    );
    writeFileSync(join(folder, "data"), " stage");
    const contexts = [
      "--build-context",
      "img=docker-image://other",
      "--build-context",
      "stg=target:made",
    ];
    await build(client, [...contexts, "-t", "contexts:1", folder]);
    expect(await client.ok("run", "--rm", "contexts:1", "cat", "/c")).toBe("image stage");
    const wrong = [
      "--build-context",
      "img=docker-image://other",
      "--build-context",
      "stg=target:no",
    ];
    expect(await client.fails("build", ...wrong, folder)).toContain("there is no stage no");
  });

  test("a layout that lacks the tag, or a blob, is refused by name", async () => {
    const folder = context("FROM scratch\nCOPY data /\n");
    writeFileSync(join(folder, "data"), "in no other layer");
    const out = join(folder, "layout");
    await build(client, ["-t", "lay:1", "-o", `type=oci,dest=${out},tar=false`, folder]);
    const next = context("FROM base\n");
    const named = (tag: string): string[] => ["--build-context", `base=oci-layout://${out}:${tag}`];
    expect(await client.fails("build", ...named("no"), next)).toContain('there is no tag "no"');
    const index = JSON.parse(readFileSync(join(out, "index.json"), "utf8"));
    const manifest = readBlob(out, index.manifests[0].digest);
    const path = join(out, "blobs/sha256", manifest.layers.at(-1).digest.slice("sha256:".length));
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(path, bytes);
    await engine.api("POST", "/build/prune?all=1");
    await engine.api("POST", "/images/prune");
    expect(await client.fails("build", ...named("1"), next)).toMatch(/sha256:[0-9a-f]+/);
  });

  test("a folder of a fetched context may be what is built from", async () => {
    const archive = tar([
      { name: "Dockerfile", content: "FROM scratch\nCOPY . /\n" },
      { name: "sub/", type: "directory" },
      { name: "sub/file", content: "of the folder" },
      { name: "out", type: "symlink", link: "/etc" },
    ]);
    const transport = openTransport({ kind: "unix", path: engine.socketPath });
    const solve = async (subdir: string, dest: string): Promise<unknown> => {
      await using session = await openBuildSession(transport, {
        sharedKey: "",
        folders: new Map(),
        uploads: new Map([["up", Readable.from([archive])]]),
        outputs: new Map([[0, { kind: "folder", path: dest }]]),
      });
      using connection = await openBuildConnection(transport);
      return await connection.solve({
        request: {
          session: session.id,
          frontend: "dockerfile.v0",
          frontendAttrs: new Map([
            ["context", uploadUrl("up")],
            ["contextsubdir", subdir],
          ]),
          exporters: [{ type: "local", attrs: new Map() }],
        },
      });
    };
    const dest = join(engine.folder, "subdir");
    await solve("sub", dest);
    expect(readdirSync(dest)).toEqual(["file"]);
    for (const wrong of ["no", "out", "Dockerfile"]) {
      const refused = await solve(wrong, dest).catch((error: unknown) => String(error));
      expect(refused).toContain(`the context has no folder "${wrong}"`);
    }
  });
});

function readBlob(layout: string, digest: string) {
  return JSON.parse(
    readFileSync(join(layout, "blobs/sha256", digest.slice("sha256:".length)), "utf8"),
  );
}
