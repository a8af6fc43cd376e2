/** The commands that talk to registries, with both clients and our own registry. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Client, type ClientName, clientNames } from "../support/clients.ts";
import { startDaemon } from "../support/daemon.ts";
import { imageId, inFolder, referenceHost, uniqueName } from "../support/engine.ts";
import { startFaultRegistry } from "../support/fault-registry.ts";
import { rootTar } from "../support/images.ts";
import { at, listAt, textAt } from "../support/json.ts";
import { run, runOk } from "../support/process.ts";
import { startRegistryProxy } from "../support/registry-proxy.ts";
import { startTugRegistry, type TugRegistry } from "../support/tug-registry.ts";
import { useEngine } from "../support/use-engine.ts";

const isOurs = referenceHost === undefined;
const engine = await useEngine({ images: ["busybox"] });
// Not in the daemon's folder: whoever uses that at the end counts as left over.
const folder = mkdtempSync("/tmp/tugrc-");
const users = join(folder, "users");
const config = join(engine.folder, "client/config.json");
let open: TugRegistry;
let locked: TugRegistry;

beforeAll(async () => {
  if (!isOurs) return;
  writeFileSync(users, `ann:${await Bun.password.hash("p w", { algorithm: "bcrypt", cost: 4 })}\n`);
  [open, locked] = await Promise.all([
    startTugRegistry(),
    startTugRegistry({ flags: ["--htpasswd", users] }),
  ]);
});
afterAll(async () => {
  await open?.[Symbol.asyncDispose]();
  await locked?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

beforeEach(() => rmSync(config, { force: true }));

const readConfig = (): unknown => JSON.parse(readFileSync(config, "utf8"));

/** Makes an image that says `text`, and pushes it; it is not here afterwards. */
async function publish(name: string, text: string): Promise<void> {
  const entries = [{ name: "text", content: text }];
  await engine.importImage(name, {
    archive: rootTar({ entries, changes: [] }),
    changes: ['CMD ["cat","/text"]'],
  });
  const cli = engine.client("tug");
  await cli.ok("push", "-q", name);
  await cli.ok("rmi", name);
}

/** What the registry has under a name. */
async function digestThere(name: string): Promise<string> {
  const path = name.slice(open.host.length + 1).replace(/:(?=[^:]*$)/, "/manifests/");
  const accept = ["application/vnd.oci.image.index.v1+json", "*/*"].join(", ");
  const answer = await fetch(`${open.url}/v2/${path}`, {
    method: "HEAD",
    headers: { Accept: accept },
  });
  return answer.headers.get("docker-content-digest") ?? `${answer.status}`;
}

