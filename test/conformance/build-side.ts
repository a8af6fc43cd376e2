/** Building one case on one engine with one client, down to what it came to. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { BuildCase } from "../fixtures/build/case.ts";
import { makeContext } from "../fixtures/build/case.ts";
import type { Engine } from "../support/engine.ts";
import { dockerArchive, rootTar, sha256 } from "../support/images.ts";
import { type Result, run, runOk } from "../support/process.ts";
import { tugExecutable } from "../support/clients.ts";
import { type BuildSummary, type Origin, summariseFiles, summariseImage } from "./build-summary.ts";

/** How a build is asked for: by BuildKit's protocol, the classic call, or our own command. */
export type BuildClientName = "buildx" | "classic" | "tug";

/** Whom a case is built on, and with what. */
export interface BuildSide {
  readonly engine: Engine;
  readonly client: BuildClientName;
}

/** What the cases' flags stand for. */
export interface BuildPlaces {
  /** Of the HTTP server, without a slash at the end. */
  readonly server: string;
  readonly git: string;
}

const baseName = "cfbase:1";
const onBuildName = "cfonbuild:1";
const buildMaxMs = 60_000;
const baseLayer = rootTar({
  changes: [],
  entries: [
    { name: "etc/hosts", content: "127.0.0.1 of-the-base\n" },
    { name: "etc/resolv.conf", content: "" },
    { name: "opt/", type: "directory" },
    { name: "opt/old/", type: "directory" },
    { name: "opt/old/a", content: "a of the base" },
    { name: "opt/old/b", content: "b of the base" },
    { name: "opt/old/sub/", type: "directory" },
    { name: "opt/old/sub/c", content: "c of the base" },
    { name: "opt/link", type: "symlink", link: "old" },
    { name: "opt/flink", type: "symlink", link: "old/b" },
  ],
});
const baseConfig = {
  Cmd: ["sh"],
  Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "BASE=yes"],
  Labels: { cf: "build", one: "of the base" },
};
const config = process.env["TUG_PEER_CONFIG"];

/** Whether there is a docker CLI with buildx. */
export const hasBuildx: boolean =
  config !== undefined && existsSync(join(config, "cli-plugins/docker-buildx"));

/** Gives an engine the images that cases begin with. */
export async function loadBases({ engine }: Pick<BuildSide, "engine">): Promise<void> {
  const triggers = ["ENV TRIGGERED=1", "COPY given /taken", "RUN echo $TRIGGERED > /ran"];
  const layers = [baseLayer];
  for (const archive of [
    dockerArchive({ layers, tags: [baseName], config: { config: baseConfig } }),
    dockerArchive({
      layers,
      tags: [onBuildName],
      config: { config: { ...baseConfig, OnBuild: triggers } },
    }),
  ]) {
    await engine.api("POST", "/images/load?quiet=1", archive, {
      headers: { "Content-Type": "application/x-tar" },
    });
  }
}

/** Takes them away again. */
export async function removeBases({ engine }: Pick<BuildSide, "engine">): Promise<void> {
  for (const name of [baseName, onBuildName]) {
    await engine.api("DELETE", `/images/${name}?force=1`);
  }
}

/** Builds a case. */
export async function buildCase(
  side: BuildSide,
  each: BuildCase,
  places: BuildPlaces,
): Promise<BuildSummary> {
  const text = JSON.stringify(await summariseBuild(side, each, places));
  const named = text.replaceAll(places.server, "<server>").replaceAll(places.git, "<git>");
  const summary: BuildSummary = JSON.parse(named);
  return summary;
}

