/**
 * Signed images: `image sign` and `verify`, the policy, and openssl and skopeo as foreign signers and
 * verifiers. Debian 12 builds skopeo without sigstore: TUG_TEST_SKOPEO names another.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientNames } from "../support/clients.ts";
import { startDaemon } from "../support/daemon.ts";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../support/docker-registry.ts";
import { uniqueName } from "../support/engine.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { type Result, run, runOk } from "../support/process.ts";
import { useEngine } from "../support/use-engine.ts";

const engine = await useEngine({ images: ["busybox", "web"] });

const tug = engine.client("tug");
const folder = join(engine.folder, "trust");
const keyPath = join(folder, "cosign.key");
const publicPath = join(folder, "cosign.pub");
const password = "a long one";
let registry: DockerRegistry;
const skopeo = process.env["TUG_TEST_SKOPEO"] ?? "skopeo";
const skopeoLack = await findSkopeoLack();
if (skopeoLack !== undefined) console.warn(`skipped with skopeo: ${skopeoLack}`);

/** Sets the daemon's policy, as an operator does: file, then SIGHUP. */
async function setPolicy(policy: object | undefined): Promise<void> {
  const { daemon } = engine;
  if (daemon === undefined) return;
  const path = join(folder, "policy.json");
  if (policy !== undefined) writeFileSync(path, JSON.stringify(policy));
  writeFileSync(
    daemon.configPath,
    JSON.stringify(policy === undefined ? {} : { "image-policy": path }),
  );
  const before = daemon.log().length;
  daemon.signal("SIGHUP");
  for (let look = 0; look < 200; look += 1) {
    if (/reload/i.test(daemon.log().slice(before))) return;
    await Bun.sleep(10);
  }
  throw new TypeError(`the daemon does not reload: ${daemon.log()}`);
}

async function sign(image: string): Promise<string> {
  const result = await tug.run(["image", "sign", "--key", keyPath, image], {
    env: { COSIGN_PASSWORD: password },
  });
  expect(result).toMatchObject({ exitCode: 0 });
  return result.stdout;
}

/** An image of its own in the registry. */
async function pushed(): Promise<string> {
  const name = `${registry.host}/team/${uniqueName("img")}:1`;
  await tug.ok("tag", "busybox", name);
  await tug.ok("push", name);
  return name;
}