for (const name of clientNames) {
  const cli = engine.client(name);
  const ours = describe.skipIf(!isOurs);

  ours(`login with ${name}`, () => {
    test("by standard input, the file, a second time, and logout", async () => {
      const image = `${locked.host}/private/x:1`;
      await cli.ok("tag", "busybox", image);
      const args = ["login", "-u", "ann", "--password-stdin", locked.host];
      const refused = await cli.run(args, { input: "wrong\n" });
      expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
      expect(refused.stderr).toMatch(/unauthorized|incorrect|denied/i);
      expect(existsSync(config)).toBe(false);
      const done = await cli.run(args, { input: "p w\n" });
      expect(done).toMatchObject({ exitCode: 0 });
      expect(done.stdout).toContain("Login Succeeded");
      expect(done.stderr).toContain("stored unencrypted in");
      expect(readConfig()).toMatchObject({ auths: { [locked.host]: { auth: btoa("ann:p w") } } });
      expect((await runOk(["stat", "-c", "%a", config])).trim()).toBe("600");
      const again = await cli.run(["login", locked.host]);
      expect(again).toMatchObject({ exitCode: 0 });
      expect(`${again.stdout}${again.stderr}`).toContain("with existing credentials");
      await cli.ok("push", image);
      await cli.ok("rmi", image);
      await cli.ok("pull", image);
      expect(await cli.ok("search", `${locked.host}/private`)).toContain("private/x");
      expect(await cli.ok("logout", locked.host)).toBe(
        `Removing login credentials for ${locked.host}`,
      );
      expect(at(readConfig(), "auths")).toEqual({});
      expect(await cli.fails("push", image)).toMatch(/no basic auth credentials/);
      await cli.ok("rmi", image);
      expect(await cli.fails("pull", image)).toMatch(/no basic auth credentials/);
      expect(await cli.fails("run", "--rm", image)).toMatch(/no basic auth credentials/);
      rmSync(config);
    });

    test("is asked for at a terminal, where the password is not shown", async () => {
      await using child = cli.start(["login", locked.host], { tty: true });
      await child.prints("Username");
      child.write("ann\r");
      await child.prints("Password");
      child.write("p w\r");
      await child.prints("Login Succeeded");
      expect(await child.exited).toBe(0);
      expect(child.stdout).not.toContain("p w");
      rmSync(config);
    });

    test("a helper keeps it: docker-credential-*, by registry and for all", async () => {
      const folder = inFolder(engine, uniqueName("helper"));
      const env = await makeHelper(folder);
      const image = `${locked.host}/helped:1`;
      for (const setting of [{ credHelpers: { [locked.host]: "test" } }, { credsStore: "test" }]) {
        mkdirSync(join(engine.folder, "client"), { recursive: true });
        writeFileSync(config, JSON.stringify(setting));
        await cli.ok("tag", "busybox", image);
        const args = ["login", "-u", "ann", "--password-stdin", locked.host];
        const done = await cli.run(args, { input: "p w", env });
        expect(done).toMatchObject({ exitCode: 0 });
        expect(done.stderr).not.toContain("unencrypted");
        expect(readFileSync(config, "utf8")).not.toContain(btoa("ann:p w"));
        expect(readConfig()).toMatchObject(setting);
        const kept = JSON.parse(readFileSync(join(folder, "kept"), "utf8")) as unknown;
        expect(kept).toMatchObject({ Username: "ann", Secret: "p w" });
        expect(await cli.run(["push", image], { env })).toMatchObject({ exitCode: 0 });
        expect(await cli.run(["logout", locked.host], { env })).toMatchObject({ exitCode: 0 });
        expect(existsSync(join(folder, "kept"))).toBe(false);
        const after = await cli.run(["push", image], { env });
        expect(after.stderr).toContain("no basic auth credentials");
        expect(readFileSync(join(folder, "verbs"), "utf8")).toMatch(/store.*get.*erase/s);
        rmSync(config);
      }
      await cli.ok("rmi", image);
    });

    test("a helper that is not there is named", async () => {
      writeFileSync(config, JSON.stringify({ credsStore: "tug-nothing" }));
      const result = await cli.run(["login", "-u", "ann", "-p", "p w", locked.host]);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain('exec: "docker-credential-tug-nothing"');
      rmSync(config);
    });

    test("an identity token is kept in the password's place, and used", async () => {
      await using registry = await startTokenRegistry();
      const login = ["login", "-u", "ann", "--password-stdin", registry.host];
      const done = await cli.run(login, { input: "p w" });
      expect(done).toMatchObject({ exitCode: 0 });
      const entry = at(readConfig(), "auths", registry.host);
      expect(at(entry, "identitytoken")).toBe("the-identity");
      expect(atob(textAt(entry, "auth"))).not.toContain("p w");
      const image = `${registry.host}/app:1`;
      // Nothing is there; what counts is that the token opened the door.
      expect(await cli.fails("pull", image)).toContain(`manifest for ${image} not found`);
      expect(registry.grants).toContain("refresh_token");
      rmSync(config);
    });
  });

  ours(`run --pull with ${name}`, () => {
    const image = `${name}/pull:1`;

    test("missing, never and always", async () => {
      await using proxy = await startRegistryProxy(open.host);
      const there = `${proxy.host}/${image}`;
      await publish(`${open.host}/${image}`, "one");
      const show = async (...flags: readonly string[]): Promise<string> =>
        await cli.ok("run", "--rm", "--network", "none", ...flags, there);
      const never = await cli.run(["run", "--rm", "--pull", "never", there]);
      expect(never.exitCode).toBe(125);
      expect(never.stderr).toContain(`No such image: ${there}`);
      expect(proxy.requests).toEqual([]);
      const first = await cli.run(["run", "--rm", "--network", "none", there]);
      expect(first).toMatchObject({ exitCode: 0, stdout: "one" });
      expect(first.stderr).toContain(`Unable to find image '${there}' locally`);
      expect(first.stderr).toContain("Status: Downloaded newer image for ");
      await publish(`${open.host}/${image}`, "two");
      const asked = proxy.requests.length;
      expect(await show("--pull", "missing")).toBe("one");
      expect(await show("--pull", "never")).toBe("one");
      expect(proxy.requests.length).toBe(asked);
      expect(await show("--pull", "always", "-q")).toBe("two");
      expect(await show()).toBe("two");
      const created = await cli.ok("create", "--pull", "always", "-q", there);
      await cli.ok("rm", created);
      expect((await cli.run(["run", "--pull", "odd", there])).exitCode).toBe(125);
      await cli.ok("rmi", "-f", there);
    });

    test("what is nowhere is 125, with what the registry says", async () => {
      const result = await cli.run(["run", `${open.host}/no/such:1`]);
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toContain(`manifest for ${open.host}/no/such:1 not found`);
    });
  });

  ours(`manifest with ${name}`, () => {
    test("a list of several repositories is made, annotated, pushed, pulled and removed", async () => {
      const made = await pushPlatforms(cli, `${open.host}/${name}/parts`);
      const list = `${open.host}/${name}/list:1`;
      // Docker's own client wants to be told for each host that has no TLS.
      const insecure = name === "docker" ? ["--insecure"] : [];
      const manifest = async (verb: string, ...args: readonly string[]): Promise<string> =>
        await cli.ok("manifest", verb, ...insecure, ...args);
      expect(await manifest("create", list, ...made)).toBe(`Created manifest list ${list}`);
      expect(await cli.fails("manifest", "create", ...insecure, list, ...made)).toContain(
        "refusing to amend an existing manifest list with no --amend flag",
      );
      const [, arm = ""] = made;
      await cli.ok("manifest", "annotate", list, arm, "--variant", "v8", "--os-features", "a,b");
      const document: unknown = JSON.parse(await manifest("inspect", list));
      expect(listAt(document, "manifests").map((one) => at(one, "platform"))).toEqual([
        { architecture: "amd64", os: "linux" },
        { architecture: "arm64", os: "linux", variant: "v8", "os.features": ["a", "b"] },
      ]);
      const said = await manifest("push", "--purge", list);
      const digest = said.split("\n").at(-1) ?? "";
      expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await digestThere(list)).toBe(digest);
      expect(await cli.fails("manifest", "rm", list)).toContain(`No such manifest: ${list}`);
      expect(JSON.parse(await manifest("inspect", list))).toEqual(document);
      const index = await fetch(`${open.url}/v2/${name}/list/manifests/1`, {
        headers: { Accept: "application/vnd.oci.image.index.v1+json" },
      });
      expect(index.headers.get("content-type")).toBe("application/vnd.oci.image.index.v1+json");
      // All that it names is in its repository now: each platform comes.
      for (const architecture of ["amd64", "arm64"]) {
        await cli.ok("pull", "-q", "--platform", `linux/${architecture}`, list);
        const format = "{{.Architecture}}";
        expect(await cli.ok("image", "inspect", "-f", format, list)).toBe(architecture);
        await cli.ok("rmi", "-f", await imageId(engine, list));
      }
      expect(
        await cli.fails("manifest", "inspect", ...insecure, `${open.host}/no/such:1`),
      ).toContain(`no such manifest: ${open.host}/no/such:1`);
    });

    test("what no machine is, is refused; features come to those there are; -v tells all", async () => {
      const [first = "", second = ""] = await pushPlatforms(cli, `${open.host}/${name}/said`);
      const insecure = name === "docker" ? ["--insecure"] : [];
      const list = `${open.host}/${name}/said:1`;
      const manifest = async (verb: string, ...args: readonly string[]): Promise<string> =>
        await cli.ok("manifest", verb, ...insecure, ...args);
      await manifest("create", list, first, second);
      const annotate = ["manifest", "annotate", list, first];
      for (const platform of [
        ["--arch", "x86"],
        ["--os", "dos"],
      ]) {
        expect(await cli.fails(...annotate, ...platform)).toContain(
          "manifest entry for image has unsupported os/arch combination: ",
        );
      }
      await cli.ok(...annotate, "--os-features", "a");
      await cli.ok(...annotate, "--os-features", "b,a", "--os-version", "7");
      const platform = {
        ...{ architecture: "amd64", os: "linux", "os.version": "7" },
        "os.features": ["a", "b"],
      };
      const inList: unknown = JSON.parse(await manifest("inspect", "-v", list));
      expect(listAt(inList).map((one) => at(one, "Ref"))).toEqual([first, second]);
      expect(at(listAt(inList)[0], "Descriptor", "platform")).toEqual(platform);
      // Of one of the list, the manifest itself.
      const one: unknown = JSON.parse(await manifest("inspect", list, first));
      expect(one).toEqual(at(listAt(inList)[0], "OCIManifest"));
      await manifest("push", "--purge", list);
      const pushed: unknown = JSON.parse(await manifest("inspect", "-v", list));
      const digest = textAt(listAt(pushed)[0], "Descriptor", "digest");
      expect(at(listAt(pushed)[0], "Ref")).toBe(`${list}@${digest}`);
      expect(at(listAt(pushed)[0], "OCIManifest")).toEqual(one);
      const alone: unknown = JSON.parse(await manifest("inspect", "-v", first));
      expect(alone).toMatchObject({
        Ref: first,
        Descriptor: { digest, platform: { architecture: "amd64", os: "linux" } },
        OCIManifest: one,
      });
    });

    test("lists are forgotten one by one, what is not there is named", async () => {
      const [first = "", second = ""] = await pushPlatforms(cli, `${open.host}/${name}/rm`);
      const insecure = name === "docker" ? ["--insecure"] : [];
      const lists = [`${open.host}/${name}/l:1`, `${open.host}/${name}/l:2`];
      for (const list of lists) {
        await cli.ok("manifest", "create", ...insecure, list, first);
      }
      await cli.ok("manifest", "create", ...insecure, "--amend", lists[0] ?? "", second);
      const said = await cli.fails("manifest", "rm", `${open.host}/no:1`, ...lists);
      expect(said).toContain(`No such manifest: ${open.host}/no:1`);
      expect(await cli.fails("manifest", "rm", ...lists)).toContain(lists[1] ?? "");
    });
  });
}

