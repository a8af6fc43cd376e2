/** The engines that are compared, each reached by its socket alone. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { startDaemon } from "../test/support/daemon.ts";
import { type Engine, openEngine } from "../test/support/engine.ts";
import { rootTar } from "../test/support/images.ts";
import { readOptional } from "../test/support/leaks.ts";
import { textAt } from "../test/support/json.ts";

/** The image that everything is run from. */
export const benchImage = "tugbench";

/** An engine in the comparison. */
export interface Contestant {
  readonly name: "ours" | "Docker" | "Podman";
  readonly engine: Engine;
  /** The processes that make the engine when nothing runs. */
  daemonPids(): readonly number[];
  /** The processes that stay beside containers, one or more for each. */
  companionPids(): readonly number[];
  [Symbol.asyncDispose](): Promise<void>;
}

interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** Starts a daemon of ours for the benchmark. @param options.dataRoot where its data is; with its files when absent */
export async function openOurs(options: { readonly dataRoot?: string } = {}): Promise<Contestant> {
  const daemon = await startDaemon(options);
  return {
    name: "ours",
    engine: daemon.engine,
    daemonPids: () => [daemon.pid],
    companionPids: () =>
      processes()
        .filter(({ command }) => command.includes(`shim ${daemon.execRoot}/`))
        .map(({ pid }) => pid),
    [Symbol.asyncDispose]: async () => await daemon[Symbol.asyncDispose](),
  };
}

/** Opens a peer by its socket; undefined when nothing is there. */
export function openPeer(name: "Docker" | "Podman", host: string): Contestant | undefined {
  const socketPath = host.replace(/^unix:\/\//, "");
  if (!existsSync(socketPath)) return undefined;
  const engine = openEngine(socketPath, "/tmp");
  const isDaemon = ({ command }: ProcessEntry): boolean =>
    name === "Docker"
      ? command.includes("dockerd") && command.includes(socketPath)
      : /podman system service/.test(command);
  return {
    name,
    engine,
    daemonPids: () => {
      const all = processes();
      const roots = all.filter(isDaemon).map(({ pid }) => pid);
      const children = all.filter(
        ({ parent, command }) => roots.includes(parent) && /containerd( |$)/.test(command),
      );
      return [...roots, ...children.map(({ pid }) => pid)];
    },
    companionPids: () =>
      processes()
        .filter(({ command }) =>
          name === "Docker" ? command.includes("containerd-shim-runc-v2") : /conmon/.test(command),
        )
        .map(({ pid }) => pid),
    [Symbol.asyncDispose]: async () => {
      await engine.removeContainers();
      await engine.api("DELETE", `/images/${benchImage}?force=1`);
    },
  };
}

function processes(): readonly ProcessEntry[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const folder = `/proc/${name}`;
      const stat = readOptional(`${folder}/stat`);
      if (stat === undefined) return [];
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const command = (readOptional(`${folder}/cmdline`) ?? "").replaceAll("\0", " ").trim();
      return [{ pid: Number(name), parent, command }];
    });
}

/** The processes and all that they have started. */
export function descendantsOf(pids: readonly number[]): readonly number[] {
  const all = processes();
  const found = new Set(pids);
  for (let count = -1; count !== found.size; ) {
    count = found.size;
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
  }
  return [...found];
}

/** A figure of a process's memory, in kB; 0 when it is gone. */
export function memoryKb(pid: number, field: "Rss" | "Pss"): number {
  const text = readOptional(`/proc/${pid}/smaps_rollup`) ?? "";
  return Number(new RegExp(`^${field}:\\s*(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

/** A file of the image: lines of 100 bytes. */
export const linesPath = "/lines";
/** Its size. */
export const linesSizeBytes = 10_000_000;

/** Gives an engine the image of the benchmark. */
export async function prepareImage({ engine }: Contestant): Promise<void> {
  const content = `${"x".repeat(99)}\n`.repeat(linesSizeBytes / 100);
  const archive = rootTar({ changes: [], entries: [{ name: linesPath.slice(1), content }] });
  await engine.importImage(benchImage, { archive, changes: ['CMD ["sh"]'] });
}

/** Creates a container. @returns its ID */
export async function createContainer(
  engine: Engine,
  config: Readonly<Record<string, unknown>>,
): Promise<string> {
  const answer = await engine.api("POST", "/containers/create", { Image: benchImage, ...config });
  assert.equal(answer.status, 201, answer.text);
  return textAt(answer.json, "Id");
}

/** Calls the API and takes nothing but success. */
export async function call(engine: Engine, method: string, path: string): Promise<void> {
  const answer = await engine.api(method, path);
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`);
}