describe.skipIf(!hasDockerRegistry || engine.daemon === undefined)(
  "trust (needs docker-registry)",
  () => {
    beforeAll(async () => {
      mkdirSync(folder, { recursive: true });
      registry = await startDockerRegistry();
      const made = await tug.run(
        ["image", "generate-key-pair", "--output-key-prefix", join(folder, "cosign")],
        { env: { COSIGN_PASSWORD: password } },
      );
      expect(made).toMatchObject({ exitCode: 0 });
    });
    afterAll(async () => await registry[Symbol.asyncDispose]());

    test("a signature is kept, verified with its key and with no other", async () => {
      const image = await pushed();
      expect(await tug.fails("image", "verify", "--key", publicPath, image)).toContain(
        "it has no signature",
      );
      expect(await sign(image)).toContain(image.replace(/:1$/, "@sha256:"));
      const verified = await tug.ok("image", "verify", "--key", publicPath, image);
      expect(verified).toContain("cosign container image signature");
      const other = join(folder, uniqueName("other"));
      await tug.run(["image", "generate-key-pair", "--output-key-prefix", other], {
        env: { COSIGN_PASSWORD: "" },
      });
      expect(await tug.fails("image", "verify", "--key", `${other}.pub`, image)).toContain(
        "is of this key",
      );
      const wrong = await tug.run(["image", "sign", "--key", keyPath, image], {
        env: { COSIGN_PASSWORD: "wrong" },
      });
      expect(wrong.stderr).toContain("the password is wrong");
    });

    test("openssl verifies what Tug signed, as it lies in the registry", async () => {
      const image = await pushed();
      await sign(image);
      const { payload, signature } = await remoteSignature(image);
      writeFileSync(join(folder, "payload"), payload);
      writeFileSync(join(folder, "signature"), Buffer.from(signature, "base64"));
      const argv = ["openssl", "dgst", "-sha256", "-verify", publicPath, "-signature"];
      expect(await runOk([...argv, join(folder, "signature"), join(folder, "payload")])).toBe(
        "Verified OK",
      );
    });

    test("Tug takes what openssl signed and others stored", async () => {
      const image = await pushed();
      const own = { key: join(folder, "own.key"), pub: join(folder, "own.pub") };
      await runOk([
        "openssl",
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        own.key,
      ]);
      await runOk(["openssl", "ec", "-in", own.key, "-pubout", "-out", own.pub]);
      await storeForeignSignature(image, own.key);
      await tug.ok("rmi", image);
      await setPolicy({ default: [{ type: "sigstoreSigned", keyPath: own.pub }] });
      try {
        await tug.ok("pull", image);
        expect(await tug.ok("run", "--rm", image, "echo", "signed")).toBe("signed");
      } finally {
        await setPolicy(undefined);
      }
      expect(await tug.ok("image", "verify", "--key", own.pub, image)).toContain("critical");
    });

    test.skipIf(skopeoLack !== undefined)(
      "skopeo takes what Tug signed, and no other",
      async () => {
        const image = await pushed();
        const own = await openKeys("skopeo");
        const identity = { type: "matchRepository" };
        const wanted = (keyPath: string): object => ({
          default: [{ type: "sigstoreSigned", keyPath, signedIdentity: identity }],
        });
        const copy = async (keyPath: string): Promise<Result> =>
          await runSkopeo(wanted(keyPath), [
            `docker://${image}`,
            `dir:${folder}/${uniqueName("to")}`,
          ]);
        await sign(image);
        expect(await copy(publicPath)).toMatchObject({ exitCode: 0 });
        const refused = await copy(own.pub);
        expect(refused.exitCode).not.toBe(0);
        expect(refused.stderr).toContain("Source image rejected");
      },
    );

    test.skipIf(skopeoLack !== undefined)("Tug takes what skopeo signed, for its tag", async () => {
      const image = await pushed();
      const repository = `${registry.host}/${uniqueName("skopeo")}`;
      const passphrase = join(folder, "passphrase");
      writeFileSync(passphrase, password);
      const signing = ["--sign-by-sigstore-private-key", keyPath];
      const accept = { default: [{ type: "insecureAcceptAnything" }] };
      const argv = [...signing, "--sign-passphrase-file", passphrase, `docker://${image}`];
      const copied = await runSkopeo(accept, [...argv, `docker://${repository}:1`]);
      expect(copied).toMatchObject({ exitCode: 0 });
      await tug.ok("pull", `${repository}:1`);
      await tug.ok("image", "verify", "--key", publicPath, `${repository}:1`);
      await tug.ok("tag", `${repository}:1`, `${repository}:2`);
      await tug.ok("push", `${repository}:2`);
      for (const tag of ["1", "2"]) await tug.ok("rmi", `${repository}:${tag}`);
      const signed = [{ type: "sigstoreSigned", keyPath: publicPath }];
      await setPolicy({
        default: [{ type: "reject" }],
        transports: { docker: { [repository]: signed } },
      });
      try {
        await tug.ok("pull", `${repository}:1`);
        expect(await tug.fails("pull", `${repository}:2`)).toContain("it is signed for another");
      } finally {
        await setPolicy(undefined);
      }
    });

    test("signatures of others stay as they are beside ours", async () => {
      const image = await pushed();
      const own = await openKeys("others");
      const annotations = { "dev.sigstore.cosign/certificate": "a certificate" };
      await storeForeignSignature(image, own.key, annotations);
      await sign(image);
      const digest = await remoteDigest(image);
      const path = `${repositoryUrl(image)}/manifests/${digest.replace(":", "-")}.sig`;
      const manifest = await (await fetch(path, { headers: { Accept: manifestType } })).json();
      expect(listAt(manifest, "layers").length).toBeGreaterThan(1);
      expect(at(manifest, "layers", 0, "annotations")).toMatchObject(annotations);
      for (const key of [own.pub, publicPath]) await tug.ok("image", "verify", "--key", key, image);
    });

    test("an index is signed with all that it names, and one platform's signature is not its own", async () => {
      const image = `${registry.host}/team/${uniqueName("multi")}:1`;
      const context = join(folder, uniqueName("multi"));
      mkdirSync(context);
      writeFileSync(
        join(context, "Dockerfile"),
        `FROM scratch\nCOPY Dockerfile /${uniqueName()}\n`,
      );
      await tug.ok("build", "--platform", "linux/amd64,linux/arm64", "-t", image, context);
      await tug.ok("push", image);
      const Accept = "application/vnd.oci.image.index.v1+json";
      const index = await fetch(`${repositoryUrl(image)}/manifests/1`, { headers: { Accept } });
      const digest = index.headers.get("Docker-Content-Digest") ?? "";
      const parts = listAt(await index.json(), "manifests").map((part) => textAt(part, "digest"));
      expect(parts).toHaveLength(2);
      const own = await openKeys("multi");
      for (const part of parts) {
        const body = await foreignSignature({ image, digest: part }, own.key);
        const stored = await engine.api("POST", `/images/${image}/signatures`, body);
        expect(stored.status).toBe(201);
      }
      // The first is this machine's.
      await tug.ok("image", "verify", "--key", own.pub, image);
      const other = await openKeys("other");
      const body = await foreignSignature({ image, digest: parts[1] ?? "" }, other.key);
      await engine.api("POST", `/images/${image}/signatures`, body);
      expect(await tug.fails("image", "verify", "--key", other.pub, image)).toContain(
        "of this key",
      );
      const signed = await sign(image);
      for (const each of [digest, ...parts]) {
        expect(signed).toContain(`@${each}\n`);
        const tag = `${each.replace(":", "-")}.sig`;
        const found = await fetch(`${repositoryUrl(image)}/manifests/${tag}`, {
          headers: { Accept: manifestType },
        });
        expect(found.status).toBe(200);
      }
      await tug.ok("image", "verify", "--key", publicPath, image);
    });

    test("a tag that was given here passes no rule for that tag", async () => {
      const image = await pushed();
      const repository = image.replace(/:1$/, "");
      const input = `FROM busybox\nRUN echo ${uniqueName()} >/f\n`;
      await tug.run(["build", "-t", `${repository}:2`, "-"], { input });
      await tug.ok("push", `${repository}:2`);
      const accept = [{ type: "insecureAcceptAnything" }];
      await setPolicy({
        default: [{ type: "reject" }],
        transports: { docker: { [`${repository}:1`]: accept } },
      });
      try {
        await tug.ok("run", "--rm", image, "true");
        await tug.ok("tag", `${repository}:2`, image);
        expect(await tug.fails("run", "--rm", image, "true")).toContain("rule default[0] rejects");
        await tug.ok("pull", image);
        await tug.ok("run", "--rm", image, "true");
        const digest = await remoteDigest(`${repository}:2`);
        expect(await tug.fails("pull", `${image}@${digest}`)).toContain("rule default[0] rejects");
      } finally {
        await setPolicy(undefined);
      }
    });

    test("a container that was made before is not started against the policy", async () => {
      const image = await pushed();
      const [idle, running] = [uniqueName("idle"), uniqueName("running")];
      await tug.ok("create", "--name", idle, image, "true");
      await tug.ok("run", "-d", "--name", running, image, "sleep", "600");
      await setPolicy({ default: [{ type: "reject" }] });
      try {
        expect(await tug.fails("start", idle)).toContain("may not run: rule default[0] rejects it");
        // What runs goes on, also when it is asked to begin anew.
        expect(await tug.fails("restart", running)).toContain("rule default[0] rejects it");
        await tug.ok("exec", running, "true");
        await tug.ok("start", running);
        await tug.ok("rmi", "-f", image);
        expect(await tug.fails("start", idle)).toContain("rule default[0] rejects it");
      } finally {
        await setPolicy(undefined);
      }
      await tug.ok("start", idle);
      await tug.ok("rm", "-f", idle, running);
    });

    test("an image of a client's layout is built on as the policy says", async () => {
      const layout = join(folder, uniqueName("layout"));
      await tug.ok("save", "-o", `${layout}.tar`, "busybox");
      mkdirSync(layout);
      await runOk(["tar", "-xf", `${layout}.tar`, "-C", layout]);
      const { digest } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")).manifests[0];
      writeFileSync(join(layout, "Dockerfile"), "FROM base\nRUN true\n");
      const context = ["--build-context", `base=oci-layout://${layout}@${digest}`];
      const argv = ["build", "--no-cache", ...context, "-f", join(layout, "Dockerfile"), folder];
      await tug.ok(...argv);
      await setPolicy({ default: [{ type: "reject" }] });
      try {
        expect(await tug.fails(...argv)).toContain("may not be built on: rule default[0] rejects");
      } finally {
        await setPolicy(undefined);
      }
    });

    for (const name of clientNames) {
      const cli = engine.client(name);
      test(`what ${name} pushes has its signatures beside it, elsewhere too`, async () => {
        const image = await pushed();
        await sign(image);
        const copy = `${registry.host}/${uniqueName("promoted")}:1`;
        await cli.ok("tag", image, copy);
        const said = await cli.ok("push", copy);
        const digest = await remoteDigest(copy);
        expect(said).toMatch(new RegExp(`^${digest}: \\d+ signatures? beside it$`, "m"));
        const manifest = async (): Promise<unknown> => {
          const path = `${repositoryUrl(copy)}/manifests/${digest.replace(":", "-")}.sig`;
          return await (await fetch(path, { headers: { Accept: manifestType } })).json();
        };
        const first = await manifest();
        const { signature } = await remoteSignature(copy);
        expect(signature).toMatch(/^[A-Za-z0-9+/]{90,}=*$/);
        // Twice is not two.
        await cli.ok("push", copy);
        expect(await manifest()).toEqual(first);
        await tug.ok("rmi", copy);
      });
      test(`what is signed before ${name} pushes it is signed elsewhere`, async () => {
        const [first, image] = [
          uniqueName("early"),
          `${registry.host}/team/${uniqueName("early")}:1`,
        ];
        const input = `FROM busybox\nRUN echo ${first} >/f\n`;
        const build = await tug.run(["build", "-t", image, "-"], { input });
        expect(build).toMatchObject({ exitCode: 0 });
        const signed = await tug.run(["image", "sign", "--key", keyPath, image], {
          env: { COSIGN_PASSWORD: password },
        });
        expect(signed.stderr).toBe(
          `${image} is not in its registry yet: the signature goes there with the push\n`,
        );
        await tug.ok("image", "verify", "--key", publicPath, image);
        const said = await cli.ok("push", image);
        const digest = await remoteDigest(image);
        expect(signed.stdout).toBe(`${image.replace(/:1$/, "")}@${digest}\n`);
        expect(said).toContain(`${digest}: 1 signature beside it`);
        await tug.ok("image", "verify", "--key", publicPath, image);
        await using other = await startDaemon({ flags: ["--require-signed", publicPath] });
        const far = other.engine.client(name);
        await far.ok("pull", image);
        expect(await far.ok("run", "--rm", "--network", "none", image, "cat", "/f")).toBe(first);
        await other.engine.client("tug").ok("image", "verify", "--key", publicPath, image);
        await tug.ok("rmi", image);
      });
      test(`a signature of what stays here alone is told of when ${name} pushes`, async () => {
        const image = `${registry.host}/team/${uniqueName("late")}:1`;
        const input = `FROM busybox\nRUN echo ${uniqueName()} >/f\n`;
        expect(await tug.run(["build", "-t", image, "-"], { input })).toMatchObject({
          exitCode: 0,
        });
        const found = await engine.api("GET", `/images/${image}/signatures`);
        expect(at(found.json, "Manifests", 0, "Use")).toBe("here");
        const own = textAt(found.json, "Manifests", 0, "Digest");
        const { key } = await openKeys("late");
        const body = await foreignSignature({ image, digest: own }, key);
        const stored = await engine.api("POST", `/images/${image}/signatures`, body);
        expect(stored.status).toBe(201);
        // Good for what is here, until others get something else by this name.
        await tug.ok("image", "verify", "--key", `${key}.pub`, image);
        expect(await cli.ok("push", image)).toContain(
          `${image} is signed here and not in the registry: sign it once more`,
        );
        expect(await tug.fails("image", "verify", "--key", `${key}.pub`, image)).toContain(
          "none of its 1 signatures is of this key and for this image",
        );
        await sign(image);
        await tug.ok("image", "verify", "--key", publicPath, image);
        await tug.ok("rmi", image);
      });
      test(`the policy refuses what is unsigned, by its rule, with ${name}`, async () => {
        const good = await pushed();
        const bad = await pushed();
        await sign(good);
        for (const image of [good, bad]) await tug.ok("rmi", image);
        await setPolicy({
          default: [{ type: "reject" }],
          transports: {
            docker: {
              [`${registry.host}/team`]: [{ type: "sigstoreSigned", keyPath: publicPath }],
            },
          },
        });
        try {
          await cli.ok("pull", good);
          expect(await cli.ok("run", "--rm", good, "echo", "in")).toBe("in");
          const refused = await cli.fails("pull", bad);
          expect(refused).toContain("may not be pulled");
          expect(refused).toContain(`transports.docker["${registry.host}/team"][0]`);
          expect(await cli.fails("run", "--rm", bad, "true")).toContain("may not be pulled");
          expect(await cli.run(["image", "inspect", bad])).toMatchObject({ exitCode: 1 });
          expect(await cli.fails("run", "--rm", "web", "true")).toContain(
            "rule default[0] rejects it",
          );
        } finally {
          await setPolicy(undefined);
        }
        expect(await cli.ok("run", "--rm", bad, "echo", "free")).toBe("free");
      });
    }
  },
);