/** Pushes an image for each of two platforms. @returns their names, which are gone here */
async function pushPlatforms(cli: Client, repository: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const architecture of ["amd64", "arm64"]) {
    const image = `${repository}-${architecture}:1`;
    const file = inFolder(engine, uniqueName("platform.tar"));
    writeFileSync(
      file,
      rootTar({ entries: [{ name: "arch", content: architecture }], changes: [] }),
    );
    await cli.ok("import", "--platform", `linux/${architecture}`, file, image);
    await cli.ok("push", "-q", image);
    await cli.ok("rmi", image);
    names.push(image);
  }
  return names;
}

/** A credential helper that keeps one entry in a file. @returns the environment with it */
async function makeHelper(folder: string): Promise<Readonly<Record<string, string>>> {
  mkdirSync(folder);
  const program = join(folder, "docker-credential-test");
  const script =
    `#!/bin/sh\necho "$1" >>${folder}/verbs\ncase "$1" in\n` +
    `store) cat >${folder}/kept ;;\n` +
    `get) cat >/dev/null; cat ${folder}/kept 2>/dev/null || ` +
    `{ echo "credentials not found in native keychain"; exit 1; } ;;\n` +
    `erase) cat >/dev/null; rm -f ${folder}/kept ;;\nlist) echo '{}' ;;\nesac\n`;
  await Bun.write(program, script);
  chmodSync(program, 0o755);
  return { PATH: `${folder}:${process.env["PATH"] ?? ""}` };
}

