/** The engines that builds are compared on, and the servers that both of them reach. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Engine, openEngine } from "../support/engine.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { type Companion, start } from "../support/process.ts";
import { type BuildPlaces, loadBases, makeRepository, removeBases } from "./build-side.ts";

const peerHost = process.env["TUG_PEER_DOCKER"];
const peerNetns = process.env["TUG_PEER_DOCKER_NETNS"] ?? "/run/netns/peer";

/** Docker with BuildKit, where there is one. */
export interface BuildPeer {
  readonly engine: Engine;
  readonly places: BuildPlaces;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Servers that builds read from, on loopback. */
export interface BuildServers {
  readonly places: BuildPlaces;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Whether there is a Docker to compare builds with. */
export const hasBuildPeer: boolean = peerHost !== undefined;

/** Our own engine, with the images of the corpus. */
export async function openOwn(): Promise<TestDaemon> {
  const daemon = await startDaemon();
  await loadBases(daemon);
  return daemon;
}

/** Docker's, with the same images. */
export async function openBuildPeer(places: BuildPlaces): Promise<BuildPeer> {
  const folder = mkdtempSync("/tmp/cf-build-peer-");
  const engine = openEngine((peerHost ?? "").replace("unix://", ""), folder);
  await loadBases({ engine });
  return {
    engine,
    places,
    async [Symbol.asyncDispose]() {
      await removeBases({ engine });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Starts the servers, in the network namespace of Docker too. */
export async function startServers(): Promise<BuildServers> {
  const folder = mkdtempSync("/tmp/cf-build-served-");
  await makeRepository(folder);
  const http = 21_000 + (process.pid % 2_000) * 2;
  const program = join(import.meta.dir, "../fixtures/build/serve.ts");
  const argv = [process.execPath, program, `${http}`, `${http + 1}`, join(folder, "served")];
  const inside = ["nsenter", `--net=${peerNetns}`];
  const hasNetns = hasBuildPeer && existsSync(peerNetns);
  const servers: readonly Companion[] = [
    start(argv),
    ...(hasNetns ? [start([...inside, ...argv])] : []),
  ];
  for (const server of servers) await server.prints("ready");
  return {
    places: { server: `http://127.0.0.1:${http}`, git: `git://127.0.0.1:${http + 1}` },
    async [Symbol.asyncDispose]() {
      for (const server of servers) {
        server.closeStdin();
        await server.exited;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