/** The digest that the registry has an image under. */
async function remoteDigest(image: string): Promise<string> {
  const response = await fetch(`${repositoryUrl(image)}/manifests/${image.replace(/.*:/, "")}`, {
    method: "HEAD",
    headers: { Accept: manifestType },
  });
  return response.headers.get("Docker-Content-Digest") ?? "";
}

const manifestType = "application/vnd.oci.image.manifest.v1+json";

function repositoryUrl(image: string): string {
  return `${registry.url}/v2${image.replace(registry.host, "").replace(/:\d+$/, "")}`;
}

async function remoteSignature(image: string): Promise<{ payload: Buffer; signature: string }> {
  const tag = `${(await remoteDigest(image)).replace(":", "-")}.sig`;
  const response = await fetch(`${repositoryUrl(image)}/manifests/${tag}`, {
    headers: { Accept: manifestType },
  });
  const layer = at(await response.json(), "layers", 0);
  const blob = await fetch(`${repositoryUrl(image)}/blobs/${textAt(layer, "digest")}`);
  return {
    payload: Buffer.from(await blob.arrayBuffer()),
    signature: textAt(layer, "annotations", "dev.cosignproject.cosign/signature"),
  };
}

/** Why skopeo cannot sign and verify here; Debian 12 builds it without. */
async function findSkopeoLack(): Promise<string | undefined> {
  if (Bun.which(skopeo) === null) return "it is not installed";
  const made = join(engine.folder, uniqueName("probe"));
  writeFileSync(`${made}.pass`, "");
  const argv = ["generate-sigstore-key", "--output-prefix", made, "--passphrase-file"];
  const result = await run([skopeo, ...argv, `${made}.pass`]);
  return result.exitCode === 0 ? undefined : "it makes no keys of sigstore";
}