/** A registry whose token server gives identity tokens, and takes them. */
async function startTokenRegistry() {
  const grants: string[] = [];
  const missing = JSON.stringify({ errors: [{ code: "MANIFEST_UNKNOWN", message: "none" }] });
  const registry = await startFaultRegistry(async (request) => {
    const { path, query, headers } = request;
    if (path === "/token") {
      const form = new URLSearchParams((await request.body()).toString());
      const grant = form.get("grant_type") ?? "basic";
      grants.push(grant);
      const isBasic = headers["authorization"] === `Basic ${btoa("ann:p w")}`;
      const isKnown =
        form.get("password") === "p w" || form.get("refresh_token") === "the-identity";
      if (!isBasic && !isKnown) return { status: 401 };
      const wantsIdentity = query.get("offline_token") ?? form.get("access_type");
      const identity = wantsIdentity === null ? {} : { refresh_token: "the-identity" };
      return { body: JSON.stringify({ token: "good", access_token: "good", ...identity }) };
    }
    if (headers["authorization"] === "Bearer good") {
      return path === "/v2/" ? { body: "{}" } : { status: 404, body: missing };
    }
    const realm = `Bearer realm="${registry.url}/token",service="test"`;
    return { status: 401, headers: { "www-authenticate": realm } };
  });
  return { ...registry, grants };
}

