/**
 * What a client offers while an engine builds for it: folders, secrets, credentials, agents, what is
 * on its stdin, and places for outputs. It is the server of a connection that it opened itself.
 */
import net from "node:net";
import { receiveFolder } from "../../api/buildkit/folder-receiver.ts";
import { sendFolder } from "../../api/buildkit/folder-sender.ts";
import {
  decodeSessionValues,
  sessionHeaders,
  sessionKeys,
  sessionMethods,
} from "../../api/buildkit/session.ts";
import { EngineError } from "../../lib/errors.ts";
import { replayDuplex } from "../../lib/grpc/replay-duplex.ts";
import {
  createGrpcServer,
  type GrpcHandler,
  type ServerCall,
  streamHandler,
  unaryHandler,
} from "../../lib/grpc/server.ts";
import { createId } from "../../lib/id.ts";
import { silentLogger } from "../../lib/log.ts";
import type { Transport } from "../transport.ts";
import { type ContentFolder, contentHandlers } from "./content-folder.ts";
import { openLocalFolder } from "./local-folder.ts";
import { openOutputFolder } from "./output-folder.ts";

/** Where an output goes. */
export type OutputTarget =
  | { readonly kind: "folder"; readonly path: string }
  /** Takes the bytes of a file; resolves when it has them all. */
  | { readonly kind: "file"; readonly write: (bytes: AsyncIterable<Uint8Array>) => Promise<void> };

/** What is offered. */
export interface BuildSessionOptions {
  /** Names these folders among all that the engine knows, so that it keeps them for the next time. */
  readonly sharedKey: string;
  /** Paths by the name under which the engine asks for them: `context`, `dockerfile`, …. */
  readonly folders: ReadonlyMap<string, string>;
  /** Undefined when there is none of that ID. */
  readonly secret?: (id: string) => Promise<Uint8Array | undefined>;
  /** For a registry's host; without a user name the secret is an identity token. */
  readonly credentials?: (
    host: string,
  ) => Promise<{ readonly username: string; readonly secret: string } | undefined>;
  /** Paths of agents' sockets by ID. */
  readonly sshAgents?: ReadonlyMap<string, string>;
  /** By the number of the exporter. */
  readonly outputs?: ReadonlyMap<number, OutputTarget>;
  /** Folders of blobs, by the names that the engine knows them under. */
  readonly stores?: ReadonlyMap<string, ContentFolder>;
  /** By ID: the engine knows them as `uploadUrl(id)`. */
  readonly uploads?: ReadonlyMap<string, AsyncIterable<Uint8Array>>;
  readonly signal?: AbortSignal;
}

/** An open session. Closing it ends the builds that need it. */
export interface BuildSession extends AsyncDisposable {
  readonly id: string;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
}

/** The URL of an upload, as the attribute `context` of a build. */
export function uploadUrl(id: string): string {
  return `http://buildkit-session/${id}`;
}

