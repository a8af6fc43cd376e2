import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { EngineError, isKind } from "../../lib/errors.ts";
import { KeyedMutex } from "../../lib/concurrency/keyed-mutex.ts";
import { removeTree } from "../../sys/fs/fs.ts";
import { type GitCommand, gitEnvironment, runGit } from "./_git-command.ts";
import type { ScratchFolders } from "./_scratch-folders.ts";
import type { GitCommit, GitFolder, GitRequest } from "./source.ts";

const gitDirName = Buffer.from(".git");
const commitForm = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** Repositories fetched before, each as a bare one of its own. */
export class GitRepositories {
  readonly #root: string;
  readonly #scratch: ScratchFolders;
  readonly #locks = new KeyedMutex();

  constructor(options: { readonly root: string; readonly scratch: ScratchFolders }) {
    this.#root = options.root;
    this.#scratch = options.scratch;
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
  }

  /** See `Sources.resolveGit`. */
  async resolve(request: GitRequest): Promise<GitCommit> {
    const found = await this.#resolve(request, await this.#command(request));
    const wanted = request.source.checksum;
    if (wanted !== undefined && !found.commit.startsWith(wanted)) {
      const sentence = `expected checksum to match ${wanted}, got ${found.commit}`;
      throw new EngineError("invalid-argument", sentence);
    }
    return found;
  }