describe.skipIf(!isOurs || !clientNames.includes("docker"))("beside the docker CLI", () => {
  const lines = [
    "pull",
    "pull a b",
    "pull UPPER",
    "pull -a HOST/app:1",
    "pull HOST/none:1",
    "pull HOST/app:none",
    "pull HOST/app:1",
    "pull -q HOST/app:1",
    "pull -a HOST/app",
    "pull --platform a/b/c/d HOST/app:1",
    "pull --platform linux/s390x HOST/app:1",
    `pull HOST/app@sha256:${"0".repeat(64)}`,
    "pull sha256:abc",
    "pull scratch",
    "pull 127.0.0.1:1/x",
    "push",
    "push HOST/app:1",
    "push -q HOST/app:1",
    "push HOST/app",
    "push HOST/none",
    "push -a HOST/app",
    "push -a HOST/app:1",
    `push HOST/app@sha256:${"0".repeat(64)}`,
    "push busybox@x",
    "push --platform linux/amd64 HOST/app:1",
    "search",
    "search HOST/app",
    "search HOST/nothing-such",
    "search --limit 0 HOST/app",
    "search --limit -1 HOST/app",
    "search --limit 101 HOST/app",
    "search --limit x HOST/app",
    "search --no-trunc HOST/app",
    "search --filter is-official=true HOST/app",
    "search --filter foo=bar HOST/app",
    "search --filter stars=x HOST/app",
    "search --format json HOST/app",
    "search --format {{.Name}}:{{.StarCount}}:{{.IsOfficial}} HOST/app",
    "search http://HOST/app",
    "login HOST",
    "login -u u HOST",
    "login -p p HOST",
    "login --password-stdin HOST",
    "login -u u -p p --password-stdin HOST",
    "login -u u -p p 127.0.0.1:1",
    "logout HOST",
    "logout",
    "manifest create HOST/l:1",
    "manifest create BAD! HOST/app:1",
    "manifest push HOST/l:1",
    "manifest rm a HOST/b:1",
    "manifest annotate HOST/l:1 HOST/app:1 --arch arm64",
    "run --rm --pull never HOST/gone:1",
    "run --rm --pull odd HOST/app:1",
  ];

  test.each(lines)("tug %s prints the same", async (line) => {
    const image = `${open.host}/app:1`;
    if ((await digestThere(image)) === "404") await publish(image, "app");
    const argv = line.replaceAll("HOST", open.host).split(" ");
    const results: Partial<Record<ClientName, unknown>> = {};
    for (const name of ["docker", "tug"] as const) {
      await engine.client("tug").ok("pull", "-q", image);
      const folder = inFolder(engine, uniqueName("config"));
      mkdirSync(folder);
      const env = { DOCKER_CONFIG: folder };
      const { exitCode, stdout, stderr } = await engine.client(name).run(argv, { env });
      const plain = (text: string): string =>
        text.replaceAll(folder, "<config>").replace(/\btug\b/g, "docker");
      results[name] = { exitCode, stdout: plain(stdout), stderr: plain(stderr) };
    }
    expect(results.tug).toEqual(results.docker ?? {});
  });
});

