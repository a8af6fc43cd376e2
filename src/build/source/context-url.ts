import { isIP } from "node:net";
import { EngineError } from "../../lib/errors.ts";
import type { ContextUrl, GitUrl } from "./source.ts";

/** Longest URL. */
const urlMaxChars = 8192;
const gitSchemes: ReadonlySet<string> = new Set(["git:", "ssh:", "http:", "https:", "file:"]);
/** `git@host:path`, as scp(1) writes it. */
const scpForm = /^([a-zA-Z0-9_.-]+@)?([a-zA-Z0-9.-]+):(?!\/\/)([^\s]+)$/;
const refForm = /^(?!-)(?!.*\.\.)[^\s~^:?*[\\\x00-\x1f\x7f]+$/;

/**
 * Tells what the context of `docker build`, or a source of ADD, names: a repository, a file behind a
 * URL, or undefined for a path.
 *
 * `https://…` is a repository when its path ends in `.git`; `git://`, `ssh://` and `git@host:path` are;
 * so is `github.com/user/name`, unless `allowsShortForm` is false, as a folder may have the name.
 *
 * @param options.allowsFiles takes `file://….git` for a repository of this machine. Never for what a
 * Dockerfile or a client says: the daemon can read what they may not
 * @throws invalid-argument for a malformed URL, ref, or query of a repository
 */
export function parseContextUrl(
  text: string,
  options: { readonly allowsShortForm?: boolean; readonly allowsFiles?: boolean } = {},
): ContextUrl | undefined {
  if (text.length > urlMaxChars) throw refused(text, `longer than ${urlMaxChars} characters`);
  if (options.allowsShortForm !== false && /^github\.com\/[^/]+\/[^/]+/.test(text)) {
    return gitUrl(`https://${text}`, text);
  }
  const [beforeFragment = ""] = text.split("#", 1);
  const scheme = /^([a-z][a-z0-9+.-]*:)\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    const scp = scpForm.exec(beforeFragment);
    // Without a user, `host:path` could be anything.
    return scp?.[1] === undefined ? undefined : gitUrl(text, text);
  }
  if (!gitSchemes.has(scheme)) return undefined;
  if (scheme === "file:" && options.allowsFiles !== true) return undefined;
  const [path = ""] = beforeFragment.split("?", 1);
  const isRepository = scheme === "git:" || scheme === "ssh:" || /\.git\/?$/.test(path);
  if (isRepository) return gitUrl(text, text);
  if (scheme !== "http:" && scheme !== "https:") return undefined;
  return { kind: "http", url: parseUrl(text).href };
}

function gitUrl(text: string, original: string): ContextUrl {
  const hash = text.indexOf("#");
  const fragment = hash < 0 ? "" : text.slice(hash + 1);
  const withQuery = hash < 0 ? text : text.slice(0, hash);
  const isScp = !/^[a-z][a-z0-9+.-]*:\/\//i.test(withQuery);
  const question = isScp ? -1 : withQuery.indexOf("?");
  const remote = question < 0 ? withQuery : withQuery.slice(0, question);
  const query = new URLSearchParams(question < 0 ? "" : withQuery.slice(question + 1));
  if (!isScp) checkRemote(remote, original);
  // An option is what git takes for one, also behind a user.
  if (/(?:^|@|:\/\/)-/.test(remote)) throw refused(original, "the host begins with a dash");
  const colon = fragment.indexOf(":");
  const ref = (colon < 0 ? fragment : fragment.slice(0, colon)) || fromQuery(query, original);
  const subdir = cleanSubdir(
    (colon < 0 ? "" : fragment.slice(colon + 1)) || (query.get("subdir") ?? ""),
    original,
  );
  if (ref !== "" && !refForm.test(ref))
    throw refused(original, `invalid ref ${JSON.stringify(ref)}`);
  const checksum = query.get("checksum") ?? query.get("commit") ?? undefined;
  if (checksum !== undefined && !/^[0-9a-f]{7,64}$/i.test(checksum)) {
    throw refused(original, `invalid checksum ${JSON.stringify(checksum)}`);
  }
  const settings: Omit<GitUrl, "remote"> = {
    ...(ref === "" ? {} : { ref }),
    ...(subdir === "" ? {} : { subdir }),
    ...(checksum === undefined ? {} : { checksum: checksum.toLowerCase() }),
    ...flag(query, "keep-git-dir", "keepsGitDir"),
    ...flag(query, "submodules", "hasSubmodules"),
  };
  return { kind: "git", remote, ...settings };
}

const queryKeys: ReadonlySet<string> = new Set([
  "ref",
  "branch",
  "tag",
  "subdir",
  "checksum",
  "commit",
  "keep-git-dir",
  "submodules",
]);

function fromQuery(query: URLSearchParams, original: string): string {
  for (const key of query.keys()) {
    if (!queryKeys.has(key)) throw refused(original, `unexpected query ${JSON.stringify(key)}`);
  }
  const branch = query.get("branch");
  const tag = query.get("tag");
  if (branch !== null && tag !== null) throw refused(original, "branch and tag are both given");
  if (branch !== null) return `refs/heads/${branch}`;
  if (tag !== null) return `refs/tags/${tag}`;
  return query.get("ref") ?? "";
}

function flag<K extends string>(
  query: URLSearchParams,
  key: string,
  name: K,
): { readonly [name in K]?: boolean } {
  const value = query.get(key);
  if (value === null) return {};
  const flags: { [name in K]?: boolean } = {};
  flags[name] = value === "" || value === "1" || value.toLowerCase() === "true";
  return flags;
}

function checkRemote(remote: string, original: string): void {
  const url = parseUrl(remote);
  const isFile = url.protocol === "file:";
  if (isFile && url.hostname !== "") throw refused(original, "a file URL with a host");
  if (!isFile && url.hostname === "") throw refused(original, "no host");
  if (!isFile && isIP(url.hostname.replace(/[[\]]/g, "")) === 0 && url.hostname.startsWith("-")) {
    throw refused(original, "the host begins with a dash");
  }
}

function cleanSubdir(text: string, original: string): string {
  const parts: string[] = [];
  for (const part of text.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") throw refused(original, `the folder ${JSON.stringify(text)} leads out`);
    parts.push(part);
  }
  return parts.join("/");
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || /[\x00-\x20\x7f]/.test(text)) throw refused(text, "no URL");
  return url;
}

function refused(text: string, reason: string): EngineError {
  const safe = text.slice(0, 256).replace(/\/\/[^/@]*@/, "//xxxxx@");
  return new EngineError("invalid-argument", `context ${JSON.stringify(safe)}: ${reason}`);
}
