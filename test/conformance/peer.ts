/** The real Docker that answers are compared with. */
import { mkdtempSync, rmSync } from "node:fs";
import { type Engine, openEngine } from "../support/engine.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { rootTar } from "../support/images.ts";
import { textAt } from "../support/json.ts";
import { type Normalise, normaliser } from "./normalise.ts";
import { comparisonLabel, image } from "./talk.ts";

/** Names the socket of a Docker Engine 28, as `unix:///path`. */
const peerVariable = "TUG_PEER_DOCKER";
const peerHost = process.env[peerVariable];

if (peerHost === undefined) {
  console.warn(
    `skipped: the comparison with Docker. Run it with ${peerVariable}=unix:///path/docker.sock ` +
      "of a Docker Engine 28; only objects named cf-* are made and removed there.",
  );
}

/** Whether there is a Docker to compare with. */
export const hasPeer: boolean = peerHost !== undefined;

/** Both engines, each with the image, and what to take out of their answers. */
export interface Pair {
  readonly daemon: TestDaemon;
  readonly tug: Side;
  readonly peer: Side;
  [Symbol.asyncDispose](): Promise<void>;
}

/** An engine of the pair. */
export interface Side {
  readonly engine: Engine;
  readonly normalise: Normalise;
}

/** Starts Tug and opens Docker. */
export async function openPair(): Promise<Pair> {
  // A subnet of the size that Docker takes, however many daemons there are.
  const daemon = await startDaemon({ flags: ["--bip", "172.31.0.1/16"] });
  const folder = mkdtempSync("/tmp/cf-peer-");
  const peer = openEngine((peerHost ?? "").replace("unix://", ""), folder);
  const changes = ['CMD ["sh"]', `LABEL ${comparisonLabel}=image`];
  const archive = rootTar();
  // Not as other tests' images: their labels are swept by whoever tests against the same Docker.
  const query = new URLSearchParams({ fromSrc: "-", repo: image });
  for (const change of changes) query.append("changes", change);
  for (const engine of [daemon.engine, peer]) {
    await engine.api("POST", `/images/create?${query}`, archive, {
      headers: { "Content-Type": "application/x-tar" },
    });
  }
  return {
    daemon,
    tug: await sideOf(daemon.engine),
    peer: await sideOf(peer),
    async [Symbol.asyncDispose]() {
      await peer.api("DELETE", `/images/${image}?force=1`);
      rmSync(folder, { recursive: true });
      await daemon[Symbol.asyncDispose]();
    },
  };
}

async function sideOf(engine: Engine): Promise<Side> {
  const info = (await engine.api("GET", "/info")).json;
  const dataRoot = textAt(info, "DockerRootDir");
  const bridge = (await engine.api("GET", "/networks/bridge")).json;
  const others = {
    [textAt(info, "Driver")]: "<driver>",
    [textAt(bridge, "Options", "com.docker.network.bridge.name")]: "<bridge>",
    [engine.folder]: "<folder>",
  };
  return { engine, normalise: normaliser({ dataRoot, others }) };
}