describe.skipIf(!isOurs)("a mirror of a registry that is not docker.io", () => {
  test("is asked in its place, and the image keeps its name", async () => {
    await publish(`${open.host}/team/app:1`, "mirrored");
    const mirrors = [`quay.test=${open.url}`];
    await using daemon = await startDaemon({ config: { "registry-mirrors": mirrors } });
    for (const name of clientNames) {
      const cli = daemon.engine.client(name);
      expect(await cli.ok("pull", "quay.test/team/app:1")).toContain("quay.test/team/app:1");
      const run = ["run", "--rm", "--network", "none", "quay.test/team/app:1"];
      expect(await cli.ok(...run)).toBe("mirrored");
      await cli.ok("rmi", "-f", "quay.test/team/app:1");
      expect(await cli.fails("pull", "other.test/team/app:1")).toMatch(/other\.test/);
      const format = '{{json (index .RegistryConfig.IndexConfigs "quay.test").Mirrors}}';
      expect(await cli.ok("info", "-f", format)).toBe(`["${open.url}/"]`);
    }
    await daemon.stop();
  }, 60_000);
});

describe.skipIf(!isOurs || Bun.which("skopeo") === null)("one registry, three clients", () => {
  test("what docker, tug or skopeo pushed, the others have bit for bit", async () => {
    const repository = `${open.host}/three`;
    const remote = `docker://${repository}`;
    const insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    for (const name of clientNames) {
      const cli = engine.client(name);
      const image = `${repository}:${name}`;
      await cli.ok("tag", "busybox", image);
      const said = await cli.ok("push", image);
      const digest = /digest: (\S+)/.exec(said)?.[1] ?? "";
      const seen = await runOk(["skopeo", "inspect", "--tls-verify=false", `${remote}:${name}`]);
      expect(textAt(JSON.parse(seen), "Digest")).toBe(digest);
      await runOk(
        ["skopeo", "--insecure-policy", "copy", ...insecure].concat(
          ...[`${remote}:${name}`, `${remote}:skopeo`],
        ),
      );
      await cli.ok("rmi", image);
      expect(await cli.ok("pull", `${repository}:skopeo`)).toContain(`Digest: ${digest}`);
      expect(await cli.ok("run", "--rm", `${repository}:skopeo`, "echo", "three")).toBe("three");
      await cli.ok("rmi", `${repository}:skopeo`);
    }
    const tags = await engine.client("tug").ok("image", "tags", repository);
    expect(tags.split("\n").toSorted()).toEqual([...clientNames, "skopeo"].toSorted());
    const format = ["--format", "table {{.Tag}}"];
    expect(await engine.client("tug").ok("image", "tags", ...format, repository)).toMatch(/^TAG\n/);
    const lost = await run(["skopeo", "inspect", "--tls-verify=false", `${remote}:none`]);
    expect(lost.stderr).toContain("manifest unknown");
  }, 60_000);
});