  async #resolve({ source }: GitRequest, command: GitCommand): Promise<GitCommit> {
    const ref = source.ref ?? "HEAD";
    if (commitForm.test(ref)) return { commit: ref };
    const output = await runGit(command, [
      "ls-remote",
      "--symref",
      "--",
      source.remote,
      ref,
      `${ref}^{}`,
    ]);
    const commits = new Map<string, string>();
    let head: string | undefined;
    for (const line of output.split("\n")) {
      const symbolic = /^ref: (\S+)\tHEAD$/.exec(line);
      if (symbolic !== null) head = symbolic[1];
      const [commit = "", name = ""] = line.split("\t");
      if (commitForm.test(commit)) commits.set(name, commit);
    }
    // As git rev-parse looks names up; of an annotated tag the commit.
    const names =
      ref === "HEAD" ? ["HEAD"] : [ref, `refs/${ref}`, `refs/tags/${ref}`, `refs/heads/${ref}`];
    for (const name of names) {
      const commit = commits.get(`${name}^{}`) ?? commits.get(name);
      if (commit === undefined) continue;
      const full = name === "HEAD" ? head : name;
      return { commit, ...(full === undefined ? {} : { ref: full }) };
    }
    const sentence = `repository does not contain ref ${ref}, output: ${JSON.stringify(output.slice(0, 500))}`;
    throw new EngineError("not-found", sentence);
  }

  /** See `Sources.fetchGit`. */
  async fetch(request: GitRequest): Promise<GitFolder> {
    const found = await this.resolve(request);
    const { remote } = request.source;
    const mirror = join(this.#root, createHash("sha256").update(remote).digest("hex"));
    const command = await this.#command(request);
    const keepsGitDir = request.keepsGitDir || request.source.keepsGitDir === true;
    const folder = this.#scratch.make();
    try {
      await this.#locks.run(mirror, async () => {
        await this.#fetchCommit({ ...command, gitDir: mirror }, { remote, mirror, ...found });
      });
      const checkout: Checkout = {
        request,
        command,
        mirror,
        commit: found.commit,
        path: folder.path,
      };
      const hasModules = await this.#hasSubmodules(checkout);
      const path =
        keepsGitDir || hasModules
          ? await this.#checkOutWhole(checkout, { keepsGitDir, hasModules })
          : await this.#checkOutFiles(checkout);
      return { ...found, path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
    } catch (error) {
      await folder[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Forgets all repositories; tells how many bytes they were. */
  async prune(): Promise<number> {
    let sizeBytes = 0;
    for (const name of readdirSync(this.#root)) {
      await this.#locks.run(join(this.#root, name), async () => {
        sizeBytes += sizeOf(join(this.#root, name));
        await removeTree(join(this.#root, name));
      });
    }
    return sizeBytes;
  }

  async #command(request: GitRequest): Promise<GitCommand> {
    const env = await gitEnvironment(request, { home: this.#root });
    return { cwd: this.#root, env, signal: request.signal };
  }

  async #fetchCommit(
    command: GitCommand,
    wanted: { readonly remote: string; readonly mirror: string } & GitCommit,
  ): Promise<void> {
    const { mirror, remote, commit, ref } = wanted;
    if (!existsSync(join(mirror, "HEAD"))) {
      rmSync(mirror, { recursive: true, force: true });
      const { gitDir: _none, ...outside } = command;
      await runGit(outside, ["init", "--bare", "--quiet", "--template=", "--", mirror]);
    }
    if (await isThere(command, commit)) return;
    // A fetch that was killed leaves these; nobody else is in here.
    rmSync(join(mirror, "shallow.lock"), { force: true });
    const fetch = ["fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules"];
    try {
      const target = `${commit}:refs/tug/${commit}`;
      await runGit(command, [...fetch, "--depth=1", "--", remote, target]);
    } catch (error) {
      // Not every server gives a commit by its name alone.
      if (!isKind(error, "unavailable")) throw error;
      const specs =
        ref === undefined
          ? ["refs/heads/*:refs/tug/heads/*", "refs/tags/*:refs/tug/tags/*"]
          : [`${ref}:refs/tug/${commit}`];
      await runGit(command, [...fetch, "--", remote, ...specs]);
    }
    if (!(await isThere(command, commit))) {
      throw new EngineError("not-found", `repository does not contain ref ${commit}, output: ""`);
    }
  }

  async #hasSubmodules({ request, command, mirror, commit }: Checkout): Promise<boolean> {
    if (request.source.hasSubmodules === false) return false;
    const files = await runGit({ ...command, gitDir: mirror }, [
      "ls-tree",
      commit,
      "--",
      ".gitmodules",
    ]);
    return files !== "";
  }

  /** The files of the commit, without a repository. */
  async #checkOutFiles(checkout: Checkout): Promise<string> {
    const { command, mirror, commit, path, request } = checkout;
    const { subdir } = request.source;
    const here: GitCommand = {
      ...command,
      gitDir: mirror,
      workTree: path,
      indexFile: `${path}.index`,
    };
    try {
      const tree = subdir === undefined ? commit : await findFolder(here, { commit, subdir });
      await runGit(here, ["read-tree", "--", tree]);
      await runGit({ ...here, cwd: path }, ["checkout-index", "--all", "--force"]);
    } finally {
      rmSync(`${path}.index`, { force: true });
    }
    return path;
  }

  /** A repository with the commit checked out; `.git` goes when it is not to be kept. */
  async #checkOutWhole(
    checkout: Checkout,
    options: { readonly keepsGitDir: boolean; readonly hasModules: boolean },
  ): Promise<string> {
    const { command, mirror, commit, path, request } = checkout;
    const here: GitCommand = { ...command, cwd: path };
    const local = { ...here, env: { ...here.env, GIT_ALLOW_PROTOCOL: "file" } };
    await runGit(here, ["init", "--quiet", "--template="]);
    await runGit(here, ["remote", "add", "--", "origin", withoutUser(request.source.remote)]);
    await runGit(local, [
      "fetch",
      "--quiet",
      "--depth=1",
      "--no-tags",
      "--",
      `file://${mirror}`,
      commit,
    ]);
    await runGit(here, ["checkout", "--quiet", "--force", "--detach", commit]);
    if (options.hasModules) {
      const update = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"];
      await runGit(here, update);
    }
    if (!options.keepsGitDir) removeGitDirs(Buffer.from(path));
    const { subdir } = request.source;
    if (subdir === undefined) return path;
    await findFolder({ ...command, gitDir: mirror }, { commit, subdir });
    return join(path, subdir);
  }
}

interface Checkout {
  readonly request: GitRequest;
  readonly command: GitCommand;
  readonly mirror: string;
  readonly commit: string;
  readonly path: string;
}

async function isThere(command: GitCommand, commit: string): Promise<boolean> {
  try {
    await runGit(command, ["cat-file", "-e", `${commit}^{tree}`]);
    return true;
  } catch (error) {
    if (isKind(error, "unavailable")) return false;
    throw error;
  }
}

/** The name of a folder's tree. @throws not-found when the commit has no folder there */
async function findFolder(
  command: GitCommand,
  folder: { readonly commit: string; readonly subdir: string },
): Promise<string> {
  const entry = await runGit(command, ["ls-tree", "-d", folder.commit, "--", folder.subdir]);
  const tree = /^040000 tree ([0-9a-f]+)\t/.exec(entry)?.[1];
  if (tree !== undefined) return tree;
  const sentence = `subdir ${JSON.stringify(folder.subdir)}: no folder of commit ${folder.commit}`;
  throw new EngineError("not-found", sentence);
}

/** A URL that a checkout may keep: whoever reads it later gets no password. */
function withoutUser(remote: string): string {
  const url = URL.parse(remote);
  if (url === null || url.password === "") return remote;
  url.username = "";
  url.password = "";
  return url.href;
}

/** Folders of repositories and of their submodules; names are bytes, and links are not followed. */
function removeGitDirs(path: Buffer): void {
  for (const name of readdirSync(path, { encoding: "buffer" })) {
    const at = Buffer.concat([path, Buffer.from("/"), name]);
    if (gitDirName.equals(name)) rmSync(at, { recursive: true, force: true });
    else if (lstatSync(at).isDirectory()) removeGitDirs(at);
  }
}

function sizeOf(path: string): number {
  return readdirSync(path, { recursive: true, encoding: "utf8" }).reduce(
    (sum, name) => sum + (statSync(join(path, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