/** Lets skopeo copy under a policy. */
async function runSkopeo(policy: object, argv: readonly string[]): Promise<Result> {
  const registries = join(folder, "registries.d");
  mkdirSync(registries, { recursive: true });
  const options = { docker: { [registry.host]: { "use-sigstore-attachments": true } } };
  writeFileSync(join(registries, "test.yaml"), JSON.stringify(options));
  const policyPath = join(folder, uniqueName("skopeo-policy"));
  writeFileSync(policyPath, JSON.stringify(policy));
  const flags = ["--policy", policyPath, "--registries.d", registries, "copy"];
  const insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
  return await run([skopeo, ...flags, ...insecure, ...argv]);
}

/** A pair of keys that openssl makes. */
async function openKeys(name: string): Promise<{ readonly key: string; readonly pub: string }> {
  const key = join(folder, uniqueName(name));
  const argv = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"];
  await runOk([...argv, "-out", key]);
  await runOk(["openssl", "ec", "-in", key, "-pubout", "-out", `${key}.pub`]);
  return { key, pub: `${key}.pub` };
}

/** A signature that another signer makes. */
async function foreignSignature(
  of: { readonly image: string; readonly digest: string },
  keyFile: string,
): Promise<{ readonly Payload: string; readonly Signature: string }> {
  const payload = JSON.stringify({
    critical: {
      identity: { "docker-reference": of.image.replace(/:\d+$/, "") },
      image: { "docker-manifest-digest": of.digest },
      type: "cosign container image signature",
    },
    optional: { by: "somebody" },
  });
  const payloadPath = join(folder, "foreign");
  const signaturePath = `${payloadPath}.sig`;
  writeFileSync(payloadPath, payload);
  const argv = ["openssl", "dgst", "-sha256", "-sign", keyFile, "-out", signaturePath, payloadPath];
  await runOk(argv);
  return {
    Payload: Buffer.from(payload).toString("base64"),
    Signature: readFileSync(signaturePath).toString("base64"),
  };
}

