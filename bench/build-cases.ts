/**
 * What is measured of builds: by the same docker CLI with buildx on our engine and on Docker's BuildKit,
 * and by the classic call on Podman, whose builder is buildah.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { openClient } from "../test/support/clients.ts";
import { describeResult, runOk } from "../test/support/process.ts";
import { type Case, timed } from "./case.ts";
import { benchImage, type Contestant } from "./engines.ts";
import { peakOf } from "./image-cases.ts";

const pluginsFolder = join(process.env["TUG_PEER_CONFIG"] ?? "/root/.docker", "cli-plugins");
/** A tar, packed or not, of a Debian root file system that apt-get runs in. */
const debianRoot = process.env["TUG_BENCH_DEBIAN"];
/** Packages that are installed there without any network. */
const debFolder = process.env["TUG_BENCH_DEBS"];

const stepCount = 10;
const stageCount = 4;
const fileCount = 5_000;
const contextBytes = 300_000_000;
const exportedBytes = 200_000_000;
const buildMaxMs = 180_000;
const rounds = 5;
const fewRounds = 3;
const debianImage = "tugbench-debian";
/** Of Docker's time: half, a quarter, a third. */
const coldShare = 2;
const cachedShare = 4;
const changedShare = 3;

/** Whether these cases can be measured here. */
export const canMeasureBuilds: boolean =
  Bun.which("docker") !== null && existsSync(join(pluginsFolder, "docker-buildx"));

let madeFolder: string | undefined;
const prepared = new Set<string>();
let uniqueCount = 0;

/** The cases, in the order of the table. */
export const buildCases: readonly Case[] = [
  {
    name: `build ${stepCount} steps`,
    unit: "ms",
    rounds,
    timesDocker: coldShare,
    measure: async (contestant) => {
      const folder = makeContext({ Dockerfile: stepsOf(unique()) });
      return await timedBuild(contestant, ["--no-cache", folder]);
    },
  },
  {
    name: `build ${stepCount} steps, cached`,
    unit: "ms",
    rounds,
    timesDocker: cachedShare,
    bare: clientAlone,
    measure: async (contestant) => {
      const folder = makeContext({ Dockerfile: stepsOf(unique()) });
      await timedBuild(contestant, [folder]);
      return await timedBuild(contestant, [folder]);
    },
  },
  {
    name: `build ${stepCount} steps, cached, own client`,
    unit: "ms",
    rounds,
    timesDocker: cachedShare,
    measure: async (contestant) => {
      const folder = makeContext({ Dockerfile: stepsOf(unique()) });
      await timedBuild(contestant, [folder], { hasOwnClient: true });
      return await timedBuild(contestant, [folder], { hasOwnClient: true });
    },
  },
  {
    name: `build ${stageCount} stages at once`,
    unit: "ms",
    rounds: fewRounds,
    measure: async (contestant) => {
      const folder = makeContext({ Dockerfile: stagesOf(unique()) });
      return await timedBuild(contestant, ["--no-cache", folder]);
    },
  },
  {
    name: "build, a line of 300 MB changed",
    unit: "ms",
    rounds: fewRounds,
    timesDocker: changedShare,
    measure: buildChanged,
  },
  ...(debianRoot === undefined || debFolder === undefined
    ? []
    : [
        {
          name: "build apt-get install",
          unit: "ms",
          rounds: fewRounds,
          measure: buildPackages,
        } as const,
      ]),
  { name: "build -o type=tar, 200 MB", unit: "ms", rounds: fewRounds, measure: buildToTar },
  {
    name: "build 300 MB, memory at its peak",
    unit: "MB",
    rounds: 1,
    measure: async (contestant) => await peakOf(contestant, () => buildChanged(contestant)),
  },
];

/** Says what cannot be measured here, for people. */
export function skippedBuilds(): readonly string[] {
  if (!canMeasureBuilds) {
    return [
      `builds, which need the docker CLI with buildx: TUG_PEER_CONFIG=/folder with cli-plugins`,
    ];
  }
  if (debianRoot !== undefined && debFolder !== undefined) return [];
  return [
    "build apt-get install, which needs TUG_BENCH_DEBIAN=root.tar and TUG_BENCH_DEBS=/folder",
  ];
}

/** Removes what the cases have made: here, and what the engines keep of it. */
export async function closeBuildCases(contestants: readonly Contestant[]): Promise<void> {
  if (madeFolder === undefined) return;
  for (const { name, engine } of contestants) {
    await engine.api("DELETE", `/images/${debianImage}?force=1`);
    if (name !== "Podman") await engine.api("POST", "/build/prune?all=1");
  }
  rmSync(madeFolder, { recursive: true, force: true });
  madeFolder = undefined;
}

function ownFolder(): string {
  madeFolder ??= mkdtempSync("/tmp/tugbench-build-");
  return madeFolder;
}

function unique(): string {
  uniqueCount += 1;
  return `${process.pid}-${Date.now()}-${uniqueCount}`;
}

function makeContext(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(ownFolder(), "context-"));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

function stepsOf(content: string): string {
  const steps = Array.from(
    { length: stepCount },
    (_, index) => `RUN echo ${content} ${index} > /step-${index}\n`,
  );
  return `FROM ${benchImage}\n${steps.join("")}`;
}