async function summariseBuild(
  side: BuildSide,
  each: BuildCase,
  places: BuildPlaces,
): Promise<BuildSummary> {
  const folder = mkdtempSync("/tmp/cf-build-");
  const origin: Origin = {
    baseLayers: [`sha256:${sha256(baseLayer)}`],
    baseHistory: 1,
  };
  const image = `cf-${each.name}`;
  try {
    const built = await build(side, each, { folder, image, places });
    const said = Bun.stripANSI(`${built.stderr}\n${built.stdout}`);
    if (built.exitCode !== 0) {
      // Whether a finding is shown depends on which comes first, it or the end.
      return { ended: "refused", error: errorIn(built, folder), warnings: [] };
    }
    const warnings = warningsIn(said);
    const out = join(folder, "out");
    if (existsSync(out)) {
      const archive = statSync(out).isDirectory()
        ? (await run(["tar", "-C", out, "--xattrs", "-cf", "-", "."])).stdoutBytes
        : await Bun.file(out).bytes();
      return { ended: "built", warnings, output: summariseFiles(archive) };
    }
    const saved = await side.engine.api("GET", `/images/${image}/get`);
    // Docker cannot save what has no layers.
    if (saved.status !== 200) return { ended: "built", warnings, error: saved.message };
    return { ended: "built", warnings, ...summariseImage(saved.bytes, origin) };
  } finally {
    await side.engine.api("DELETE", `/images/${image}?force=1`);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function build(
  side: BuildSide,
  each: BuildCase,
  made: { readonly folder: string; readonly image: string; readonly places: BuildPlaces },
): Promise<Result> {
  const { folder, image, places } = made;
  const context = join(folder, "context");
  const fill = (text: string): string =>
    text
      .replaceAll("@context", context)
      .replaceAll("@out", join(folder, "out"))
      .replaceAll("@server", places.server)
      .replaceAll("@git", places.git);
  const files = Object.entries(each.files).map(
    ([path, entry]) => [path, typeof entry === "string" ? fill(entry) : entry] as const,
  );
  await makeContext(context, Object.fromEntries(files));
  const home = join(folder, "client");
  mkdirSync(home);
  if (side.client === "buildx")
    symlinkSync(join(config ?? "", "cli-plugins"), join(home, "cli-plugins"));
  const program = side.client === "tug" ? tugExecutable() : "docker";
  const more = side.client === "classic" ? [] : ["--progress=plain", "--provenance=false"];
  const flags = [...more, "--no-cache", ...(each.flags ?? []).map(fill)];
  return await run([program, "build", "-t", image, ...flags, context], {
    env: {
      DOCKER_HOST: side.engine.host,
      DOCKER_CONFIG: home,
      HOME: home,
      DOCKER_BUILDKIT: side.client === "classic" ? "0" : "1",
      BUILDX_NO_DEFAULT_ATTESTATIONS: "1",
      ...each.env,
    },
    timeoutMs: buildMaxMs,
    ...(each.input === undefined ? {} : { input: each.input }),
  });
}

/** Whether the lint found something, and build arguments that nothing used. */
function warningsIn(said: string): readonly string[] {
  // Buildx shows of several findings those that came in time.
  const isFound = /^ - \w+: /m.test(said);
  const notes = [...said.matchAll(/\[Warning\] .*$/gm)].map(([note]) => note);
  return [...(isFound ? ["findings"] : []), ...notes.toSorted()];
}

/** The last line that says an error, without what is another each time and with each client. */
function errorIn({ stderr }: Result, folder: string): string {
  const lines = Bun.stripANSI(stderr).trim().split("\n");
  const said = lines.findLast((line) => /^(ERROR|Error|error|unable|invalid)\b/.test(line));
  return (
    (said ?? lines.at(-1) ?? "")
      .replaceAll(folder, "<folder>")
      .replace(/^(ERROR|Error): /, "")
      .replace(/^failed to build: /, "")
      .replace(/^(failed to solve: |Error response from daemon: )/, "")
      // A race in the client: said or not, behind the words above or without them.
      .replace(/^failed to run Build function: /, "")
      .replace(/ref \S+: "/, 'ref <ref>: "')
      .replace(/\/\S+\/merged\//, "/")
      // Why a registry is out of reach is the machine's matter.
      .replace(/(failed to resolve source metadata for \S+:) .*/, "$1")
  );
}

/** Makes a repository that git serves. */
export async function makeRepository(folder: string): Promise<void> {
  const work = join(folder, "work");
  const bare = join(folder, "served/repo.git");
  const env = {
    ...{ GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@b", GIT_COMMITTER_NAME: "a" },
    ...{ GIT_COMMITTER_EMAIL: "a@b", GIT_CONFIG_GLOBAL: "/dev/null" },
    ...{ GIT_AUTHOR_DATE: "2020-01-01T00:00:00Z", GIT_COMMITTER_DATE: "2020-01-01T00:00:00Z" },
  };
  await makeContext(work, {
    file: "1",
    "sub/x": { content: "x", mode: 0o755 },
    l: { link: "sub" },
  });
  const git = async (...args: readonly string[]): Promise<string> =>
    await runOk(["git", "-C", work, ...args], { env });
  await git("init", "-q", "-b", "main");
  await git("add", ".");
  await git("commit", "-qm", "one");
  await git("tag", "v1");
  await makeContext(work, { file: "the second" });
  await git("commit", "-qam", "two");
  await runOk(["git", "clone", "-q", "--bare", work, bare], { env });
}
