import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
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
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isKind } from "../../lib/errors.ts";
import { parseDigest } from "../../oci/digest.ts";
import { openCopier } from "../copy/copier.ts";
import { parseContextUrl } from "./context-url.ts";
import type { GitRequest, GitUrl, Sources } from "./source.ts";
import { openSources } from "./sources.ts";

const canRun = process.getuid?.() === 0 && Bun.which("git") !== null;
const root = mkdtempSync(join(tmpdir(), "tug-source-"));
const copier = openCopier();
afterAll(async () => {
  await copier[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
});

let count = 0;
async function open(options: { readonly httpSizeMaxBytes?: number } = {}): Promise<Sources> {
  count += 1;
  return openSources({ root: join(root, `cache-${count}`), copier, ...options });
}

function git(cwd: string, ...args: readonly string[]): string {
  const identity = [
    "-c",
    "user.name=t",
    "-c",
    "user.email=t@t",
    "-c",
    "protocol.file.allow=always",
  ];
  const done = spawnSync("git", [...identity, ...args], { cwd, encoding: "utf8" });
  if (done.status !== 0) throw new Error(done.stderr);
  return done.stdout.trim();
}

/** A repository with two commits on `main`, a tag `v1` on the first, a folder and links. */
function makeRepository(name: string): {
  readonly url: string;
  readonly path: string;
  readonly first: string;
  readonly second: string;
} {
  const path = join(root, `${name}.git`);
  mkdirSync(join(path, "sub/deep"), { recursive: true });
  git(path, "init", "--quiet", "-b", "main");
  writeFileSync(join(path, "Dockerfile"), "FROM scratch\n");
  writeFileSync(join(path, "sub/deep/f"), "one");
  writeFileSync(join(path, "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
  symlinkSync("/etc/passwd", join(path, "link"));
  git(path, "add", ".");
  git(path, "commit", "--quiet", "-m", "first");
  const first = git(path, "rev-parse", "HEAD");
  git(path, "tag", "-a", "-m", "tag", "v1");
  writeFileSync(join(path, "sub/deep/f"), "two");
  git(path, "commit", "--quiet", "-am", "second");
  return { url: `file://${path}`, path, first, second: git(path, "rev-parse", "HEAD") };
}

function request(url: string, options: Partial<GitRequest> = {}): GitRequest {
  const parsed = parseContextUrl(url, { allowsFiles: true });
  if (parsed?.kind !== "git") throw new Error(`${url} is no repository`);
  const { kind: _kind, ...source } = parsed;
  return { source: source as GitUrl, keepsGitDir: false, ...options };
}

describe.skipIf(!canRun)("git sources (need root and git)", () => {
  test("resolveGit() finds HEAD, branches, tags and commits", async () => {
    await using sources = await open();
    const { url, first, second } = makeRepository("resolve");
    expect(await sources.resolveGit(request(url))).toEqual({
      commit: second,
      ref: "refs/heads/main",
    });
    expect(await sources.resolveGit(request(`${url}#main`))).toEqual({
      commit: second,
      ref: "refs/heads/main",
    });
    expect((await sources.resolveGit(request(`${url}#v1`))).commit).toBe(first);
    expect(await sources.resolveGit(request(`${url}#${first}`))).toEqual({ commit: first });
    await expect(sources.resolveGit(request(`${url}#nope`))).rejects.toThrow(
      'repository does not contain ref nope, output: ""',
    );
    await expect(
      sources.resolveGit(request(`${url}?checksum=${first.slice(0, 8)}#main`)),
    ).rejects.toThrow(`expected checksum to match ${first.slice(0, 8)}, got ${second}`);
  });

  test("fetchGit() gives the files of a commit, and nothing of git", async () => {
    await using sources = await open();
    const { url, first } = makeRepository("files");
    await using folder = await sources.fetchGit(request(`${url}#v1`));
    expect(folder.commit).toBe(first);
    expect(readdirSync(folder.path).toSorted()).toEqual(["Dockerfile", "link", "run.sh", "sub"]);
    expect(readFileSync(join(folder.path, "sub/deep/f"), "utf8")).toBe("one");
    expect(statSync(join(folder.path, "run.sh")).mode & 0o777).toBe(0o755);
    expect(statSync(join(folder.path, "Dockerfile")).mode & 0o777).toBe(0o644);
  });

  test("fetchGit() gives a folder of a commit alone", async () => {
    await using sources = await open();
    const { url } = makeRepository("subdir");
    await using folder = await sources.fetchGit(request(`${url}#main:sub/deep`));
    expect(readdirSync(folder.path)).toEqual(["f"]);
    await expect(sources.fetchGit(request(`${url}#main:nope`))).rejects.toThrow(
      "no folder of commit",
    );
    await expect(sources.fetchGit(request(`${url}#main:Dockerfile`))).rejects.toThrow("no folder");
  });

  test("fetchGit() keeps a repository when it is asked to", async () => {
    await using sources = await open();
    const { url, second } = makeRepository("keep");
    await using folder = await sources.fetchGit(request(url, { keepsGitDir: true }));
    expect(git(folder.path, "rev-parse", "HEAD")).toBe(second);
    expect(git(folder.path, "status", "--porcelain")).toBe("");
    expect(git(folder.path, "remote", "get-url", "origin")).toBe(url);
  });

  test("fetchGit() brings submodules", async () => {
    await using sources = await open();
    const inner = makeRepository("inner");
    const outer = makeRepository("outer");
    git(outer.path, "submodule", "--quiet", "add", inner.url, "module");
    git(outer.path, "commit", "--quiet", "-m", "module");
    await using folder = await sources.fetchGit(request(outer.url));
    expect(readFileSync(join(folder.path, "module/sub/deep/f"), "utf8")).toBe("two");
    expect(existsSync(join(folder.path, ".git"))).toBe(false);
    expect(existsSync(join(folder.path, "module/.git"))).toBe(false);
    await using without = await sources.fetchGit(request(`${outer.url}?submodules=0`));
    expect(readdirSync(join(without.path, "module"))).toEqual([]);
  });

  test("fetchGit() brings submodules beside folders whose names are no text", async () => {
    await using sources = await open();
    const inner = makeRepository("inner-bytes");
    const outer = makeRepository("outer-bytes");
    const name = Buffer.from([0x2f, 0xff, 0xfe]);
    mkdirSync(Buffer.concat([Buffer.from(outer.path), name]));
    writeFileSync(Buffer.concat([Buffer.from(outer.path), name, Buffer.from("/f")]), "bytes");
    git(outer.path, "add", ".");
    git(outer.path, "submodule", "--quiet", "add", inner.url, "module");
    git(outer.path, "commit", "--quiet", "-m", "module");
    await using folder = await sources.fetchGit(request(outer.url));
    const file = Buffer.concat([Buffer.from(folder.path), name, Buffer.from("/f")]);
    expect(readFileSync(file, "utf8")).toBe("bytes");
    expect(existsSync(join(folder.path, "module/.git"))).toBe(false);
  });

  test("fetchGit() needs no repository for a commit that it has", async () => {
    await using sources = await open();
    const { url, path, first } = makeRepository("cached");
    await (await sources.fetchGit(request(`${url}#${first}`)))[Symbol.asyncDispose]();
    rmSync(path, { recursive: true });
    await using again = await sources.fetchGit(request(`${url}#${first}`));
    expect(readFileSync(join(again.path, "sub/deep/f"), "utf8")).toBe("one");
    expect((await sources.prune()).spaceReclaimedBytes).toBeGreaterThan(0);
    await expect(sources.fetchGit(request(`${url}#${first}`))).rejects.toThrow("git fetch");
  });

  test("fetchGit() runs no hook, filter or file system monitor of a repository", async () => {
    await using sources = await open();
    const { url, path } = makeRepository("hostile");
    const proof = join(root, "proof");
    for (const hook of ["post-checkout", "post-upload-pack", "reference-transaction"]) {
      writeFileSync(join(path, ".git/hooks", hook), `#!/bin/sh\ntouch ${proof}\n`, { mode: 0o755 });
    }
    writeFileSync(join(path, ".gitattributes"), "* filter=evil\n");
    git(path, "add", ".");
    git(path, "commit", "--quiet", "-m", "filter");
    git(path, "config", "filter.evil.smudge", `touch ${proof}; cat`);
    rmSync(proof, { force: true });
    await using folder = await sources.fetchGit(request(url));
    await using kept = await sources.fetchGit(request(url, { keepsGitDir: true }));
    expect(existsSync(proof)).toBe(false);
    expect([existsSync(folder.path), existsSync(kept.path)]).toEqual([true, true]);
  });

  test("two fetches of one repository at once both get their files", async () => {
    await using sources = await open();
    const { url, first, second } = makeRepository("twice");
    const folders = await Promise.all(
      [first, second, first, second].map((commit) => sources.fetchGit(request(`${url}#${commit}`))),
    );
    expect(folders.map(({ path }) => readFileSync(join(path, "sub/deep/f"), "utf8"))).toEqual([
      "one",
      "two",
      "one",
      "two",
    ]);
    for (const folder of folders) await folder[Symbol.asyncDispose]();
    expect(folders.map(({ path }) => existsSync(path))).toEqual([false, false, false, false]);
  });

  test("fetchGit() sends no secret along a redirect", async () => {
    await using sources = await open();
    const seen: (string | undefined)[] = [];
    await using other = await serve((request, answer) => {
      seen.push(request.headers.authorization);
      // Says that it speaks version 2, upon which git asks it something by POST.
      const hello =
        "001e# service=git-upload-pack\n0000000eversion 2\n000cls-refs\n0012fetch=shallow\n0000";
      const type = "application/x-git-upload-pack-advertisement";
      if (request.method === "GET") answer.writeHead(200, { "content-type": type }).end(hello);
      else answer.writeHead(401).end();
    });
    await using first = await serve((request, answer) => {
      if (request.headers.authorization !== undefined) seen.push("first");
      answer.writeHead(301, { location: `${other.url}${request.url}` }).end();
    });
    const secret = async (id: string): Promise<Uint8Array | undefined> =>
      await Promise.resolve(id === "GIT_AUTH_TOKEN" ? Buffer.from("s3cret") : undefined);
    const fetched = sources.fetchGit(request(`${first.url}/a.git`, { secret }));
    await expect(fetched).rejects.toThrow("credentials do not follow");
    expect(seen[0]).toBe("first");
    expect(seen.slice(1).length).toBeGreaterThan(1);
    expect(seen.slice(1).every((header) => header === undefined)).toBe(true);
  });

  test("a token goes to the host in a header, and nowhere else", async () => {
    const seen: string[] = [];
    await using server = await serve((message, answer) => {
      seen.push(message.headers.authorization ?? "");
      answer.writeHead(401, { "www-authenticate": "Basic" }).end();
    });
    await using sources = await open();
    const asked: string[] = [];
    const secret = async (id: string): Promise<Uint8Array | undefined> => {
      asked.push(id);
      return id === "GIT_AUTH_TOKEN" ? Buffer.from("s3cret\n") : undefined;
    };
    const failure = await sources.resolveGit(request(`${server.url}/a.git`, { secret })).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(isKind(failure, "unauthorized")).toBe(true);
    expect(String(failure)).not.toContain("s3cret");
    expect(seen[0]).toBe(`basic ${Buffer.from("x-access-token:s3cret").toString("base64")}`);
    expect(asked[0]).toBe(`GIT_AUTH_HEADER.${new URL(server.url).host}`);
  });
});

interface TestServer extends AsyncDisposable {
  readonly url: string;
}

async function serve(
  handle: (message: IncomingMessage, answer: ServerResponse) => void,
): Promise<TestServer> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const time = "Wed, 21 Oct 2015 07:28:00 GMT";

describe("http sources", () => {
  test("fetchHttp() gives a file as ADD has it: name, mode, time, digest", async () => {
    await using sources = await open();
    await using server = await serve((_message, answer) => {
      answer.setHeader("content-disposition", 'attachment; filename="other"');
      answer
        .writeHead(200, { "last-modified": time, "content-type": "text/plain; charset=utf-8" })
        .end("hello");
    });
    await using file = await sources.fetchHttp({ url: `${server.url}/dir/a%20b.txt?x=1` });
    const stat = statSync(join(file.path, "a b.txt"));
    expect([file.name, stat.mode & 0o7777, stat.mtimeMs]).toEqual([
      "a b.txt",
      0o600,
      Date.parse(time),
    ]);
    expect(file.digest).toBe(
      parseDigest(`sha256:${createHash("sha256").update("hello").digest("hex")}`),
    );
    expect([file.sizeBytes, file.contentType, file.lastModifiedMs]).toEqual([
      5,
      "text/plain",
      Date.parse(time),
    ]);
  });

  test.each([
    ["/", "__unnamed__"],
    ["/a/", "a"],
    ["/%2e%2e", "__unnamed__"],
    ["/a%2fb", "__unnamed__"],
    ["/%ff", "%ff"],
    [`/${"n".repeat(300)}`, "__unnamed__"],
  ])("fetchHttp() calls %s %s, with the start of 1970 for no time", async (path, name) => {
    await using sources = await open();
    await using server = await serve((_message, answer) => void answer.end("x"));
    await using file = await sources.fetchHttp({ url: `${server.url}${path}` });
    expect(file.name).toBe(name);
    expect(statSync(join(file.path, name)).mtimeMs).toBe(0);
  });

  test("fetchHttp() asks again with the ETag, and keeps what has not changed", async () => {
    const tags: (string | undefined)[] = [];
    let body = "one";
    await using server = await serve((message, answer) => {
      tags.push(message.headers["if-none-match"]);
      const etag = `"${body}"`;
      if (message.headers["if-none-match"] === etag) answer.writeHead(304).end();
      else answer.writeHead(200, { etag }).end(body);
    });
    await using sources = await open();
    const read = async (): Promise<string> => {
      await using file = await sources.fetchHttp({ url: `${server.url}/f` });
      return readFileSync(join(file.path, "f"), "utf8");
    };
    expect([await read(), await read()]).toEqual(["one", "one"]);
    await using held = await sources.fetchHttp({ url: `${server.url}/f` });
    body = "two";
    expect(await read()).toBe("two");
    expect(readFileSync(join(held.path, "f"), "utf8")).toBe("one");
    expect(tags).toEqual([undefined, '"one"', '"one"', '"one"']);
  });

  test("fetchHttp() takes a file with the checksum from the cache, and refuses another", async () => {
    let asked = 0;
    await using server = await serve((_message, answer) => {
      asked += 1;
      answer.end("hello");
    });
    await using sources = await open();
    const checksum = parseDigest(`sha256:${createHash("sha256").update("hello").digest("hex")}`);
    const url = `${server.url}/f`;
    for (let round = 0; round < 3; round += 1) {
      await using _file = await sources.fetchHttp({ url, checksum });
    }
    expect(asked).toBe(1);
    const other = parseDigest(`sha256:${"0".repeat(64)}`);
    await expect(sources.fetchHttp({ url, checksum: other })).rejects.toThrow(
      `digest mismatch ${checksum}: ${other}`,
    );
  });

  test("fetchHttp() follows redirects, but takes no secret to another host", async () => {
    const seen: (string | undefined)[] = [];
    await using target = await serve((message, answer) => {
      seen.push(message.headers.authorization);
      answer.end("there");
    });
    await using server = await serve((message, answer) => {
      seen.push(message.headers.authorization);
      const to = message.url === "/f" ? "/g" : `${target.url}/h`;
      answer.writeHead(302, { location: to }).end();
    });
    await using sources = await open();
    const secret = async (id: string): Promise<Uint8Array | undefined> =>
      id === `HTTP_AUTH_TOKEN_${new URL(server.url).host}` ? Buffer.from("tok") : undefined;
    await using file = await sources.fetchHttp({ url: `${server.url}/f`, secret });
    expect([file.name, file.sizeBytes]).toEqual(["f", 5]);
    expect(seen).toEqual(["Bearer tok", "Bearer tok", undefined]);
  });

  test("fetchHttp() ends redirects without end, too much data, and failures", async () => {
    await using server = await serve((message, answer) => {
      if (message.url === "/loop") answer.writeHead(302, { location: "/loop" }).end();
      else if (message.url === "/away")
        answer.writeHead(302, { location: "file:///etc/passwd" }).end();
      else if (message.url === "/big") answer.end("x".repeat(2000));
      else answer.writeHead(404).end();
    });
    await using sources = await open({ httpSizeMaxBytes: 1000 });
    const fetch = (path: string): Promise<unknown> =>
      sources.fetchHttp({ url: `${server.url}${path}` });
    await expect(fetch("/loop")).rejects.toThrow("stopped after 10 redirects");
    await expect(fetch("/away")).rejects.toThrow("no http or https URL");
    await expect(fetch("/big")).rejects.toThrow("more than 1000 bytes");
    await expect(fetch("/none")).rejects.toThrow("invalid response status 404");
    await expect(sources.fetchHttp({ url: "ftp://x/y" })).rejects.toThrow("no http or https URL");
    const files = readdirSync(join(root, `cache-${count}`, "http"), { recursive: true });
    expect(files.filter((name) => String(name).includes("part-"))).toEqual([]);
  });

  test.skipIf(!canRun)(
    "fetchHttpContext() unpacks archives and takes a Dockerfile alone",
    async () => {
      const from = join(root, "tar");
      mkdirSync(join(from, "d"), { recursive: true });
      writeFileSync(join(from, "d/f"), "x");
      spawnSync("tar", ["-C", from, "-czf", join(root, "c.tgz"), "d"]);
      const bodies = new Map([
        ["/c.tgz", readFileSync(join(root, "c.tgz"))],
        ["/Dockerfile", Buffer.from("FROM scratch\n")],
        ["/binary", Buffer.from([1, 0, 2])],
      ]);
      await using server = await serve(
        (message, answer) => void answer.end(bodies.get(message.url ?? "")),
      );
      await using sources = await open();
      await using folder = await sources.fetchHttpContext({ url: `${server.url}/c.tgz` });
      expect([folder.kind, readFileSync(join(folder.path, "d/f"), "utf8")]).toEqual([
        "folder",
        "x",
      ]);
      await using file = await sources.fetchHttpContext({ url: `${server.url}/Dockerfile` });
      expect([file.kind, readdirSync(file.path)]).toEqual(["dockerfile", ["Dockerfile"]]);
      await expect(sources.fetchHttpContext({ url: `${server.url}/binary` })).rejects.toThrow(
        "unsupported context",
      );
    },
  );
});