function stagesOf(content: string): string {
  const indexes = Array.from({ length: stageCount }, (_, index) => index);
  const stages = indexes.map(
    (index) =>
      `FROM ${benchImage} AS s${index}\nRUN echo ${content} ${index} > /o-${index}\n` +
      `RUN sleep 0.3\nRUN cat /o-${index} > /out-${index}\n`,
  );
  const copies = indexes.map((index) => `COPY --from=s${index} /out-${index} /\n`);
  return `${stages.join("")}FROM ${benchImage}\n${copies.join("")}`;
}

/** Builds with a docker CLI of its own home. @returns milliseconds */
async function timedBuild(
  contestant: Contestant,
  args: readonly string[],
  /** With our own engine's own client, instead of buildx. */
  { hasOwnClient = false }: { readonly hasOwnClient?: boolean } = {},
): Promise<number> {
  const home = join(ownFolder(), "client");
  if (!existsSync(home)) {
    mkdirSync(join(home, "client"), { recursive: true });
    symlinkSync(pluginsFolder, join(home, "client/cli-plugins"));
  }
  const program = hasOwnClient && contestant.name === "ours" ? "tug" : "docker";
  const client = openClient(program, { host: contestant.engine.host, home });
  const isClassic = contestant.name === "Podman";
  const more = isClassic ? [] : ["--provenance=false"];
  return await timed(async () => {
    const argv = ["build", "-q", ...more, ...args];
    const env = { DOCKER_BUILDKIT: isClassic ? "0" : "1", BUILDX_NO_DEFAULT_ATTESTATIONS: "1" };
    const result = await client.run(argv, { env, timeoutMs: buildMaxMs });
    assert.equal(result.exitCode, 0, describeResult(["docker", ...argv], result));
  });
}

/** What the client takes for itself, whatever the engine. */
async function clientAlone(): Promise<number> {
  const plugin = join(pluginsFolder, "docker-buildx");
  return await timed(async () => await runOk([plugin, "version"]));
}

/** A context of many files; made once, the same for all. */
async function bigContext(): Promise<string> {
  const folder = join(ownFolder(), "big");
  if (existsSync(folder)) return folder;
  const perFolder = 100;
  const lines = `${"a line of a source file, sixty-four bytes in all, with its end\n".repeat(1_000)}`;
  for (let index = 0; index < fileCount; index += 1) {
    const inside = join(folder, "src", `d${Math.floor(index / perFolder)}`);
    const content = `${index}\n${lines}`.slice(0, contextBytes / fileCount);
    await Bun.write(join(inside, `f${index}.ts`), content);
  }
  const dockerfile = `FROM ${benchImage}\nRUN echo tools > /tools\nCOPY src /src\n`;
  await Bun.write(join(folder, "Dockerfile"), `${dockerfile}RUN ls /src | wc -l > /count\n`);
  return folder;
}

/** The first build of a context is not measured; then a line of it is another. */
async function buildChanged(contestant: Contestant): Promise<number> {
  const folder = await bigContext();
  if (!prepared.has(contestant.name)) {
    await timedBuild(contestant, [folder]);
    prepared.add(contestant.name);
  }
  await Bun.write(join(folder, "src/d7/changed.ts"), `export const changed = "${unique()}";\n`);
  return await timedBuild(contestant, [folder]);
}

async function buildPackages(contestant: Contestant): Promise<number> {
  const { engine } = contestant;
  if ((await engine.api("GET", `/images/${debianImage}/json`)).status !== 200) {
    const archive = await Bun.file(debianRoot ?? "").bytes();
    await engine.importImage(debianImage, { archive, changes: ['CMD ["bash"]'] });
  }
  const install =
    "apt-get install -y -qq --no-install-recommends --allow-downgrades -o APT::Sandbox::User=root";
  const folder = makeContext({
    Dockerfile:
      `FROM ${debianImage}\nENV DEBIAN_FRONTEND=noninteractive\nCOPY debs /debs\n` +
      `RUN --network=none echo ${unique()} && ${install} /debs/*.deb > /dev/null\n`,
  });
  mkdirSync(join(folder, "debs"));
  for (const name of readdirSync(debFolder ?? "")) {
    await Bun.write(join(folder, "debs", name), Bun.file(join(debFolder ?? "", name)));
  }
  return await timedBuild(contestant, ["--no-cache", folder]);
}

/** The image is made before; its files are what is measured. */
async function buildToTar(contestant: Contestant): Promise<number> {
  if (contestant.name === "Podman")
    throw new assert.AssertionError({ message: "has no such call" });
  const folder = join(ownFolder(), "exported");
  if (!existsSync(folder)) {
    await Bun.write(join(folder, "Dockerfile"), "FROM scratch\nCOPY big /big\n");
    const noise = crypto.getRandomValues(new Uint8Array(65_536));
    const content = Buffer.alloc(exportedBytes, noise);
    await Bun.write(join(folder, "big"), content);
  }
  if (!prepared.has(`tar ${contestant.name}`)) {
    await timedBuild(contestant, [folder]);
    prepared.add(`tar ${contestant.name}`);
  }
  const target = join(ownFolder(), "out.tar");
  rmSync(target, { force: true });
  return await timedBuild(contestant, ["-o", `type=tar,dest=${target}`, folder]);
}
