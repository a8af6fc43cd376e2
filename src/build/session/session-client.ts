/** The client's side of a build, over its session. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { receiveFolder, receiveLimits } from "../../api/buildkit/folder-receiver.ts";
import { sendFolder } from "../../api/buildkit/folder-sender.ts";
import { encodeSessionValues, sessionKeys, sessionMethods } from "../../api/buildkit/session.ts";
import { EngineError, isKind } from "../../lib/errors.ts";
import type { ClientCall } from "../../lib/grpc/client.ts";
import type { Metadata } from "../../lib/grpc/metadata.ts";
import type { Logger } from "../../lib/log.ts";
import { removeTree } from "../../sys/fs/fs.ts";
import type { Credentials } from "../../remote/registry-client.ts";
import type { BuildClient, ContextFolder, LocalRequest } from "../build-service.ts";
import { forwardAgent } from "./_agent-socket.ts";
import { openClientContent } from "./client-content.ts";
import type { ContextFolders } from "./context-folders.ts";
import { openDiskFolder } from "./_disk-folder.ts";
import { FolderTree } from "./_folder-tree.ts";
import type { Session } from "./session-pool.ts";

/** How long a client may take for one secret or one set of credentials: a helper may ask a person. */
const answerTimeoutMs = 60_000;
/** Docker Hub's registry as clients' credential stores know it. */
const hubHost = "registry-1.docker.io";
const hubNames: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", hubHost]);
/** Largest secret. BuildKit, session/secrets: MaxSecretSize */
const secretMaxBytes = 500 * 1024;

/** What a session's client is made with. */
export interface SessionClientOptions {
  readonly session: Session;
  /** The session that has a folder; the build's own when absent. */
  readonly sessionOf?: (name: string) => Promise<Session>;
  readonly folders: ContextFolders;
  /** Where sockets of forwarded agents are made; short, for the kernel's limit on their paths. */
  readonly socketRoot: string;
  readonly logger: Logger;
  /** Fires when the build is over. */
  readonly signal: AbortSignal;
}

/** The client of a session, for one build. Close it with the build: agents end then. */
export interface SessionClient extends BuildClient, AsyncDisposable {
  /** What the client has on its stdin under a URL of the host `buildkit-session`. */
  pullUpload(url: URL): AsyncGenerator<Uint8Array, void, undefined>;
}

/** Makes the client's side of one build. */
export function createSessionClient(options: SessionClientOptions): SessionClient {
  const { session, signal } = options;
  const known = new Map<string, Promise<Credentials | undefined>>();
  const agents = new Map<string, Promise<AgentFolder | undefined>>();
  return {
    folder: async (request) => await syncFolder(options, request),
    secret: async (id) => {
      if (!session.serves(sessionMethods.getSecret)) return undefined;
      const answer = await absent(
        session.client.unary(
          sessionMethods.getSecret,
          { id },
          { signal, timeoutMs: answerTimeoutMs, messageMaxBytes: secretMaxBytes + 16 },
        ),
      );
      // The message's bytes are a view of a larger buffer.
      return answer === undefined ? undefined : Uint8Array.from(answer.data);
    },
    sshAgent: async (id) => {
      const folder = agents.get(id) ?? openAgent(options, id);
      agents.set(id, folder);
      const open = await folder;
      // The agent is the build's: a step that ends does not take it from the others.
      return open === undefined ? undefined : { path: open.path, [Symbol.asyncDispose]: done };
    },
    credentials: async (host) => {
      const wanted = hubNames.has(host) ? hubHost : host;
      const answer = known.get(wanted) ?? askCredentials(options, wanted);
      known.set(wanted, answer);
      return await answer;
    },
    contentStore: (id) => openClientContent(session, { id, signal }),
    sendTar: async (tar, { index }) => await sendFile(options, { tar, index }),
    sendFolder: async (path, { index }) => {
      const call = session.client.open(sessionMethods.sendFolder, {
        signal,
        metadata: new Map([[sessionKeys.exporterId, [String(index)]]]),
      });
      using source = openDiskFolder(path);
      try {
        await sendFolder(call, source);
        call.end();
        await drain(call);
      } finally {
        call.cancel();
      }
    },
    pullUpload: (url) => pullUpload(options, url),
    [Symbol.asyncDispose]: async () => {
      for (const agent of agents.values()) {
        const open = await agent.catch(() => undefined);
        await open?.[Symbol.asyncDispose]();
      }
    },
  };
}

async function done(): Promise<void> {
  await Promise.resolve();
}