/** What another signer would do, by hand. */
async function storeForeignSignature(
  image: string,
  keyFile: string,
  annotations: Readonly<Record<string, string>> = {},
): Promise<void> {
  const digest = await remoteDigest(image);
  const made = await foreignSignature({ image, digest }, keyFile);
  const payload = Buffer.from(made.Payload, "base64").toString();
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      ...(await upload(image, "{}")),
    },
    layers: [
      {
        mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
        ...(await upload(image, payload)),
        annotations: { ...annotations, "dev.cosignproject.cosign/signature": made.Signature },
      },
    ],
  };
  const tag = `${digest.replace(":", "-")}.sig`;
  const stored = await fetch(`${repositoryUrl(image)}/manifests/${tag}`, {
    method: "PUT",
    headers: { "Content-Type": manifestType },
    body: JSON.stringify(manifest),
  });
  expect(stored.status).toBe(201);
}

async function upload(image: string, text: string): Promise<{ digest: string; size: number }> {
  const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
  const begun = await fetch(`${repositoryUrl(image)}/blobs/uploads/`, { method: "POST" });
  const location = new URL(begun.headers.get("Location") ?? "", registry.url);
  location.searchParams.set("digest", digest);
  const done = await fetch(location, { method: "PUT", body: text });
  expect(done.status).toBe(201);
  return { digest, size: text.length };
}
