/**
 * What a build fetches from elsewhere: git repositories and files behind URLs, as contexts and for ADD.
 *
 * Terms: a *git URL* names a repository, and after `#` a ref and a folder (`…git#main:docs`); it is
 * *pinned* once the ref is a commit. A *fetched file* lies in a folder of its own, with the mode and
 * time that ADD gives it.
 *
 * 1. `parseContextUrl` says what the argument of `docker build` or a source of ADD is.
 * 2. `resolveGit` asks which commit a ref is: the key of the step, without fetching anything.
 * 3. `fetchGit` and `fetchHttp` give a folder. It is the caller's until it is closed; what can serve
 *    the next build (a bare mirror, the file with its ETag) stays in the cache folder.
 *
 * A repository is hostile: no hook, filter, submodule helper or protocol runs that is not on a short
 * list; a server is hostile: redirects, sizes and times are bounded. Secrets go only where their name
 * says, never into a URL, an argument, a log line or a key.
 */
import type { Digest } from "../../oci/digest.ts";
import type { ContextFolder } from "../build-service.ts";

/** What a text names, of those things that are fetched. */
export type ContextUrl =
  | ({ readonly kind: "git" } & GitUrl)
  | { readonly kind: "http"; readonly url: string };

/** A repository, and what of it. */
export interface GitUrl {
  /** What `git fetch` takes: `https://…`, `ssh://…`, `git@host:path`, `git://…`, `file:///…`. */
  readonly remote: string;
  /** Branch, tag, full ref or commit; the remote's HEAD when absent. */
  readonly ref?: string;
  /** Without leading and trailing `/`. */
  readonly subdir?: string;
  /** Of `?checksum=`, `?commit=`: a commit or the beginning of one that the ref must be. */
  readonly checksum?: string;
  readonly keepsGitDir?: boolean;
  readonly hasSubmodules?: boolean;
}

/** Values of a build's secrets by ID, as `GIT_AUTH_TOKEN` or `HTTP_AUTH_TOKEN_<host>`. */
export type SecretReader = (id: string) => Promise<Uint8Array | undefined>;

/** What a git call may have. */
export interface GitRequest {
  readonly source: GitUrl;
  /** `--keep-git-dir`: the checkout has a `.git`. */
  readonly keepsGitDir: boolean;
  /** `GIT_AUTH_TOKEN[.host]` and `GIT_AUTH_HEADER[.host]` are asked for. */
  readonly secret?: SecretReader;
  /** Path of an ssh agent's socket. */
  readonly sshAgentPath?: string;
  readonly signal?: AbortSignal;
}

/** A ref as it is now. */
export interface GitCommit {
  /** 40 or 64 hexadecimal digits. */
  readonly commit: string;
  /** `refs/heads/main`; absent when a commit was asked for. */
  readonly ref?: string;
}

/** A folder of a repository at one commit. Modes are 0755 and 0644, owner 0:0. */
export interface GitFolder extends ContextFolder, GitCommit {}

/** What an HTTP fetch may have. */
export interface HttpRequest {
  readonly url: string;
  /** What the content must be; `sha256:…`. */
  readonly checksum?: Digest;
  /** `HTTP_AUTH_HEADER_<host>` and `HTTP_AUTH_TOKEN_<host>` are asked for. */
  readonly secret?: SecretReader;
  readonly onProgress?: (currentBytes: number, totalBytes: number | undefined) => void;
  readonly signal?: AbortSignal;
}

/** A fetched file, alone in its folder: mode 0600, owner 0:0, time of `Last-Modified`. */
export interface HttpFile extends ContextFolder {
  /** Of the file in the folder: the last part of the URL's path, `__unnamed__` when there is none. */
  readonly name: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Milliseconds since 1970; 0, as the file's time, when the server did not say. */
  readonly lastModifiedMs: number;
  /** As the server said, without parameters; "" when it did not. */
  readonly contentType: string;
}

/** A context behind a URL: a tar archive unpacked, or a Dockerfile alone. */
export interface HttpContext extends ContextFolder {
  readonly kind: "folder" | "dockerfile";
}

/** The sources of one data root. Closing forgets what is being fetched. */
export interface Sources extends AsyncDisposable {
  /**
   * @throws not-found `repository does not contain ref main, output: ""`; invalid-argument when
   * `checksum` does not fit; unauthorized; unavailable when the server cannot be reached
   */
  resolveGit(request: GitRequest): Promise<GitCommit>;
  /** @throws as `resolveGit`; not-found when the folder is not in the commit */
  fetchGit(request: GitRequest): Promise<GitFolder>;
  /** @throws invalid-argument when the content has another digest, or beyond the size limit */
  fetchHttp(request: HttpRequest): Promise<HttpFile>;
  /**
   * `docker build https://host/context.tar.gz`: told by content, then by type.
   *
   * @throws invalid-argument for neither an archive nor text
   */
  fetchHttpContext(request: HttpRequest): Promise<HttpContext>;
  /** Forgets everything cached; tells how many bytes that were. */
  prune(): Promise<{ readonly spaceReclaimedBytes: number }>;
}