/** Brings a client's folder here, or what changed of it. */
async function syncFolder(
  options: SessionClientOptions,
  request: LocalRequest,
): Promise<ContextFolder> {
  const { logger } = options;
  const session = (await options.sessionOf?.(request.name)) ?? options.session;
  if (!session.serves(sessionMethods.fileSync)) {
    throw new EngineError("not-found", `the client has no folder "${request.name}"`);
  }
  const signal =
    request.signal === undefined
      ? options.signal
      : AbortSignal.any([options.signal, request.signal]);
  const taken = options.folders.take(folderKey(session, request));
  const call = session.client.open(sessionMethods.fileSync, {
    signal,
    metadata: folderMetadata(request),
  });
  let isWhole = false;
  try {
    using tree = new FolderTree(taken.path, { isNew: taken.isNew });
    const { onProgress } = request;
    const received = await receiveFolder(call, tree, {
      ...receiveLimits,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    tree.finish();
    call.end();
    isWhole = true;
    logger.debug("received a client's folder", { name: request.name, ...received });
    return {
      path: taken.path,
      hasChanged: (path) => tree.hasChanged(path),
      [Symbol.asyncDispose]: async () => await taken.release(),
    };
  } catch (error) {
    throw named(error, request.name);
  } finally {
    call.cancel();
    // What did come keeps its time stamps only when it is whole: the next transfer goes on from it.
    if (!isWhole) await taken.release();
  }
}

function named(error: unknown, name: string): unknown {
  if (!isKind(error, "not-found", "deadline-exceeded")) return error;
  return new EngineError(error.kind, `load "${name}" from the client: ${error.message}`, {
    cause: error,
  });
}

/**
 * Names the place where a folder is kept. What a build reads to plan (the Dockerfile, .dockerignore)
 * is apart from what it copies, which is kept whole whatever its paths are today.
 */
function folderKey(session: Session, request: LocalRequest): string | undefined {
  if (session.sharedKey === "") return undefined;
  const { name, followPaths = [] } = request;
  const isPlan = followPaths.some((path) => path.endsWith(".dockerignore"));
  return JSON.stringify([session.sharedKey, name, ...(isPlan ? followPaths : [])]);
}

function folderMetadata(request: LocalRequest): Metadata {
  const { name, excludes, followPaths } = request;
  return new Map([
    ...encodeSessionValues(sessionKeys.dirName, [name]),
    ...(excludes.length === 0 ? [] : encodeSessionValues(sessionKeys.excludePatterns, excludes)),
    ...(followPaths === undefined ? [] : encodeSessionValues(sessionKeys.followPaths, followPaths)),
  ]);
}

/**
 * Asks for a registry's credentials, with which the engine gets its tokens itself, as it does for a
 * pull. A session can get tokens instead (`FetchToken`), so that credentials stay at the client; but
 * only for what the client's build names, one scope at a time, and not for registries with Basic
 * authentication, for which credentials are asked for anyway. One way serves both.
 */
async function askCredentials(
  options: SessionClientOptions,
  host: string,
): Promise<Credentials | undefined> {
  const { session, signal } = options;
  if (!session.serves(sessionMethods.credentials)) return undefined;
  const answer = await absent(
    session.client.unary(
      sessionMethods.credentials,
      { host },
      { signal, timeoutMs: answerTimeoutMs },
    ),
  );
  if (answer === undefined || answer.secret === "") return undefined;
  const { username, secret } = answer;
  return username === "" ? { identityToken: secret } : { username, password: secret };
}

interface AgentFolder extends ContextFolder {}

async function openAgent(
  options: SessionClientOptions,
  id: string,
): Promise<AgentFolder | undefined> {
  const { session, signal, socketRoot } = options;
  if (!session.serves(sessionMethods.forwardAgent)) return undefined;
  const has = await absent(
    session.client.unary(sessionMethods.checkAgent, { id }, { signal, timeoutMs: answerTimeoutMs }),
  );
  if (has === undefined) return undefined;
  const folder = mkdtempSync(join(socketRoot, "ssh-"));
  const path = join(folder, "agent");
  const listener = await forwardAgent({ session, id, path, signal });
  return {
    path,
    async [Symbol.asyncDispose]() {
      listener.close();
      await removeTree(folder);
    },
  };
}

async function sendFile(
  options: SessionClientOptions,
  output: { readonly tar: ReadableStream<Uint8Array>; readonly index: number },
): Promise<void> {
  const { session, signal } = options;
  if (!session.serves(sessionMethods.sendFile)) {
    throw new EngineError("not-found", "the client takes no output");
  }
  const call = session.client.open(sessionMethods.sendFile, {
    signal,
    metadata: new Map([[sessionKeys.exporterId, [String(output.index)]]]),
  });
  try {
    for await (const data of output.tar) await call.send({ data });
    call.end();
    await drain(call);
  } finally {
    call.cancel();
  }
}

async function* pullUpload(
  options: SessionClientOptions,
  url: URL,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { session, signal } = options;
  const metadata = new Map([
    [sessionKeys.uploadPath, [url.pathname]],
    [sessionKeys.uploadHost, [url.host]],
  ]);
  const call = session.client.open(sessionMethods.pull, { signal, metadata });
  try {
    for (let next = await call.next(); next !== undefined; next = await call.next()) {
      yield next.data;
    }
  } finally {
    call.cancel();
  }
}

/** Reads a call to its end, for its status. */
async function drain<Request, Response>(call: ClientCall<Request, Response>): Promise<void> {
  while ((await call.next()) !== undefined);
}

/** Undefined for what the client says it does not have. */
async function absent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isKind(error, "not-found", "not-implemented")) return undefined;
    throw error;
  }
}
