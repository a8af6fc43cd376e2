import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../environment.ts";
import {
  allCredentials,
  encodeAuth,
  eraseCredentials,
  findCredentials,
  findUsableCredentials,
  indexServer,
  registryAuthHeader,
  serverOf,
  serverOfImage,
  storeCredentials,
} from "./credentials.ts";

let root: string;
let environment: Environment;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tug-credentials-"));
  environment = {
    configDir: join(root, "config"),
    variables: { PATH: `${join(root, "bin")}:/usr/bin:/bin`, HELPER_ROOT: root },
    flags: { hosts: [], isTls: false, isDebug: false },
  };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function configure(document: object): void {
  mkdirSync(environment.configDir, { recursive: true });
  writeFileSync(join(environment.configDir, "config.json"), JSON.stringify(document));
}

function configured(): Record<string, unknown> {
  const text = readFileSync(join(environment.configDir, "config.json"), "utf8");
  return JSON.parse(text) as Record<string, unknown>;
}

/** A helper that notes its calls and keeps one answer a verb. */
function installHelper(name: string, script: string): void {
  mkdirSync(join(root, "bin"), { recursive: true });
  const path = join(root, "bin", `docker-credential-${name}`);
  writeFileSync(
    path,
    `#!/bin/sh\ninput=$(cat)\necho "$1 $input" >>$HELPER_ROOT/calls\n${script}\n`,
  );
  chmodSync(path, 0o755);
}

function calls(): string {
  return readFileSync(join(root, "calls"), "utf8");
}

describe("the key of a registry", () => {
  for (const [image, server] of [
    ["busybox", indexServer],
    ["docker.io/library/busybox:1", indexServer],
    ["index.docker.io/me/app", indexServer],
    ["localhost:5000/app", "localhost:5000"],
    [`ghcr.io/me/app@sha256:${"a".repeat(64)}`, "ghcr.io"],
  ] as const) {
    test(image.slice(0, 40), () => expect(serverOfImage(image)).toBe(server));
  }
});

describe("config.json", () => {
  test("keeps what else it holds, is private, and gives credentials back", async () => {
    configure({ psFormat: "{{.ID}}", auths: { "other:1": { auth: "eDp5" } } });
    const stored = { serveraddress: "localhost:5000", username: "me", password: "a:b" };
    expect(await storeCredentials(environment, stored)).toBe(
      join(environment.configDir, "config.json"),
    );
    expect(configured()).toMatchObject({ psFormat: "{{.ID}}" });
    expect(statSync(join(environment.configDir, "config.json")).mode & 0o777).toBe(0o600);
    expect(await findCredentials(environment, "localhost:5000")).toEqual(stored);
    expect(Object.keys(await allCredentials(environment))).toEqual(["other:1", "localhost:5000"]);
    expect(await eraseCredentials(environment, "localhost:5000")).toBe(true);
    expect(await eraseCredentials(environment, "localhost:5000")).toBe(false);
    expect(configured()).toMatchObject({ auths: { "other:1": { auth: "eDp5" } } });
  });

  test("an identity token stands in place of the password", async () => {
    await storeCredentials(environment, {
      serveraddress: "localhost:5000",
      username: "me",
      password: "secret",
      identitytoken: "token",
    });
    expect(JSON.stringify(configured())).not.toContain(Buffer.from("me:secret").toString("base64"));
    expect(await findCredentials(environment, "localhost:5000")).toEqual({
      username: "me",
      identitytoken: "token",
      serveraddress: "localhost:5000",
    });
  });

  test("old keys of Docker Hub and of https:// are found", async () => {
    configure({ auths: { "https://localhost:5000/v1/": { auth: "bWU6cHc=" } } });
    expect(await findCredentials(environment, "localhost:5000")).toMatchObject({ username: "me" });
    configure({ auths: { "docker.io": { auth: "aHViOnB3" } } });
    expect(await findCredentials(environment, serverOf("docker.io"))).toMatchObject({
      username: "hub",
    });
  });

  for (const [name, document] of [
    ["none", undefined],
    ["auths that are no object", { auths: 7 }],
    ["an entry that is no object", { auths: { "localhost:5000": "x" } }],
  ] as const) {
    test(`${name}: an empty header`, async () => {
      if (document !== undefined) configure(document);
      const header = await registryAuthHeader(environment, "localhost:5001");
      expect(header).toEqual({ "X-Registry-Auth": encodeAuth({}) });
    });
  }

  test("what the environment gives goes before the file and helpers", async () => {
    const auth = (pair: string): object => ({ auth: Buffer.from(pair).toString("base64") });
    configure({ credsStore: "missing", auths: { "r:1": auth("kept:1") } });
    const give = (text: string): Environment => ({
      ...environment,
      variables: { ...environment.variables, DOCKER_AUTH_CONFIG: text },
    });
    const given = give(JSON.stringify({ auths: { "https://r:1/v1/": auth("given:2") } }));
    expect(await findCredentials(given, "r:1")).toMatchObject({ username: "given", password: "2" });
    expect(await findUsableCredentials(given, "other:1")).toBeUndefined();
    configure({ auths: { "r:1": auth("kept:1") } });
    for (const text of ["", "{", "[]", '{"auths":{"r:1":"x"}}']) {
      expect(await findCredentials(give(text), "r:1")).toMatchObject(
        text.includes("r:1") ? {} : { username: "kept" },
      );
    }
  });

  test("an empty file holds nothing", async () => {
    mkdirSync(environment.configDir);
    writeFileSync(join(environment.configDir, "config.json"), "\n");
    expect(await findCredentials(environment, "reg:1")).toBeUndefined();
    await storeCredentials(environment, { serveraddress: "reg:1", username: "me", password: "p" });
    expect(await findCredentials(environment, "reg:1")).toMatchObject({ username: "me" });
  });

  for (const isThere of [true, false]) {
    test(`a link to a file ${isThere ? "" : "that is not there yet "}stays one`, async () => {
      const [kept, link] = [join(root, "kept.json"), join(environment.configDir, "config.json")];
      mkdirSync(environment.configDir);
      symlinkSync("../kept.json", link);
      if (isThere) writeFileSync(kept, JSON.stringify({ psFormat: "x" }));
      const stored = { serveraddress: "reg:1", username: "me", password: "p" };
      await storeCredentials(environment, stored);
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
      expect(Object.keys(configured())).toEqual(isThere ? ["psFormat", "auths"] : ["auths"]);
      expect(statSync(kept).mode & 0o777).toBe(0o600);
      expect(await eraseCredentials(environment, "reg:1")).toBe(true);
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
    });
  }

  test.skipIf(process.getuid?.() !== 0)(
    "a file stays its owner's when root writes it",
    async () => {
      configure({});
      const path = join(environment.configDir, "config.json");
      chownSync(path, 12, 34);
      await storeCredentials(environment, {
        serveraddress: "reg:1",
        username: "me",
        password: "p",
      });
      expect(statSync(path)).toMatchObject({ uid: 12, gid: 34 });
    },
  );

  test("a file that is no JSON is told by name", async () => {
    mkdirSync(environment.configDir, { recursive: true });
    writeFileSync(join(environment.configDir, "config.json"), "{");
    await expect(findCredentials(environment, "x")).rejects.toMatchObject({
      kind: "invalid-argument",
      message: expect.stringContaining("config.json"),
    });
  });
});

