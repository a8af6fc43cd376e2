import { EngineError } from "../../lib/errors.ts";
import { redactText } from "../../lib/redact.ts";
import { run } from "../../sys/process/process.ts";
import type { GitRequest, SecretReader } from "./source.ts";

/** How long one git command may take. */
const timeoutMs = 15 * 60_000;
/** Largest file that git may write: the pack of a repository. */
const fileSizeMaxBytes = 32 * 1024 ** 3;
const secretMaxBytes = 64 * 1024;
/** Settings in variables count only with it. */
const authCountKey = "GIT_CONFIG_COUNT";

/** Where git runs, and with what. */
export interface GitCommand {
  readonly gitDir?: string;
  readonly workTree?: string;
  readonly indexFile?: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs git without anything of this machine or of the repository that could run a program.
 *
 * A repository that has moved is asked again without credentials: git would send them along to wherever
 * it is told to go.
 *
 * @returns standard output
 * @throws unavailable when the repository cannot be reached or read; its own words, without secrets
 */
export async function runGit(command: GitCommand, args: readonly string[]): Promise<string> {
  const first = await execute(command, args);
  if (first.exitCode === 0) return first.stdout;
  const isMoved = /requested URL returned error: 30[12378]\b/.test(first.stderr);
  if (!isMoved || command.env[authCountKey] === undefined) throw failureOf(args, first);
  const { [authCountKey]: _auth, ...open } = command.env;
  const second = await execute({ ...command, env: open }, args);
  if (second.exitCode === 0) return second.stdout;
  throw failureOf(args, { ...second, stderr: `${second.stderr.trim()}\n${movedNotice}` });
}

const movedNotice = "the repository has moved, and credentials do not follow: name its new URL";

type GitResult = Awaited<ReturnType<typeof run>>;

async function execute(command: GitCommand, args: readonly string[]): Promise<GitResult> {
  return await run({
    argv: ["prlimit", `--fsize=${fileSizeMaxBytes}`, "--", "git", ...safeConfig, ...args],
    cwd: command.cwd,
    env: {
      ...command.env,
      ...(command.gitDir === undefined ? {} : { GIT_DIR: command.gitDir }),
      ...(command.workTree === undefined ? {} : { GIT_WORK_TREE: command.workTree }),
      ...(command.indexFile === undefined ? {} : { GIT_INDEX_FILE: command.indexFile }),
    },
    timeoutMs,
    ...(command.signal === undefined ? {} : { signal: command.signal }),
  });
}

const safeConfig = [
  "-c",
  "core.hooksPath=/dev/null",
  "-c",
  "core.fsmonitor=false",
  "-c",
  "core.symlinks=true",
  "-c",
  "core.protectHFS=true",
  "-c",
  "core.protectNTFS=true",
  "-c",
  "fetch.fsckObjects=false",
  "-c",
  "gc.auto=0",
  "-c",
  "maintenance.auto=false",
  "-c",
  "protocol.version=2",
  "-c",
  "advice.detachedHead=false",
  "-c",
  "submodule.recurse=false",
] as const;

function failureOf(
  args: readonly string[],
  result: { readonly exitCode: number; readonly stderr: string },
): EngineError {
  const words = redactText(result.stderr.trim().slice(-2000));
  const sentence = `git ${args[0] ?? ""}: ${words === "" ? `exit code ${result.exitCode}` : words}`;
  const isRefused =
    /Authentication failed|could not read Username|Permission denied|HTTP.* 40[13]/i;
  if (isRefused.test(words)) return new EngineError("unauthorized", sentence);
  return new EngineError("unavailable", sentence);
}

/**
 * The environment of all commands of one request: nothing of ours, and the credentials for the host.
 *
 * They are passed as configuration in variables: arguments are for everybody to read.
 */
export async function gitEnvironment(
  request: GitRequest,
  options: { readonly home: string },
): Promise<Record<string, string>> {
  const { remote } = request.source;
  const isFile = remote.startsWith("file:");
  const headers = await authHeaders(remote, request.secret);
  return {
    PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: options.home,
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ASKPASS: "/bin/false",
    SSH_ASKPASS: "/bin/false",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_ALLOW_PROTOCOL: isFile ? "file:https:http:git:ssh" : "https:http:git:ssh",
    GIT_SSH_COMMAND: sshCommand(options.home),
    ...proxies(),
    ...(request.sshAgentPath === undefined ? {} : { SSH_AUTH_SOCK: request.sshAgentPath }),
    ...headers,
  };
}

function sshCommand(home: string): string {
  const known = `${home}/known_hosts`.replace(/'/g, "");
  const options = [
    "BatchMode=yes",
    // A host is trusted at first sight, and has to stay the same.
    "StrictHostKeyChecking=accept-new",
    `UserKnownHostsFile='${known}'`,
    "ConnectTimeout=30",
    "PermitLocalCommand=no",
  ];
  return `ssh -F /dev/null ${options.map((option) => `-o ${option}`).join(" ")}`;
}

function proxies(): Record<string, string> {
  const names = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

async function authHeaders(
  remote: string,
  secret: SecretReader | undefined,
): Promise<Record<string, string>> {
  const url = URL.parse(remote);
  if (secret === undefined || (url?.protocol !== "https:" && url?.protocol !== "http:")) return {};
  const header = await findHeader(url.host, secret);
  if (header === undefined) return {};
  const place = `http.${url.protocol}//${url.host}/`;
  return {
    [authCountKey]: "2",
    GIT_CONFIG_KEY_0: `${place}.extraHeader`,
    GIT_CONFIG_VALUE_0: `Authorization: ${header}`,
    GIT_CONFIG_KEY_1: `${place}.followRedirects`,
    GIT_CONFIG_VALUE_1: "false",
  };
}

/** Docker: the secret of the host first, a whole header before a token, seen in BuildKit. */
async function findHeader(host: string, secret: SecretReader): Promise<string | undefined> {
  for (const suffix of [`.${host}`, ""]) {
    const header = await readSecret(`GIT_AUTH_HEADER${suffix}`, secret);
    if (header !== undefined) return header;
    const token = await readSecret(`GIT_AUTH_TOKEN${suffix}`, secret);
    if (token !== undefined) {
      return `basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;
    }
  }
  return undefined;
}

/** A secret for a header, on one line. @throws invalid-argument for one that would be several */
export async function readSecret(id: string, secret: SecretReader): Promise<string | undefined> {
  const bytes = await secret(id);
  if (bytes === undefined) return undefined;
  const text = Buffer.from(bytes).toString().trim();
  if (bytes.length > secretMaxBytes || /[\r\n\0]/.test(text)) {
    throw new EngineError("invalid-argument", `secret ${JSON.stringify(id)}: not one line`);
  }
  return text === "" ? undefined : text;
}
