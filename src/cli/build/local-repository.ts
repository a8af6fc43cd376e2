/** A git repository of this machine as a context: what is committed, at one commit. */
import { spawn } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EngineError } from "../../lib/errors.ts";
import type { BuildContext } from "./build-context.ts";

const gitMaxMs = 120_000;
const stderrMaxLength = 4000;
/** Nothing of the repository's own configuration runs. */
const safety = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"];

/**
 * Opens `file://PATH[#REF[:FOLDER]]`.
 *
 * @param open makes the context of the folder that the commit is in
 * @throws invalid-argument with git's sentence
 */
export async function openLocalRepository(
  url: string,
  open: (folder: string) => Promise<BuildContext>,
): Promise<BuildContext> {
  const [remote = "", fragment = ""] = url.split("#", 2);
  const [ref = "", below = ""] = fragment.split(":", 2);
  if (ref.startsWith("-")) {
    throw new EngineError(
      "invalid-argument",
      `build ${url}: ${JSON.stringify(ref)} is no name of a commit`,
    );
  }
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "tug-repository-")));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    await git(["clone", "-q", "--no-checkout", "--", remote, folder], url);
    const commit = ref === "" ? "HEAD" : await resolveRef(folder, { ref, url });
    await git(["-C", folder, "checkout", "-q", "--detach", commit, "--"], url);
    rmSync(join(folder, ".git"), { recursive: true, force: true });
    const inner = realpathSync(join(folder, below));
    if (inner !== folder && !inner.startsWith(`${folder}/`)) {
      throw new EngineError(
        "invalid-argument",
        `build ${url}: ${below} leads out of the repository`,
      );
    }
    const context = await open(inner);
    return {
      ...context,
      sharedKey: url,
      [Symbol.dispose]: () => {
        context[Symbol.dispose]();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** A branch, a tag or a commit. */
async function resolveRef(
  folder: string,
  { ref, url }: { readonly ref: string; readonly url: string },
): Promise<string> {
  for (const name of [`refs/remotes/origin/${ref}`, `refs/tags/${ref}`, ref]) {
    const found = await run(["-C", folder, "rev-parse", "-q", "--verify", `${name}^{commit}`]);
    if (found.exitCode === 0) return found.stdout.trim();
  }
  throw new EngineError(
    "invalid-argument",
    `build ${url}: the repository has no ${JSON.stringify(ref)}`,
  );
}

async function git(args: readonly string[], url: string): Promise<void> {
  const { exitCode, stderr } = await run(args);
  if (exitCode === 0) return;
  throw new EngineError(
    "invalid-argument",
    `build ${url}: ${stderr.trim() || `git ended with ${exitCode}`}`,
  );
}

async function run(
  args: readonly string[],
): Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }> {
  const child = spawn("git", [...safety, ...args], {
    env: {
      PATH: process.env["PATH"],
      GIT_TERMINAL_PROMPT: "0",
      GIT_CONFIG_NOSYSTEM: "1",
      HOME: "/",
    },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: gitMaxMs,
  });
  const ended = Promise.withResolvers<number>();
  child.once("error", (error) => {
    ended.reject(
      new EngineError("not-found", "build from a repository: git is not installed", {
        cause: error,
      }),
    );
  });
  child.once("close", (code) => ended.resolve(code ?? 1));
  const [stdout, stderr, exitCode] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    ended.promise,
  ]);
  return { exitCode, stdout, stderr };
}

async function textOf(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream) {
    text = (text + Buffer.from(chunk).toString()).slice(-stderrMaxLength);
  }
  return text;
}