describe("helpers", () => {
  test("are asked by their verbs, and the password goes by standard input alone", async () => {
    installHelper("note", `[ "$1" = get ] && echo '{"Username":"me","Secret":"pw"}'; true`);
    configure({ credHelpers: { "localhost:5000": "note" } });
    const server = "localhost:5000";
    const stored = { serveraddress: server, username: "me", password: "pw" };
    expect(await storeCredentials(environment, stored)).toBeUndefined();
    expect(JSON.stringify(configured())).not.toContain("cHc");
    expect(await findCredentials(environment, server)).toEqual(stored);
    expect(await eraseCredentials(environment, server)).toBe(true);
    expect(calls()).toBe(
      'store {"ServerURL":"localhost:5000","Username":"me","Secret":"pw"}\n' +
        "get localhost:5000\nerase localhost:5000\n",
    );
  });

  test("an identity token is marked by its username", async () => {
    installHelper("note", `echo '{"Username":"<token>","Secret":"t"}'`);
    configure({ credsStore: "note" });
    expect(await findCredentials(environment, "r:1")).toEqual({
      identitytoken: "t",
      serveraddress: "r:1",
    });
  });

  test("one that knows nothing of a server is no failure, one that fails is", async () => {
    installHelper("note", "echo credentials not found in native keychain; exit 1");
    configure({ credsStore: "note" });
    expect(await findCredentials(environment, "r:1")).toBeUndefined();
    installHelper("note", "echo locked; exit 3");
    await expect(findCredentials(environment, "r:1")).rejects.toMatchObject({
      message: "error getting credentials - err: exit status 3, out: `locked`",
    });
  });

  test("one that fails does not keep anybody from what is public", async () => {
    for (const script of ["echo locked; exit 3", "echo no JSON"]) {
      installHelper("note", script);
      configure({ credsStore: "note" });
      expect(await findUsableCredentials(environment, "r:1")).toBeUndefined();
      expect(await registryAuthHeader(environment, "r:1")).toEqual({
        "X-Registry-Auth": encodeAuth({}),
      });
    }
    configure({ credsStore: "missing" });
    expect(await findUsableCredentials(environment, "r:1")).toBeUndefined();
    expect(await registryAuthHeader(environment, "r:1")).toEqual({
      "X-Registry-Auth": encodeAuth({}),
    });
  });

  test("of an empty name is the file, whatever keeps the others", async () => {
    const auth = Buffer.from("me:pw").toString("base64");
    configure({ credsStore: "missing", credHelpers: { "r:1": "" }, auths: { "r:1": { auth } } });
    expect(await findCredentials(environment, "r:1")).toMatchObject({ username: "me" });
  });

  test("is told of a logout also when it alone knew", async () => {
    installHelper("note", "");
    configure({ credsStore: "note" });
    await eraseCredentials(environment, "r:1");
    expect(calls()).toBe("erase r:1\n");
    installHelper("note", "echo locked; exit 3");
    await expect(eraseCredentials(environment, "r:1")).rejects.toThrow("error erasing credentials");
  });

  test("one that is missing, or whose name is a path, is refused", async () => {
    configure({ credsStore: "missing" });
    await expect(findCredentials(environment, "r:1")).rejects.toMatchObject({
      message: expect.stringContaining("docker-credential-missing"),
    });
    configure({ credsStore: "../../bin/sh" });
    await expect(findCredentials(environment, "r:1")).rejects.toMatchObject({
      kind: "invalid-argument",
    });
  });
});