/** Opens a session with an engine. @throws what connecting throws */
export async function openBuildSession(
  transport: Transport,
  options: BuildSessionOptions,
): Promise<BuildSession> {
  const id = createId().slice(0, 25);
  const handlers = handlersOf(options);
  const { socket, early } = await transport.hijack("POST /session", {
    headers: {
      Upgrade: "h2c",
      [sessionHeaders.id]: id,
      [sessionHeaders.sharedKey]: options.sharedKey,
    },
    repeatedHeaders: { [sessionHeaders.method]: handlers.map(({ path }) => path) },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const duplex = replayDuplex(socket, { early });
  const server = createGrpcServer({ handlers, logger: silentLogger });
  const closed = server.accept(duplex);
  return {
    id,
    closed,
    async [Symbol.asyncDispose]() {
      server.close();
      duplex.destroy();
      await closed;
    },
  };
}

function handlersOf(options: BuildSessionOptions): readonly GrpcHandler[] {
  const { secret, credentials, sshAgents, outputs, uploads, stores } = options;
  return [
    unaryHandler(sessionMethods.health, async () => await Promise.resolve({ status: 1 })),
    folderHandler(options),
    ...(secret === undefined
      ? []
      : [
          unaryHandler(sessionMethods.getSecret, async ({ id }) => {
            const data = await secret(id);
            if (data !== undefined) return { data };
            throw new EngineError("not-found", `secret ${id} not found`);
          }),
        ]),
    ...(credentials === undefined
      ? []
      : [
          unaryHandler(
            sessionMethods.credentials,
            async ({ host }) => (await credentials(host)) ?? {},
          ),
        ]),
    ...(sshAgents === undefined ? [] : agentHandlers(sshAgents)),
    ...(outputs === undefined ? [] : [outputHandler(outputs)]),
    ...(uploads === undefined ? [] : [uploadHandler(uploads)]),
    ...(stores === undefined || stores.size === 0 ? [] : contentHandlers(stores)),
  ];
}

function folderHandler(options: BuildSessionOptions): GrpcHandler {
  return streamHandler(sessionMethods.fileSync, async (call) => {
    const { metadata } = call;
    const [name = ""] = decodeSessionValues(metadata, sessionKeys.dirName);
    const path = options.folders.get(name);
    if (path === undefined) {
      throw new EngineError("not-found", `no access allowed to dir ${JSON.stringify(name)}`);
    }
    const followPaths = decodeSessionValues(metadata, sessionKeys.followPaths);
    const source = openLocalFolder(path, {
      excludes: decodeSessionValues(metadata, sessionKeys.excludePatterns),
      ...(metadata.has(sessionKeys.followPaths) ? { followPaths } : {}),
    });
    await sendFolder(call, source);
  });
}

function agentHandlers(agents: ReadonlyMap<string, string>): readonly GrpcHandler[] {
  const pathOf = (id: string): string => {
    const path = agents.get(id === "" ? "default" : id);
    if (path !== undefined) return path;
    throw new EngineError("not-found", `unset ssh forward key ${id}`);
  };
  return [
    unaryHandler(sessionMethods.checkAgent, async ({ id }) => {
      pathOf(id);
      return await Promise.resolve({});
    }),
    streamHandler(sessionMethods.forwardAgent, async (call) => {
      const socket = net.connect({ path: pathOf(call.metadata.get(sessionKeys.sshId)?.[0] ?? "") });
      const stop = (): void => void socket.destroy();
      call.signal.addEventListener("abort", stop, { once: true });
      const inward = (async (): Promise<void> => {
        for (let next = await call.next(); next !== undefined; next = await call.next()) {
          socket.write(next.data);
        }
        socket.end();
      })();
      for await (const data of socket as AsyncIterable<Buffer>) await call.send({ data });
      await inward;
    }),
  ];
}

/** Takes a file or a folder: the exporter says which it is, by its number. */
function outputHandler(outputs: ReadonlyMap<number, OutputTarget>): GrpcHandler {
  const targetOf = (call: ServerCall): OutputTarget => {
    const index = Number(call.metadata.get(sessionKeys.exporterId)?.[0] ?? "0");
    const target = outputs.get(index);
    if (target !== undefined) return target;
    throw new EngineError("not-found", `there is no place for output ${index}`);
  };
  const file = streamHandler(sessionMethods.sendFile, async (call) => {
    const target = targetOf(call);
    if (target.kind !== "file") return;
    const bytes = async function* (): AsyncGenerator<Uint8Array> {
      for (let next = await call.next(); next !== undefined; next = await call.next()) {
        yield next.data;
      }
    };
    await target.write(bytes());
  });
  const folder = streamHandler(sessionMethods.sendFolder, async (call) => {
    const target = targetOf(call);
    if (target.kind !== "folder") return;
    using sink = openOutputFolder(target.path);
    await receiveFolder(call, sink);
    sink.finish();
  });
  return {
    path: file.path,
    serve: async (call, messages) => {
      const { kind } = targetOf(call);
      await (kind === "file" ? file : folder).serve(call, messages);
    },
  };
}

function uploadHandler(uploads: ReadonlyMap<string, AsyncIterable<Uint8Array>>): GrpcHandler {
  return streamHandler(sessionMethods.pull, async (call) => {
    const path = call.metadata.get(sessionKeys.uploadPath)?.[0] ?? "";
    const upload = uploads.get(path.replace(/^\//, ""));
    if (upload === undefined) throw new EngineError("not-found", `there is no upload ${path}`);
    for await (const data of upload) await call.send({ data });
  });
}
