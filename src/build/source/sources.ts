import { closeSync, mkdirSync, openSync, readSync, renameSync } from "node:fs";
import { basename, join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import { createId } from "../../lib/id.ts";
import { findProxy, type ProxyConfig } from "../../remote/transport/proxies.ts";
import { openTransport } from "../../remote/transport/http-transport.ts";
import type { Copier } from "../copy/copy.ts";
import { GitRepositories } from "./_git-repository.ts";
import { HttpFiles } from "./_http-files.ts";
import { ScratchFolders } from "./_scratch-folders.ts";
import type { HttpContext, HttpFile, HttpRequest, Sources } from "./source.ts";

/** What fetching needs. */
export interface SourcesOptions {
  /** Folder of the cache, made when missing; on the file system of the snapshots it is fastest. */
  readonly root: string;
  /** Unpacks archives, away from the daemon. */
  readonly copier: Copier;
  readonly proxies?: ProxyConfig;
  /** Largest file; 16 GiB when absent. */
  readonly httpSizeMaxBytes?: number;
}

/** How long a server may take. */
const limits = {
  connectMs: 30_000,
  answerMs: 60_000,
  commitMs: 60_000,
  stallMs: 60_000,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 30_000,
  retryAfterMaxMs: 60_000,
  patienceMaxMs: 20_000,
};
/** How much of a file tells whether it is text. */
const sniffBytes = 1024;

/** Opens the cache of fetched sources; what an earlier run left half done is removed. */
export async function openSources(options: SourcesOptions): Promise<Sources> {
  mkdirSync(options.root, { recursive: true, mode: 0o700 });
  const scratch = new ScratchFolders(join(options.root, "scratch"));
  await scratch.clear();
  const transport = openTransport({
    limits,
    routeTo: async (url) => ({ isVerified: true, proxy: findProxy(url, options.proxies ?? {}) }),
  });
  const git = new GitRepositories({ root: join(options.root, "git"), scratch });
  const files = new HttpFiles({
    root: join(options.root, "http"),
    scratch,
    transport,
    ...(options.httpSizeMaxBytes === undefined ? {} : { sizeMaxBytes: options.httpSizeMaxBytes }),
  });
  return {
    resolveGit: (request) => git.resolve(request),
    fetchGit: (request) => git.fetch(request),
    fetchHttp: (request) => files.fetch(request),
    fetchHttpContext: async (request) => {
      await using file = await files.fetch(request);
      return await makeContext(file, { scratch, copier: options.copier, request });
    },
    prune: async () => ({ spaceReclaimedBytes: (await git.prune()) + (await files.prune()) }),
    async [Symbol.asyncDispose]() {
      transport.close();
    },
  };
}

/** Unpacks a fetched file; what is no archive is a Dockerfile, if it is text. */
async function makeContext(
  file: HttpFile,
  options: {
    readonly scratch: ScratchFolders;
    readonly copier: Copier;
    readonly request: HttpRequest;
  },
): Promise<HttpContext> {
  const { signal } = options.request;
  const folder = options.scratch.make();
  // No archive has an entry of this name: if it is there, the file was copied as it is.
  const name = `context-${createId()}`;
  try {
    renameSync(join(file.path, file.name), join(file.path, name));
    const tree = { kind: "folder", path: file.path, isFrozen: true } as const;
    const selection = { tree, paths: [name], excludes: [], hasParents: false, isLiteral: true };
    await options.copier.copy(
      {
        target: { type: "bind", source: folder.path, isReadOnly: false },
        steps: [
          {
            kind: "copy",
            sources: [{ kind: "files", selection, unpack: "archives" }],
            destination: "/",
            resetsOwners: true,
            chown: "0:0",
          },
        ],
      },
      signal === undefined ? {} : { signal },
    );
    const first = readStart(join(folder.path, name));
    if (first === undefined) return { ...folder, kind: "folder" };
    if (first.includes(0)) {
      const sentence = `unsupported context: ${basename(file.name)} is no archive and no Dockerfile`;
      throw new EngineError("invalid-argument", sentence);
    }
    renameSync(join(folder.path, name), join(folder.path, "Dockerfile"));
    return { ...folder, kind: "dockerfile" };
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

function readStart(path: string): Uint8Array | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(sniffBytes);
    return bytes.subarray(0, readSync(fd, bytes, 0, sniffBytes, 0));
  } finally {
    closeSync(fd);
  }
}
