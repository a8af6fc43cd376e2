/**
 * BuildKit's protocol on the engine's side: sessions that clients open, and the services by which
 * they build. Connections come from `POST /session` and `POST /grpc`.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { controlMethods, type WorkerRecord } from "../../api/buildkit/control.ts";
import type { PbPlatform } from "../../api/buildkit/llb.ts";
import { sessionMethods } from "../../api/buildkit/session.ts";
import { callDuplex } from "../../lib/grpc/call-duplex.ts";
import { createGrpcServer, streamHandler, unaryHandler } from "../../lib/grpc/server.ts";
import type { Logger } from "../../lib/log.ts";
import type { Platform } from "../../oci/platform.ts";
import { removeTree } from "../../sys/fs/fs.ts";
import type { BuildClient, BuildService, Entitlement } from "../build-service.ts";
import type { ContextFolders } from "../session/context-folders.ts";
import { createSessionClient } from "../session/session-client.ts";
import { type SessionHeaders, SessionPool } from "../session/session-pool.ts";
import { BuildJobs } from "./build-jobs.ts";
import { type BuildTrace, openBuildTrace } from "./build-trace.ts";
import { controlHandlers } from "./control-service.ts";
import { gatewayHandlers } from "./gateway-service.ts";

/** BuildKit's version whose protocol this is; clients ask for what a version has. */
const protocolVersion = "v0.25.1";

/** The protocol of one engine. */
export interface Buildkit {
  /** @throws invalid-argument, already-exists when a session may not be opened so */
  checkSession(headers: SessionHeaders): void;
  /** Serves a session until its connection ends, which belongs to this from now on. */
  acceptSession(duplex: Duplex, headers: SessionHeaders): Promise<void>;
  /** Serves a client's calls until its connection ends. */
  acceptCalls(duplex: Duplex): Promise<void>;
  /** The client's side of a build whose client has opened a session; waited for when it is not there.
   * @throws not-found when it does not come */
  openClient(sessionId: string, signal: AbortSignal): Promise<BuildClient & AsyncDisposable>;
  /** Opens what tells a build to a client that did not ask for it by calls. */
  openTrace(): BuildTrace;
  /** Removes what an earlier engine left. */
  recover(): Promise<void>;
  /** Cancels builds and ends connections. */
  close(): void;
}

/** What the protocol is served with. */
export interface BuildkitOptions {
  readonly service: BuildService;
  /** Where clients' folders are kept. */
  readonly folders: ContextFolders;
  /** Where sockets are made; lives in memory, and its path is short. */
  readonly socketRoot: string;
  readonly engineId: string;
  readonly engineVersion: string;
  readonly platforms: readonly Platform[];
  readonly snapshotter: string;
  /** The host's address as containers reach it. */
  readonly hostGatewayIp: () => string | undefined;
  /** What clients may give to a Dockerfile when they ask for it. */
  readonly entitlements: ReadonlySet<Entitlement>;
  readonly logger: Logger;
}

/** Opens the protocol. */
export function createBuildkit(options: BuildkitOptions): Buildkit {
  const { service, folders, logger, socketRoot, entitlements } = options;
  const sessions = new SessionPool({ logger });
  const jobs = new BuildJobs();
  const runner = { service, sessions, folders, jobs, socketRoot, entitlements, logger };
  const worker = (): WorkerRecord => workerOf(options);
  const server = createGrpcServer({
    logger,
    handlers: [
      ...controlHandlers({ ...runner, cache: service, worker }),
      ...gatewayHandlers({ ...runner, worker }),
      // A session may come as a call of the client's, too, with its headers as metadata.
      streamHandler(controlMethods.session, async (call) => {
        const duplex = callDuplex(call);
        call.signal.addEventListener("abort", () => duplex.destroy(), { once: true });
        await sessions.accept(duplex, Object.fromEntries(call.metadata));
      }),
      unaryHandler(sessionMethods.health, async () => {
        await Promise.resolve();
        return { status: 1 };
      }),
    ],
  });
  mkdirSync(socketRoot, { recursive: true, mode: 0o700 });
  return {
    checkSession: (headers) => void sessions.check(headers),
    acceptSession: async (duplex, headers) => await sessions.accept(duplex, headers),
    acceptCalls: async (duplex) => await server.accept(duplex),
    async openClient(sessionId, signal) {
      const session = await sessions.get(sessionId, signal);
      return createSessionClient({ session, folders, socketRoot, logger, signal });
    },
    openTrace: openBuildTrace,
    async recover() {
      for (const name of readdirSync(socketRoot)) await removeTree(join(socketRoot, name));
      await folders.recover();
    },
    close() {
      for (const job of jobs.active) job.cancel();
      server.close();
      sessions.close();
    },
  };
}

function workerOf(options: BuildkitOptions): WorkerRecord {
  const gateway = options.hostGatewayIp();
  return {
    id: options.engineId,
    labels: new Map([
      ["org.mobyproject.buildkit.worker.executor", "oci"],
      // With it clients offer what an engine with a content store can do: multi-platform, tar outputs.
      ["org.mobyproject.buildkit.worker.snapshotter", options.snapshotter],
      ...(gateway === undefined
        ? []
        : [["org.mobyproject.buildkit.worker.moby.host-gateway-ip", gateway] as const]),
    ]),
    platforms: options.platforms.map(pbPlatform),
    buildkitVersion: {
      package: "github.com/moby/buildkit",
      version: `${protocolVersion}+tug-${options.engineVersion}`,
      revision: "",
    },
  };
}

function pbPlatform(platform: Platform): PbPlatform {
  return {
    architecture: platform.architecture,
    os: platform.os,
    variant: platform.variant ?? "",
    osVersion: "",
    osFeatures: [],
  };
}
